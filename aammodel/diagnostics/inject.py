"""Inject a NaN into a module, to demonstrate and test that its origin is found."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aam_schemas.common.errors import UsageError
from aammodel.diagnostics.hooks import Direction


@dataclass
class NanInjection:
    """A NaN in the first value of a module's output, or of its gradient, at the first call."""

    module: str
    """Name of the module."""
    direction: Direction
    is_done: bool = False

    def forward(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        """Inject the NaN into the output, or register a hook that injects it into the gradient."""
        if not isinstance(output, Tensor):
            return None
        if self.direction == "forward":
            return self._inject(output)
        if output.requires_grad:
            output.register_hook(self._inject)
        return None

    def _inject(self, tensor: Tensor) -> Tensor:
        is_nan = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device)
        is_nan[:1] = not self.is_done
        self.is_done = True
        # The mask is applied at every call, even if it is empty. Autograd must save the same tensors when
        # activation checkpointing recomputes a chunk.
        return tensor.masked_fill(is_nan.view(tensor.shape), torch.nan)


@contextmanager
def inject_nan(model: nn.Module, module: str | None, direction: Direction) -> Iterator[None]:
    """Inject a NaN into a module within a `with` block. If `module` is None, do nothing.

    Raises
    ------
    UsageError
        If there is no such module, or if it has no output tensor or no gradient in this step.
    """
    if module is None:
        yield
        return
    injection = NanInjection(module, direction)
    handle = _find(model, module).register_forward_hook(injection.forward)
    try:
        yield
    finally:
        handle.remove()
    if not injection.is_done:
        missing = "output tensor" if direction == "forward" else "output with a gradient"
        raise UsageError(
            f"no NaN could be injected: module {module} has no {missing} of its own in this step",
            "--inject",
            "choose a module that `aammodel trace` lists with an output",
        )


def _find(model: nn.Module, name: str) -> nn.Module:
    names = _names(model)
    if name in names:
        return model.get_submodule(name)
    same_end = [other for other in names if other.endswith(name.rpartition(".")[2])]
    similar = difflib.get_close_matches(name, names, n=5, cutoff=0.4) or same_end[:5] or names[:5]
    raise UsageError(
        f"the model has no module {name!r}",
        "--inject",
        f"choose a module that `aammodel trace` lists, for example: {', '.join(similar)}",
    )


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name]
