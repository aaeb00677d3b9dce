"""Where a number stopped being finite: the offending batch is run again, with an eye on every module.

Training itself looks at the losses alone, so that the watch costs nothing while all is well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from aammodel.batch import Batch
from aammodel.model import Output
from aammodel.statistics import describe


def first_non_finite(model: nn.Module, batch: Batch) -> str | None:
    """Run a batch and name the first module whose output is not finite.

    Parameters
    ----------
    model : Module
    batch : Batch

    Returns
    -------
    str or None
        The module's name, what its output and inputs hold, and which ASVs and samples it concerns; None where
        every output is finite.
    """
    with torch.no_grad(), _watching(model) as found:
        output = model(batch)
    return found[0] + _concerned(output, batch) if found else None


def _concerned(output: Output, batch: Batch) -> str:
    """Name the ASVs and samples for which the model gives a number that is not finite."""
    is_bad_asv = ~output.asv_embedding.isfinite().all(dim=1)
    is_bad_asv[batch.masked[~output.nucleotide_logits.isfinite().all(dim=1), 0]] = True
    is_bad_sample = ~output.sample_embedding.isfinite().all(dim=1)
    is_bad_sample |= (is_bad_asv[batch.slot] & batch.is_real).any(dim=1)
    asvs = batch.asv_row[is_bad_asv].tolist()
    samples = [batch.sample_ids[row] for row in is_bad_sample.nonzero().flatten().tolist()]
    return _some("; rows of asvs.parquet that it concerns:", asvs) + _some(
        "; samples that it concerns:", samples
    )


def _some(what: str, names: list[int] | list[str], most: int = 10) -> str:
    """Name the first few and count the rest; nothing where there is none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what} {', '.join(map(str, names[:most]))}{more}" if names else ""


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[str]]:
    """Note each module whose output is not finite, in the order in which they finish: the innermost first."""
    found: list[str] = []
    handles = []
    for name, module in model.named_modules():

        def look(module: nn.Module, inputs: object, output: object, name: str = name) -> None:
            if not all(tensor.isfinite().all() for tensor in _tensors(output)):
                told = "; ".join(f"input {describe(tensor)}" for tensor in _tensors(inputs))
                gave = "; ".join(f"output {describe(tensor)}" for tensor in _tensors(output))
                found.append(f"{name or 'the model'} ({type(module).__name__}: {gave}; {told})")

        handles.append(module.register_forward_hook(look))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: object) -> list[Tensor]:
    """List the floating-point tensors in what a module takes or gives."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, tuple | list):
        return [tensor for one in value for tensor in _tensors(one)]
    if is_dataclass(value) and not isinstance(value, Batch):
        return [tensor for one in fields(value) for tensor in _tensors(getattr(value, one.name))]
    return []
