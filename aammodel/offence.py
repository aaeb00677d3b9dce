"""When a number stops being finite: training stops, says where it was born, and keeps the batch."""

from pathlib import Path
from typing import NoReturn

from safetensors.torch import save
from torch import nn

from aammodel.batch import Batch
from aammodel.finite import first_non_finite
from aammodel.model import AamModel
from aammodel.statistics import describe
from schemas.errors import NonFiniteError
from schemas.publish import replace_file


def stop_at_non_finite(model: AamModel, batches: list[Batch], step: int, run: Path) -> NoReturn:
    """Find out which module made the first number that is not finite, keep its batch, and stop.

    Parameters
    ----------
    model : AamModel
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
    for batch in batches:
        born = first_non_finite(model, batch)
        if born is not None:
            _stop(born, batch, step, run)
    _stop(_first_bad_gradient(model), batches[0], step, run)


def save_batch(batch: Batch, path: Path) -> None:
    """Write a batch as safetensors, its sample ids in the header."""
    header = {"sample_ids": "\n".join(batch.sample_ids)}
    content = {name: tensor.cpu().contiguous() for name, tensor in batch.tensors().items()}
    replace_file(path, save(content, metadata=header))


def _first_bad_gradient(model: nn.Module) -> str:
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} ({describe(parameter.grad)})"
    return "the loss or the norm of the gradient"


def _stop(born: str, batch: Batch, step: int, run: Path) -> NoReturn:
    path = run / f"offending-batch-step-{step:06d}.safetensors"
    save_batch(batch, path)
    samples = ", ".join(batch.sample_ids)
    raise NonFiniteError(
        f"a number stopped being finite at step {step}, first in {born}; samples: {samples}",
        str(run),
        f"the batch is kept in {path.name}; try a smaller learning rate, and look for counts that cannot be",
    )
