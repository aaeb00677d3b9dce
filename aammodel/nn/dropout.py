"""Dropout, whose random numbers are cheap on a CPU: 16 bits for each decision instead of a float.

Drawing floats one by one is the largest single cost of a training step with torch's own dropout on a CPU.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_LEVELS = 2**16
_DRAWS = 4
"""Decisions that one 64-bit number is good for."""


class _Here(threading.local):
    """What is each thread's own."""

    generator: torch.Generator | None = None
    """Where decisions come from; None is torch's own."""


_here = _Here()


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Draw the decisions of this thread from a seed of their own."""
    before, _here.generator = _here.generator, torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _here.generator = before


class Dropout(nn.Module):
    """Set a share of numbers to zero while training, and scale the others so that the mean stays.

    Decisions follow `torch.manual_seed`. On a CPU, `drawing_from` may give them a seed of their own, and the
    share is rounded to a 65,536th.

    Parameters
    ----------
    share : float
        From 0 to below 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop in training; in evaluation, or with a share of 0, give back what came in."""
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        num_dropped = min(max(1, round(self.share * _LEVELS)), _LEVELS - 1)
        dropped: Float[Tensor, "*shape"] = _Drop.apply(x, num_dropped)
        return dropped


class _Drop(torch.autograd.Function):
    """What is kept stays in memory as booleans, and is multiplied as floats, which takes half the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_dropped: int) -> Tensor:
        keep = _keep(x.shape, num_dropped)
        ctx.save_for_backward(keep)
        ctx.scale = _LEVELS / (_LEVELS - num_dropped)
        return _kept(x, keep, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _kept(gradient, keep, ctx.scale), None


def _kept(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    kept = keep.to(torch.promote_types(x.dtype, torch.float32))
    return kept.mul_(scale).mul_(x).to(x.dtype)


def _keep(shape: torch.Size, num_dropped: int) -> Bool[Tensor, "*shape"]:
    """Draw what is kept: all but so many of 65,536."""
    number = shape.numel()
    drawn = torch.empty(-(-number // _DRAWS), dtype=torch.int64)
    drawn.random_(-(2**63), None, generator=_here.generator)
    levels = drawn.view(torch.int16)[:number].view(shape)
    return levels >= num_dropped - _LEVELS // 2
