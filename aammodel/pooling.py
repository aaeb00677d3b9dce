"""From many positions to one: attention pooling (one learned query)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from aammodel.transformer import attendable, start_linear, zero_padding


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precision, in which exponentials and sums lose too much."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class AttentionPooling(nn.Module):
    """A weighted mean over real positions, weighted by a softmax of one learned query, then normalised.

    Before the normalisation a learned centre is subtracted. Means over many positions are all nearly alike:
    centred on the mean of a first batch, the normalisation widens what tells them apart.

    Parameters
    ----------
    width : int
        Numbers per position, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1, bias=False)
        self.centre = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        start_linear(self.query)

    def forward(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Pool each sequence; one that is all padding pools zeros, evenly, and is finite."""
        return self.norm(self.mean(x, is_real) - self.centre)

    def mean(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Weigh the positions of each sequence and add them up, no more."""
        x = zero_padding(x, is_real)
        scores = at_least_float32(self.query(x)[..., 0]) / x.shape[-1] ** 0.5
        if is_real is not None:
            scores = scores.masked_fill(~attendable(is_real), -torch.inf)
        weights = scores.softmax(dim=1)
        return (weights[:, None, :] @ x.to(weights.dtype))[:, 0]
