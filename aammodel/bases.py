"""Which base stands where, beside the transformer: what tells ASVs apart from the first step on."""

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.transformer import start_linear


class BasesByPosition(nn.Module):
    """A small network over which base stands where: a vector for each token at each position, summed.

    A mean over a hundred positions of a transformer that has learned nothing is nearly the same for all ASVs.
    This sum is not: ASVs that share more bases are nearer from the start. It presumes what amplicons have, a
    common primer at their beginning.

    Parameters
    ----------
    sequence_length, vocabulary_size, width : int
        L, V and D.
    hidden_width : int
        Width of the sum.
    """

    def __init__(self, sequence_length: int, vocabulary_size: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sequence_length, vocabulary_size, hidden_width))
        self.centre = nn.Parameter(torch.zeros(hidden_width))
        self.norm = nn.LayerNorm(hidden_width)
        self.out = nn.Linear(hidden_width, width)
        nn.init.normal_(self.weight, std=sequence_length**-0.5)
        start_linear(self.out)

    def forward(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N D"]:
        """Encode each row's real tokens."""
        return self.out(F.gelu(self.norm(self.sum(tokens, is_real) - self.centre)))

    def sum(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N H"]:
        """Sum the vectors of each row's real tokens; zero where there is none."""
        chosen = F.one_hot(tokens.long(), self.weight.shape[1])
        if is_real is not None:
            chosen = torch.where(is_real[..., None], chosen, 0)
        weight = self.weight[: tokens.shape[1]]
        return chosen.flatten(1).to(weight.dtype) @ weight.flatten(0, 1)
