"""`aammodel trace`: a step of training under watch, to see whether batch and numbers are right."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from aammodel.batch import Batch
from aammodel.diagnostics.batch_checks import Checked, check_batch
from aammodel.diagnostics.hooks import Direction, Seen
from aammodel.diagnostics.inject import planted
from aammodel.diagnostics.nonfinite import Fault, StepSeen, watch_step
from aammodel.diagnostics.statistics import TensorStatistics, describe, describe_together
from aammodel.training.step import Stepper, seed_step


@dataclass(frozen=True)
class Setting:
    """A step that is to be taken."""

    stepper: Stepper
    batches: list[Batch]
    """Its micro-batches."""
    step: int
    weights: str
    """Where the weights are from, in words."""
    rank: int = 0
    """Of several processes, the one whose step it was."""


@dataclass(frozen=True)
class Trace:
    """What was seen of a step."""

    setting: Setting
    checked: tuple[Checked, ...]
    """Of each micro-batch."""
    bad_weights: dict[str, TensorStatistics]
    """Parameters that are not finite, before the step."""
    seen: StepSeen | None
    """None where the model cannot read the batch at all."""

    @property
    def is_clean(self) -> bool:
        """True where every rule holds and every number is finite."""
        is_right = not any(one.failed for one in self.checked) and not self.bad_weights
        return is_right and self.seen is not None and self.seen.fault is None

    @property
    def losses(self) -> dict[str, float | None]:
        """The losses of the step by name."""
        if self.seen is None:
            return {}
        return self.seen.losses.named()


def trace(setting: Setting, inject: str | None = None, direction: Direction = "forward") -> Trace:
    """Check the batches of a step, then take it under watch.

    Parameters
    ----------
    setting : Setting
    inject : str or None
        Module in which to plant a NaN, for a demonstration.
    direction : {"forward", "backward"}
        Whether in what it gives, or in the gradient of that.

    Raises
    ------
    UsageError
        If there is no such module.
    """
    stepper = setting.stepper
    model = stepper.model
    batches = [batch.to(stepper.precision.device) for batch in setting.batches]
    checked = tuple(check_batch(batch, model.config, stepper.objectives) for batch in batches)
    seen = None
    if all(one.is_readable for one in checked):
        seed_step(stepper.config.seed, setting.step, setting.rank)
        with planted(model, inject, direction):
            seen = watch_step(stepper, batches)
    bad = {name: describe(one) for name, one in model.named_parameters() if not one.isfinite().all()}
    return Trace(setting, checked, bad, seen)


def as_dict(trace: Trace) -> dict[str, Any]:
    """Give a trace as what JSON can hold; numbers that are not finite become null."""
    seen = trace.seen
    return {
        "finite": trace.is_clean,
        "step": trace.setting.step,
        "weights": trace.setting.weights,
        "bad_weights": {name: str(one) for name, one in trace.bad_weights.items()},
        "batches": [
            _batch_as_dict(checked, batch)
            for checked, batch in zip(trace.checked, trace.setting.batches, strict=True)
        ],
        "losses": {name: _number(value) for name, value in trace.losses.items()},
        "gradient_norm": _number(seen.gradient_norm) if seen else None,
        "modules": [_module_as_dict(one) for one in seen.seen] if seen else [],
        "fault": _fault_as_dict(seen.fault) if seen and seen.fault else None,
    }


def norm_of(square: float | None) -> float | None:
    """Give a norm from its square; None where there is none."""
    return None if square is None else math.sqrt(square)


def _batch_as_dict(checked: Checked, batch: Batch) -> dict[str, Any]:
    figures = asdict(checked.figures)
    return {
        "checks": [
            {"name": one.name, "rule": one.rule, "holds": one.holds, "broken": list(one.broken)}
            for one in checked.checks
        ],
        **{name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()},
        "sample_padding": dict(zip(batch.sample_ids, checked.figures.sample_padding, strict=True)),
        "asv_padding": dict(zip(batch.asv_row.tolist(), checked.figures.asv_padding, strict=True)),
    }


def _module_as_dict(seen: Seen) -> dict[str, Any]:
    gave = describe_together(seen.outputs) if seen.outputs else None
    return {
        "module": seen.name,
        "kind": seen.kind,
        "calls": seen.num_calls,
        "shape": list(gave.shape) if gave else None,
        "smallest": gave.smallest if gave else None,
        "largest": gave.largest if gave else None,
        "mean": gave.mean if gave else None,
        "share_finite": gave.share_finite if gave else None,
        "gradient_norm": _number(norm_of(seen.gradient_square)),
        "weight_gradient_norm": _number(norm_of(seen.weight_gradient_square)),
    }


def _fault_as_dict(fault: Fault) -> dict[str, Any]:
    return {
        "direction": fault.direction,
        "module": fault.module,
        "kind": fault.kind,
        "what": fault.what,
        "batch": fault.batch,
        "asvs": [asdict(one) for one in fault.asvs],
        "samples": list(fault.samples),
    }


def _number(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None
