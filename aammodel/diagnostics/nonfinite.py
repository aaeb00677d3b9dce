"""Where a number stopped being finite: the step is taken again, with an eye on every module.

Training itself looks at the losses and the norm of the gradient alone, so that the watch costs nothing while
all is well.
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from aam_schemas.common.text import truncate_list
from aammodel.batch import Batch
from aammodel.diagnostics.attribution import Asv, Concerned, concerned
from aammodel.diagnostics.hooks import CHANGED, INPUT, OUTPUT, Birth, Direction, Seen, Watch
from aammodel.diagnostics.statistics import describe
from aammodel.distributed.fsdp import is_sharded
from aammodel.objectives.sums import LossSums
from aammodel.training.step import Stepper


@dataclass(frozen=True)
class Fault:
    """Where the first number that is not finite was born."""

    direction: Direction
    module: str
    """Name of the module; "the model" and "the loss" for what no module of its own computes."""
    kind: str
    """Its type."""
    what: str
    """Which of its tensors, and what that holds."""
    batch: int
    """Micro-batch of the step."""
    when: float
    """The earlier in the step, the smaller; several ranks can compare theirs."""
    asvs: tuple[Asv, ...] = ()
    """ASVs whose numbers they are."""
    samples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line."""
        asvs = [f"{one.row} ({shorten(one.sequence)})" for one in self.asvs]
        kind = f"{self.kind}, " if self.kind else ""
        return (
            f"{self.module} ({kind}{self.direction}): {self.what}"
            + _some("; rows of asvs.parquet that it concerns:", asvs)
            + _some("; samples that it concerns:", list(self.samples))
        )


@dataclass(frozen=True)
class StepSeen:
    """One step under watch."""

    losses: LossSums
    gradient_norm: float
    """Before it is clipped."""
    seen: tuple[Seen, ...]
    """What went through each module, in the order in which they finish."""
    fault: Fault | None
    """None where every number is finite."""


def watch_step(stepper: Stepper, batches: list[Batch]) -> StepSeen:
    """Compute a step, forward and backward, without the update, and look at every number on its way.

    Parameters
    ----------
    stepper : Stepper
    batches : list of Batch
        The micro-batches of the step, on the model's device.
    """
    # Scaling may be unscaled but once in a step, which may have been this one.
    stepper = replace(stepper, precision=stepper.precision.copy())
    scale = stepper.precision.scaler.get_scale() if stepper.precision.scaler.is_enabled() else 1.0
    with Watch(stepper.model) as watch:
        losses, norm = stepper.backward(batches)
    for one in watch.seen.values():
        one.unscale(scale)
    return StepSeen(losses, norm, tuple(watch.seen.values()), _fault(stepper, batches, watch, losses, norm))


def shorten(sequence: str, most: int = 24) -> str:
    """Give the start of a sequence, and how long it is."""
    return sequence if len(sequence) <= most else f"{sequence[:most]}... {len(sequence)} bases"


def _fault(
    stepper: Stepper, batches: list[Batch], watch: Watch, losses: LossSums, norm: float
) -> Fault | None:
    """Name the first fault: of what the model computes, else of the loss, else of the gradient."""
    if watch.first is not None and (watch.first_is_forward or all(map(math.isfinite, losses.numbers()))):
        return _fault_in_model(stepper, batches, watch.first)
    return _fault_of_sums(losses, norm)


def _fault_in_model(stepper: Stepper, batches: list[Batch], birth: Birth) -> Fault:
    passage, model = birth.passage, stepper.model
    name, what = _where(model, birth)
    module = model.get_submodule(name) if name != _LOSS else None
    whom = concerned(model, batches[passage.batch], birth) if passage.batch < len(batches) else Concerned()
    return Fault(
        direction=birth.direction,
        module=name or "the model",
        kind=type(module).__name__ if module else "",
        what=f"{what} ({birth.statistics})" + (_bad_weights(module) if module else ""),
        batch=passage.batch,
        when=birth.when,
        asvs=whom.asvs,
        samples=whom.samples,
    )


_LOSS = "the loss"


def _where(model: nn.Module, birth: Birth) -> tuple[str, str]:
    """Name the module in which a tensor became what it is, and say which of its tensors it is.

    What comes finite out of one module and not finite into the next one was spoilt between them, in the code
    of the module that both are part of.
    """
    name, part = birth.passage.module, birth.passage.part
    parent = name.rpartition(".")[0] if name else ""
    while parent and isinstance(model.get_submodule(parent), nn.ModuleList | nn.ModuleDict):
        parent = parent.rpartition(".")[0]
    if birth.direction == "forward":
        if not name:
            return "", f"{part} of its output"
        if part == OUTPUT:
            return name, "its output"
        return parent, f"what it computes between {birth.after} and {name}"
    if not name:
        return _LOSS, f"the gradient of {part}"
    if part == OUTPUT:
        return _LOSS if birth.is_of_loss else parent, f"the gradient of what {name} gave"
    named = {INPUT: "its input", CHANGED: "its output, as a hook changed it"}
    return name, f"the gradient of {named.get(part, f'its {part}')}"


def _bad_weights(module: nn.Module) -> str:
    told = [
        f"; its {name} is not finite ({describe(one)})"
        for name, one in module.named_parameters(recurse=False)
        # To look at weights that are cut, all ranks would have to come here.
        if not is_sharded(one) and not one.isfinite().all()
    ]
    return "".join(told)


def _fault_of_sums(losses: LossSums, norm: float) -> Fault | None:
    """Look at what no module computes."""
    if not all(map(math.isfinite, losses.numbers())):
        return Fault("forward", _LOSS, "", f"its sums are {losses.numbers()}", 0, math.inf)
    if not math.isfinite(norm):
        return Fault("backward", "the norm of the gradient", "", f"it is {norm}", 0, math.inf)
    return None


def _some(what: str, names: list[str]) -> str:
    """Name the first few and count the rest; nothing where there is none."""
    return f"{what} {truncate_list(names, most=10)}" if names else ""
