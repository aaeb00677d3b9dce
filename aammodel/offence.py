"""When a number stops being finite: training stops, says where it was born, and keeps the batch.

With the batch go the weights, so that `aammodel trace --batch` can take the very step again.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from aammodel.batch import Batch
from aammodel.batch_checks import check_batch
from aammodel.checkpoint import model_tensors, save_model
from aammodel.finite import Fault, watch_step
from aammodel.model import AamModel
from aammodel.step import Stepper, seed_step
from schemas.errors import InvalidDataError, NonFiniteError, UsageError
from schemas.publish import replace_file


@dataclass(frozen=True)
class SavedBatch:
    """A batch that lay in a file."""

    batch: Batch
    step: int
    """The step that it was of."""


def stop_at_non_finite(stepper: Stepper, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Find out which module made the first number that is not finite, keep its batch, and stop.

    Parameters
    ----------
    stepper : Stepper
        All of its ranks call this, and all raise what the rank has to say that met it first.
    batches : list of Batch
        The micro-batches of the step.
    step : int
    run : Path
        Where the offending batch is written.

    Raises
    ------
    NonFiniteError
        Naming the module, the step, the samples, and the file that holds the batch.
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
        save_batch(batch, path, step)
        save_model(weights_beside(path), weights, asdict(stepper.model.config))
    ranks.wait()
    raise NonFiniteError(
        str(first),
        str(run),
        f"look at every module with `aammodel trace --batch {path}`; often a smaller learning rate helps",
    )


def _told(fault: Fault | None, batch: Batch, step: int, model: AamModel) -> str:
    born = str(fault) if fault else "a place that was not found: taken again, the step was finite"
    wrong = "".join(f"; the batch itself: {one}" for one in check_batch(batch, model.config).failed)
    samples = ", ".join(batch.sample_ids)
    return f"a number stopped being finite at step {step}, first in {born}{wrong}; samples: {samples}"


def save_batch(batch: Batch, path: Path, step: int = 0) -> None:
    """Write a batch as safetensors, its sample ids and its step in the header; one of a rank as its own."""
    batch = batch.alone()
    header = {"sample_ids": "\n".join(batch.sample_ids), "step": str(step)}
    content = {name: tensor.cpu().contiguous() for name, tensor in batch.tensors().items()}
    replace_file(path, save(content, metadata=header))


def load_batch(path: Path) -> SavedBatch:
    """Read a batch that was kept.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If it holds no batch.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), "name an offending-batch-step-*.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        batch = Batch(tuple(header["sample_ids"].split("\n")), **load_file(path))
        return SavedBatch(batch, int(header.get("step", 0)))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidDataError(
            f"this file holds no batch: {error}", str(path), "name an offending-batch-step-*.safetensors"
        ) from error


def weights_beside(path: Path) -> Path:
    """Name the file of the weights that a kept batch was computed with."""
    return path.with_name(path.name.replace("offending-batch", "offending-model"))
