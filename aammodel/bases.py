"""Which base stands where, beside the transformer: what tells ASVs apart from the first step on."""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class BasesByPosition(nn.Module):
    """A learned vector for each token at each position, summed over an ASV.

    A mean over a hundred positions of a transformer that has learned nothing is nearly the same for all ASVs.
    This sum is not: ASVs that share more bases are nearer from the start. It presumes what amplicons have, a
    common primer at their beginning.

    Parameters
    ----------
    sequence_length, vocabulary_size, width : int
        L, V and D.
    """

    def __init__(self, sequence_length: int, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sequence_length, vocabulary_size, width))
        nn.init.normal_(self.weight, std=sequence_length**-0.5)

    def forward(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N D"]:
        """Sum the vectors of each row's real tokens; zero where there is none."""
        chosen = F.one_hot(tokens.long(), self.weight.shape[1])
        if is_real is not None:
            chosen = torch.where(is_real[..., None], chosen, 0)
        weight = self.weight[: tokens.shape[1]]
        return chosen.flatten(1).to(weight.dtype) @ weight.flatten(0, 1)
