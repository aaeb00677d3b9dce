"""Dropout, whose random numbers are cheap on a CPU: 16 bits for each decision instead of a float.

Drawing floats one by one is the largest single cost of a training step with torch's own dropout on a CPU.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_LEVELS = 2**16
_DRAWS = 4
"""Decisions that one 64-bit number is good for."""


class Dropout(nn.Module):
    """Set a share of numbers to zero while training, and scale the others so that the mean stays.

    Decisions follow `torch.manual_seed`. On a CPU the share is rounded to a 65,536th.

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
        # A product with floats takes half the time of one with booleans, forward and backward.
        scale = _keep(x.shape, num_dropped).float().mul_(_LEVELS / (_LEVELS - num_dropped))
        return (x * scale).to(x.dtype)


def _keep(shape: torch.Size, num_dropped: int) -> Bool[Tensor, "*shape"]:
    """Draw what is kept: all but so many of 65,536."""
    number = shape.numel()
    drawn = torch.empty(-(-number // _DRAWS), dtype=torch.int64).random_(-(2**63), None)
    levels = drawn.view(torch.int16)[:number].view(shape)
    return levels >= num_dropped - _LEVELS // 2
