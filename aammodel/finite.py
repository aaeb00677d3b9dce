"""Where a number stopped being finite: the offending batch is run again, with an eye on every module.

Training itself looks at the losses alone, so that the watch costs nothing while all is well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from aammodel.batch import Batch
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
        The module's name and what its output and inputs hold; None where every output is finite.
    """
    with torch.no_grad(), _watching(model) as found:
        model(batch)
    return found[0] if found else None


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
