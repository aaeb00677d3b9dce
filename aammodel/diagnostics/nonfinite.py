"""Find the origin of a non-finite value: repeat the step and record the tensors of every module.

Training itself checks only the losses and the norm of the gradient. So the search costs nothing as long as
all values are finite.
"""

import math
from dataclasses import dataclass, replace

from torch import nn

from aam_schemas.common.text import truncate_list
from aammodel.batch import Batch
from aammodel.diagnostics.attribution import Affected, Asv, find_affected
from aammodel.diagnostics.hooks import (
    CHANGED,
    INPUT,
    OUTPUT,
    Direction,
    FirstNonFinite,
    ModuleRecord,
    ModuleRecorder,
)
from aammodel.diagnostics.statistics import describe
from aammodel.distributed.fsdp import is_sharded
from aammodel.objectives.sums import LossSums
from aammodel.training.step import Stepper

_LOSS = "the loss"


@dataclass(frozen=True)
class NonFiniteOrigin:
    """Module and tensor in which the first non-finite value of a step appeared."""

    direction: Direction
    module: str
    """Name of the module. It is "the model" or "the loss" if the value was computed outside of modules."""
    kind: str
    """Name of the module's class."""
    what: str
    """The tensor and its statistics, in words."""
    batch: int
    """Index of the micro-batch in the step."""
    order: float
    """Order within the step: smaller is earlier. Ranks can compare it."""
    asvs: tuple[Asv, ...] = ()
    """ASVs with non-finite values."""
    samples: tuple[str, ...] = ()
    """Identifiers of the samples with non-finite values."""

    def __str__(self) -> str:
        """Return all of it in one line."""
        asvs = [f"{asv.row} ({shorten(asv.sequence)})" for asv in self.asvs]
        kind = f"{self.kind}, " if self.kind else ""
        return (
            f"{self.module} ({kind}{self.direction}): {self.what}"
            + _list_names("; affected rows of asvs.parquet:", asvs)
            + _list_names("; affected samples:", list(self.samples))
        )


@dataclass(frozen=True)
class InstrumentedStep:
    """Result of a step with the records of all modules."""

    losses: LossSums
    gradient_norm: float
    """Norm of the gradient before clipping."""
    modules: tuple[ModuleRecord, ...]
    """Records of the modules, in the order in which they finished."""
    origin: NonFiniteOrigin | None
    """Origin of the first non-finite value. None if all values are finite."""


def run_instrumented(stepper: Stepper, batches: list[Batch]) -> InstrumentedStep:
    """Compute the forward and backward pass of a step, and record the tensors of every module.

    Weights are not updated. Gradients are left in the parameters.

    Parameters
    ----------
    stepper : Stepper
    batches : list of Batch
        Micro-batches of the step, on the model's device.

    Returns
    -------
    InstrumentedStep
    """
    # torch's GradScaler allows one `unscale_` per step, and training may have called it in this step.
    stepper = replace(stepper, precision=stepper.precision.copy())
    scale = stepper.precision.scaler.get_scale() if stepper.precision.scaler.is_enabled() else 1.0
    with ModuleRecorder(stepper.model) as recorder:
        losses, norm = stepper.backward(batches)
    records = tuple(recorder.records.values())
    for record in records:
        record.unscale(scale)
    return InstrumentedStep(losses, norm, records, _find_origin(stepper, batches, recorder, losses, norm))


def shorten(sequence: str, most: int = 24) -> str:
    """Return a sequence, or its first bases and its length if it has more than `most` bases."""
    return sequence if len(sequence) <= most else f"{sequence[:most]}... {len(sequence)} bases"


def _find_origin(
    stepper: Stepper, batches: list[Batch], recorder: ModuleRecorder, losses: LossSums, norm: float
) -> NonFiniteOrigin | None:
    """Return the earliest origin: the forward pass of the model, then the loss, then the gradient."""
    are_losses_finite = all(map(math.isfinite, losses.numbers()))
    # A non-finite gradient is a consequence, not the origin, if the loss was non-finite before.
    if recorder.first is not None and (recorder.first_is_forward or are_losses_finite):
        return _origin_in_model(stepper, batches, recorder.first)
    return _origin_in_sums(losses, norm)


def _origin_in_model(stepper: Stepper, batches: list[Batch], first: FirstNonFinite) -> NonFiniteOrigin:
    location, model = first.location, stepper.model
    name, what = _where(model, first)
    module = model.get_submodule(name) if name != _LOSS else None
    is_in_batch = location.batch < len(batches)
    affected = find_affected(model, batches[location.batch], first) if is_in_batch else Affected()
    return NonFiniteOrigin(
        direction=first.direction,
        module=name or "the model",
        kind=type(module).__name__ if module else "",
        what=f"{what} ({first.statistics})" + (_describe_nonfinite_weights(module) if module else ""),
        batch=location.batch,
        order=first.order,
        asvs=affected.asvs,
        samples=affected.samples,
    )


def _where(model: nn.Module, first: FirstNonFinite) -> tuple[str, str]:
    """Return the module that computed the first non-finite tensor, and the name of the tensor.

    If an output of one module is finite and an input of the next one is not, the origin lies between them, in
    the code of the module that contains both.
    """
    name, part = first.location.module, first.location.part
    parent = name.rpartition(".")[0] if name else ""
    # Lists of modules compute nothing themselves.
    while parent and isinstance(model.get_submodule(parent), nn.ModuleList | nn.ModuleDict):
        parent = parent.rpartition(".")[0]
    if first.direction == "forward":
        if not name:
            return "", f"{part} of its output"
        if part == OUTPUT:
            return name, "its output"
        return parent, f"a tensor computed between {first.after} and {name}"
    if not name:
        return _LOSS, f"the gradient of {part}"
    if part == OUTPUT:
        return _LOSS if first.is_of_loss else parent, f"the gradient of the output of {name}"
    named = {INPUT: "its input", CHANGED: "its output, after a hook changed it"}
    return name, f"the gradient of {named.get(part, f'its {part}')}"


def _describe_nonfinite_weights(module: nn.Module) -> str:
    parts = [
        f"; its {name} is non-finite ({describe(parameter)})"
        for name, parameter in module.named_parameters(recurse=False)
        # Sharded parameters are skipped. To inspect one, all ranks would have to take part.
        if not is_sharded(parameter) and not parameter.isfinite().all()
    ]
    return "".join(parts)


def _origin_in_sums(losses: LossSums, norm: float) -> NonFiniteOrigin | None:
    """Return the origin if it lies outside of modules: in the sums of the losses or the gradient norm."""
    if not all(map(math.isfinite, losses.numbers())):
        return NonFiniteOrigin("forward", _LOSS, "", f"its sums are {losses.numbers()}", 0, math.inf)
    if not math.isfinite(norm):
        return NonFiniteOrigin("backward", "the norm of the gradient", "", f"it is {norm}", 0, math.inf)
    return None


def _list_names(heading: str, names: list[str]) -> str:
    """Return a heading with the first few names and the number of others, or "" if there are no names."""
    return f"{heading} {truncate_list(names, most=10)}" if names else ""
