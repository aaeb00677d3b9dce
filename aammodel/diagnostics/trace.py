"""Trace a step of training: check its batches, and find non-finite values."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from aammodel.batch import Batch
from aammodel.diagnostics.batch_checks import BatchReport, check_batch
from aammodel.diagnostics.hooks import Direction, ModuleRecord
from aammodel.diagnostics.inject import inject_nan
from aammodel.diagnostics.nonfinite import InstrumentedStep, NonFiniteOrigin, run_instrumented
from aammodel.diagnostics.statistics import TensorStatistics, describe, describe_together
from aammodel.training.step import Stepper, seed_step


@dataclass(frozen=True)
class TraceInputs:
    """The step to trace."""

    stepper: Stepper
    batches: list[Batch]
    """Micro-batches of the step."""
    step: int
    weights: str
    """Origin of the weights, in words."""
    rank: int = 0
    """Rank of a distributed run whose step it is."""


@dataclass(frozen=True)
class Trace:
    """Result of tracing a step."""

    inputs: TraceInputs
    reports: tuple[BatchReport, ...]
    """Checks of each micro-batch."""
    nonfinite_weights: dict[str, TensorStatistics]
    """Parameters that were non-finite before the step."""
    result: InstrumentedStep | None
    """None if the model cannot read the batch."""

    @property
    def is_clean(self) -> bool:
        """Whether every rule holds and every value is finite."""
        has_failed = any(report.failed for report in self.reports) or bool(self.nonfinite_weights)
        return not has_failed and self.result is not None and self.result.origin is None

    @property
    def losses(self) -> dict[str, float | None]:
        """Losses of the step by name. Empty if the step was not computed."""
        if self.result is None:
            return {}
        return self.result.losses.named()


def trace(inputs: TraceInputs, inject: str | None = None, direction: Direction = "forward") -> Trace:
    """Check the batches of a step, then compute it and record every module.

    Parameters
    ----------
    inputs : TraceInputs
    inject : str or None
        Module into which to inject a NaN, for a demonstration.
    direction : {"forward", "backward"}
        Whether to inject it into the output of the module, or into the gradient of the output.

    Raises
    ------
    UsageError
        If there is no such module.
    """
    stepper = inputs.stepper
    model = stepper.model
    batches = [batch.to(stepper.precision.device) for batch in inputs.batches]
    reports = tuple(check_batch(batch, model.config, stepper.objectives) for batch in batches)
    result = None
    if all(report.is_readable for report in reports):
        seed_step(stepper.config.seed, inputs.step, inputs.rank)
        with inject_nan(model, inject, direction):
            result = run_instrumented(stepper, batches)
    # The step changes no weight, so these are the weights before it.
    nonfinite = {
        name: describe(parameter)
        for name, parameter in model.named_parameters()
        if not parameter.isfinite().all()
    }
    return Trace(inputs, reports, nonfinite, result)


def as_dict(trace: Trace) -> dict[str, Any]:
    """Return a trace as `--json` prints it. Non-finite numbers become null."""
    result = trace.result
    return {
        "finite": trace.is_clean,
        "step": trace.inputs.step,
        "weights": trace.inputs.weights,
        "bad_weights": {name: str(statistics) for name, statistics in trace.nonfinite_weights.items()},
        "batches": [
            _batch_as_dict(report, batch)
            for report, batch in zip(trace.reports, trace.inputs.batches, strict=True)
        ],
        "losses": {name: _number(value) for name, value in trace.losses.items()},
        "gradient_norm": _number(result.gradient_norm) if result else None,
        "modules": [_module_as_dict(record) for record in result.modules] if result else [],
        "fault": _origin_as_dict(result.origin) if result and result.origin else None,
    }


def norm_of(square: float | None) -> float | None:
    """Return the norm for a sum of squares, or None for None."""
    return None if square is None else math.sqrt(square)


def _batch_as_dict(report: BatchReport, batch: Batch) -> dict[str, Any]:
    figures = asdict(report.figures)
    return {
        "checks": [
            {"name": check.name, "rule": check.rule, "holds": check.holds, "broken": list(check.broken)}
            for check in report.checks
        ],
        **{name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()},
        "sample_padding": dict(zip(batch.sample_ids, report.figures.sample_padding, strict=True)),
        "asv_padding": dict(zip(batch.asv_row.tolist(), report.figures.asv_padding, strict=True)),
    }


def _module_as_dict(record: ModuleRecord) -> dict[str, Any]:
    output = describe_together(record.outputs) if record.outputs else None
    return {
        "module": record.name,
        "kind": record.kind,
        "calls": record.num_calls,
        "shape": list(output.shape) if output else None,
        "smallest": output.smallest if output else None,
        "largest": output.largest if output else None,
        "mean": output.mean if output else None,
        "share_finite": output.fraction_finite if output else None,
        "gradient_norm": _number(norm_of(record.gradient_square)),
        "weight_gradient_norm": _number(norm_of(record.weight_gradient_square)),
    }


def _origin_as_dict(origin: NonFiniteOrigin) -> dict[str, Any]:
    return {
        "direction": origin.direction,
        "module": origin.module,
        "kind": origin.kind,
        "what": origin.what,
        "batch": origin.batch,
        "asvs": [asdict(asv) for asv in origin.asvs],
        "samples": list(origin.samples),
    }


def _number(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None
