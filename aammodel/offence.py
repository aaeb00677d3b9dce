"""When a number stops being finite: training stops, says where it was born, and keeps the step.

With its batches go the weights, so that `aammodel trace --batch` can take the very step again.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from aammodel.batch import Batch
from aammodel.batch_checks import check_batch
from aammodel.checkpoint import model_tensors, save_model
from aammodel.finite import Fault, watch_step
from aammodel.model import AamModel
from aammodel.step import Losses, Stepper, seed_step
from schemas.errors import InvalidDataError, NonFiniteError, UsageError
from schemas.publish import replace_file


@dataclass(frozen=True)
class SavedStep:
    """What one rank took a step with, as it lies in a file."""

    batches: list[Batch]
    """Its micro-batches."""
    step: int = 0
    rank: int = 0
    """Dropout follows from the step and the rank."""
    scaling: dict[str, float] = field(default_factory=dict)
    """State of loss scaling before the step; empty where there is none."""


def stop_at_non_finite(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Find out which module made the first number that is not finite, keep the step, and stop.

    Parameters
    ----------
    stepper : Stepper
        All of its ranks call this, and all raise what the rank has to say that met it first.
    batches : list of Batch
        The micro-batches of the step.
    step : int
    run : Path
        Where the offending batches are written.

    Raises
    ------
    NonFiniteError
        Naming the module, the step, the samples, and the file that holds the batches.
    """
    ranks = stepper.ranks
    seed_step(stepper.config.seed, step, ranks.rank)
    fault = watch_step(stepper, batches).fault
    batch = batches[fault.batch if fault else 0]
    # What one rank spoils, the others meet later.
    when = fault.when if fault else math.inf
    told = _told(fault, batch, step, stepper.model) if when == -ranks.largest(-when) else None
    first = ranks.first_text(told)
    path = run / f"offending-batch-step-{step:06d}.safetensors"
    weights = model_tensors(stepper.model)
    if told is not None and told == first:
        save_step(SavedStep(batches, step, ranks.rank, stepper.precision.state()), path)
        save_model(weights_beside(path), weights, asdict(stepper.model.config))
    ranks.wait()
    raise NonFiniteError(
        str(first),
        str(run),
        f"look at every module with `aammodel trace --batch {path}`; often a smaller learning rate helps",
    )


def check_validation(losses: Losses, step: int, run: Path) -> None:
    """Stop where the losses of a validation are not finite: no weights can be told to be the best by them.

    Raises
    ------
    NonFiniteError
    """
    if not all(map(math.isfinite, losses.numbers())):
        raise NonFiniteError(
            f"the validation loss is not finite at step {step}",
            str(run),
            "begin a new run; often a smaller learning rate helps",
        )


def check_weights(model: AamModel, step: int, run: Path) -> None:
    """Stop before weights that are not finite are kept; all ranks call this together.

    Raises
    ------
    NonFiniteError
        Naming the first of them.
    """
    weights = model_tensors(model)
    broken = next((name for name, one in weights.items() if not one.isfinite().all()), None)
    if broken is not None:
        raise NonFiniteError(
            f"the weights are not finite after step {step}, first {broken}",
            str(run),
            "begin a new run; often a smaller learning rate helps",
        )


def _told(fault: Fault | None, batch: Batch, step: int, model: AamModel) -> str:
    born = str(fault) if fault else "a place that was not found: taken again, the step was finite"
    wrong = "".join(f"; the batch itself: {one}" for one in check_batch(batch, model.config).failed)
    samples = ", ".join(batch.sample_ids)
    return f"a number stopped being finite at step {step}, first in {born}{wrong}; samples: {samples}"


def save_step(saved: SavedStep, path: Path) -> None:
    """Write a step as safetensors: tensors by micro-batch and name, the rest as JSON in the header."""
    # Those of a rank as its own: there is no other to compare distances with.
    batches = [batch.alone() for batch in saved.batches]
    content = {
        f"{number}.{name}": tensor.cpu().contiguous()
        for number, batch in enumerate(batches)
        for name, tensor in batch.tensors().items()
    }
    header = {
        "sample_ids": [batch.sample_ids for batch in batches],
        "step": saved.step,
        "rank": saved.rank,
        "scaling": saved.scaling,
    }
    told = {name: json.dumps(value, ensure_ascii=False) for name, value in header.items()}
    replace_file(path, save(content, metadata=told))


def load_step(path: Path) -> SavedStep:
    """Read a step that was kept.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If it holds no batches.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), "name an offending-batch-step-*.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            header = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        if not header["sample_ids"]:
            raise ValueError("it is empty")
        tensors = load_file(path)
        batches = [
            Batch(tuple(ids), **_with_prefix(tensors, f"{number}."))
            for number, ids in enumerate(header["sample_ids"])
        ]
        return SavedStep(batches, header["step"], header["rank"], header["scaling"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidDataError(
            f"this file holds no batch: {error}", str(path), "name an offending-batch-step-*.safetensors"
        ) from error


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def weights_beside(path: Path) -> Path:
    """Name the file of the weights that a kept batch was computed with."""
    return path.with_name(path.name.replace("offending-batch", "offending-model"))
