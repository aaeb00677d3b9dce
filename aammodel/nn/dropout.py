"""Dropout with cheap random numbers on a CPU: 16 bits for each decision.

Torch's dropout draws a random float for each number, on one thread. On a CPU, this is the largest single cost
of a training step.
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
_DECISIONS_PER_DRAW = 4
"""Number of 16-bit decisions in one random 64-bit integer."""


class _ThreadState(threading.local):
    """State that each thread has of its own."""

    generator: torch.Generator | None = None
    """Source of random numbers. None is torch's default generator."""


_thread_state = _ThreadState()


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Draw the decisions of this thread from a generator with this seed, while the block lasts.

    Decisions then do not depend on which thread computes a chunk, or when.
    """
    before, _thread_state.generator = _thread_state.generator, torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _thread_state.generator = before


class Dropout(nn.Module):
    """Set a fraction of the input to zero during training, and scale the rest to keep the mean.

    The method is that of Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", JMLR 2014. Decisions depend on `torch.manual_seed`, or on the seed of `drawing_from` on a
    CPU. On a CPU, the fraction is rounded to a multiple of 1/65,536.

    Parameters
    ----------
    fraction : float
        At least 0, below 1.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop during training. In evaluation, or with a fraction of 0, return the input itself."""
        if not self.training or self.fraction == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.fraction)
        num_dropped = min(max(1, round(self.fraction * _LEVELS)), _LEVELS - 1)
        dropped: Float[Tensor, "*shape"] = _Drop.apply(x, num_dropped)
        return dropped


class _Drop(torch.autograd.Function):
    """Dropout that saves its decisions as booleans and multiplies by them as floats.

    Booleans take a quarter of the memory. On a CPU, a product with floats takes half the time of a product
    with booleans.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, num_dropped: int) -> Tensor:
        keep = _draw_kept(x.shape, num_dropped)
        ctx.save_for_backward(keep)
        ctx.scale = _LEVELS / (_LEVELS - num_dropped)
        return _apply(x, keep, ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _apply(gradient, keep, ctx.scale), None


def _apply(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    kept = keep.to(torch.promote_types(x.dtype, torch.float32))
    return kept.mul_(scale).mul_(x).to(x.dtype)


def _draw_kept(shape: torch.Size, num_dropped: int) -> Bool[Tensor, "*shape"]:
    """Draw which numbers are kept. Each is dropped with a probability of num_dropped / 65,536."""
    number = shape.numel()
    drawn = torch.empty(-(-number // _DECISIONS_PER_DRAW), dtype=torch.int64)
    # From the lowest int64, and with no upper bound, so that all 64 bits are random.
    drawn.random_(-(2**63), None, generator=_thread_state.generator)
    # Each int16 is uniform over -32,768 to 32,767.
    levels = drawn.view(torch.int16)[:number].view(shape)
    return levels >= num_dropped - _LEVELS // 2
