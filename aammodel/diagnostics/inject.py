"""A fault planted from outside: one number of one module becomes NaN, to see whether it is found."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aam_schemas.common.errors import UsageError
from aammodel.diagnostics.hooks import Direction


@dataclass
class Plant:
    """A NaN in the first number that a module gives, or in its gradient, the first time that it comes."""

    module: str
    direction: Direction
    is_done: bool = False

    def forward(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        """Spoil what a module gives."""
        if not isinstance(output, Tensor):
            return None
        if self.direction == "forward":
            return self._spoil(output)
        if output.requires_grad:
            output.register_hook(self._spoil)
        return None

    def _spoil(self, tensor: Tensor) -> Tensor:
        is_bad = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device)
        is_bad[:1] = not self.is_done
        self.is_done = True
        # Filled each time, even with nothing: a chunk that is computed again must do the same again.
        return tensor.masked_fill(is_bad.view(tensor.shape), torch.nan)


@contextmanager
def planted(model: nn.Module, module: str | None, direction: Direction) -> Iterator[None]:
    """Plant a fault for a while; none where no module is named.

    Raises
    ------
    UsageError
        If there is no such module, or nothing of that kind passes through it.
    """
    if module is None:
        yield
        return
    plant = Plant(module, direction)
    handle = _find(model, module).register_forward_hook(plant.forward)
    try:
        yield
    finally:
        handle.remove()
    if not plant.is_done:
        what = "is called" if direction == "forward" else "has a gradient"
        raise UsageError(
            f"nothing could be planted in {module}, which never {what} by itself in this step",
            "--inject",
            "choose one that `aammodel trace` lists with what it gives",
        )


def _find(model: nn.Module, name: str) -> nn.Module:
    names = _names(model)
    if name in names:
        return model.get_submodule(name)
    ends = [one for one in names if one.endswith(name.rpartition(".")[2])]
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or ends[:5] or names[:5]
    raise UsageError(
        f"the model has no module {name!r}",
        "--inject",
        f"choose one that `aammodel trace` lists, for example: {', '.join(near)}",
    )


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name]
