"""When a number stops being finite: training stops, says where it was born, and keeps the batch."""

from pathlib import Path
from typing import NoReturn

from safetensors.torch import save
from torch import nn

from aammodel.batch import Batch
from aammodel.finite import first_non_finite
from aammodel.model import AamModel
from aammodel.ranks import ALONE, Ranks
from aammodel.statistics import describe
from schemas.errors import NonFiniteError
from schemas.publish import replace_file


def stop_at_non_finite(
    model: AamModel, batches: list[Batch], step: int, run: Path, ranks: Ranks = ALONE
) -> NoReturn:
    """Find out which module made the first number that is not finite, keep its batch, and stop.

    Parameters
    ----------
    model : AamModel
    batches : list of Batch
        The micro-batches of the step.
    step : int
    run : Path
        Where the offending batch is written.
    ranks : Ranks
        All of them call this, and all raise what the first that finds something has to say.

    Raises
    ------
    NonFiniteError
        Naming the module, the step, the samples, and the file that holds the batch.
    """
    born, batch = _first_born(model, batches)
    if ranks.first_text(born) is None and ranks.is_main:
        # Gradients are the sums of all ranks', the same on each.
        born = _first_bad_gradient(model)
    told = born and _told(born, batch, step)
    first = ranks.first_text(told)
    path = run / f"offending-batch-step-{step:06d}.safetensors"
    if told is not None and told == first:
        save_batch(batch, path)
    ranks.wait()
    raise NonFiniteError(
        str(first),
        str(run),
        f"the batch is kept in {path.name}; try a smaller learning rate, and look for counts that cannot be",
    )


def save_batch(batch: Batch, path: Path) -> None:
    """Write a batch as safetensors, its sample ids in the header."""
    header = {"sample_ids": "\n".join(batch.sample_ids)}
    content = {name: tensor.cpu().contiguous() for name, tensor in batch.tensors().items()}
    replace_file(path, save(content, metadata=header))


def _first_born(model: AamModel, batches: list[Batch]) -> tuple[str | None, Batch]:
    """Find the first module whose output is not finite, and the batch; None and any batch without one."""
    # Every batch, since weights that are cut among the ranks want the same of all of them.
    found = [(first_non_finite(model, batch), batch) for batch in batches]
    return next((one for one in found if one[0] is not None), found[0])


def _first_bad_gradient(model: nn.Module) -> str:
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} ({describe(parameter.grad)})"
    return "the loss or the norm of the gradient"


def _told(born: str, batch: Batch, step: int) -> str:
    samples = ", ".join(batch.sample_ids)
    return f"a number stopped being finite at step {step}, first in {born}; samples: {samples}"
