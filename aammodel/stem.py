"""From tokens to what the transformer over bases reads: neighbouring tokens together as one position.

The cost of the transformer follows its positions. P positions hold L tokens, each the same number of them.
"""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.config import ModelConfig
from schemas import vocabulary


class Stem(nn.Module):
    """A learned vector for each token at each place within a position, summed, and one for the position.

    Parameters
    ----------
    config : ModelConfig
        Its `bases_per_position`: tokens to a position.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.bases_per_position
        self.vocabulary_size = config.vocabulary_size
        self.token_embedding = nn.Embedding(self.size * config.vocabulary_size, config.width)
        self.position_embedding = nn.Embedding(self.num_positions(config.sequence_length), config.width)
        nn.init.trunc_normal_(self.token_embedding.weight, std=0.5 * self.size**-0.5)
        nn.init.trunc_normal_(self.position_embedding.weight, std=0.5)

    def forward(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N P D"]:
        """Embed the positions of each row; padded tokens add nothing."""
        place = torch.arange(self.size, device=tokens.device) * self.vocabulary_size
        x = self.token_embedding(self._grouped(tokens.long(), vocabulary.PAD) + place)
        if self.size > 1:
            real = torch.ones_like(tokens, dtype=torch.bool) if is_real is None else is_real
            x = torch.where(self._grouped(real, False)[..., None], x, 0.0)
        x = x.sum(dim=2)
        return x + self.position_embedding.weight[: x.shape[1]]

    def position_is_real(self, is_real: Bool[Tensor, "N T"] | None) -> Bool[Tensor, "N P"] | None:
        """Tell which positions hold a real token; None where no token is padding."""
        return None if is_real is None else self._grouped(is_real, False).any(dim=2)

    def num_positions(self, num_tokens: int) -> int:
        """Count the positions that hold so many tokens."""
        return -(-num_tokens // self.size)

    def position(self, token: Int[Tensor, " M"]) -> Int[Tensor, " M"]:
        """Give the position in which each token lies."""
        return token // self.size

    def logits_of_tokens(
        self, logits: Float[Tensor, "M W"], token: Int[Tensor, " M"]
    ) -> Float[Tensor, "M V"]:
        """Choose, from what a position says of all its tokens, what it says of one.

        Parameters
        ----------
        logits : Tensor, shape (M, W)
            W is V for each place within a position.
        token : Tensor of int, shape (M,)
            Which token of its row each is.
        """
        by_place = logits.unflatten(1, (self.size, -1))
        return by_place[torch.arange(len(token), device=token.device), token % self.size]

    def _grouped(self, x: Integer[Tensor, "N T"] | Bool[Tensor, "N T"], fill: int) -> Tensor:
        """Cut rows into positions, [N, P, tokens to a position], the last one filled up."""
        return F.pad(x, (0, -x.shape[1] % self.size), value=fill).unflatten(1, (-1, self.size))
