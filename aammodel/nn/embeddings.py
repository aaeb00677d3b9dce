"""Inputs of the transformers: embeddings of bases, of whole ASVs by position, and of counts."""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aam_schemas import vocabulary
from aammodel.config import model as config
from aammodel.config.model import ModelConfig
from aammodel.nn.transformer import init_linear


class Stem(nn.Module):
    """Embed neighboring tokens together as one position.

    The vector of a position is the sum of a learned vector for each of its tokens, which depends on the
    token's offset within the position, and of a learned vector for the position. With three tokens per
    position, the transformer over bases costs a third. P is the number of positions of L tokens.

    Parameters
    ----------
    config : ModelConfig
        Its `bases_per_position` is the number of tokens per position.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.bases_per_position
        self.vocabulary_size = config.vocabulary_size
        self.token_embedding = nn.Embedding(self.size * config.vocabulary_size, config.width)
        self.position_embedding = nn.Embedding(self.num_positions(config.sequence_length), config.width)
        # A sum of `size` token vectors has the same spread as the vector of the position.
        nn.init.trunc_normal_(self.token_embedding.weight, std=0.5 * self.size**-0.5)
        nn.init.trunc_normal_(self.position_embedding.weight, std=0.5)

    def forward(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N P D"]:
        """Embed the positions of each row. Padded tokens add nothing."""
        offset = torch.arange(self.size, device=tokens.device) * self.vocabulary_size
        x = self.token_embedding(self._grouped(tokens.long(), vocabulary.PAD) + offset)
        # With one token per position, padded positions are zeroed by the transformer anyway.
        if self.size > 1:
            real = torch.ones_like(tokens, dtype=torch.bool) if is_real is None else is_real
            x = torch.where(self._grouped(real, False)[..., None], x, 0.0)
        x = x.sum(dim=2)
        return x + self.position_embedding.weight[: x.shape[1]]

    def position_is_real(self, is_real: Bool[Tensor, "N T"] | None) -> Bool[Tensor, "N P"] | None:
        """Return which positions hold a real token. None if no token is padding."""
        return None if is_real is None else self._grouped(is_real, False).any(dim=2)

    def num_positions(self, num_tokens: int) -> int:
        """Return the number of positions that hold `num_tokens` tokens."""
        return -(-num_tokens // self.size)

    def position(self, token: Int[Tensor, " M"]) -> Int[Tensor, " M"]:
        """Return the position of each token."""
        return token // self.size

    def logits_of_tokens(
        self, logits: Float[Tensor, "M W"], token: Int[Tensor, " M"]
    ) -> Float[Tensor, "M V"]:
        """Select the logits of one token from those of its position.

        Parameters
        ----------
        logits : Tensor, shape (M, W)
            W is V times the number of tokens per position.
        token : Tensor of int, shape (M,)
            Index of the token in its row.

        Returns
        -------
        Tensor, shape (M, V)
        """
        by_offset = logits.unflatten(1, (self.size, -1))
        return by_offset[torch.arange(len(token), device=token.device), token % self.size]

    def _grouped(self, x: Integer[Tensor, "N T"] | Bool[Tensor, "N T"], fill: int) -> Tensor:
        """Split rows into positions, (N, P, tokens per position). The last position is filled up."""
        return F.pad(x, (0, -x.shape[1] % self.size), value=fill).unflatten(1, (-1, self.size))


class BasesByPosition(nn.Module):
    """Embed an ASV by a small network over the base at each position.

    A learned vector for each token at each position is summed and normalized, then passes one linear layer.
    Before any training, a mean over the positions of a transformer is nearly the same for all ASVs. This sum
    is not: ASVs with more bases in common have more similar embeddings from the first step on. All ASVs must
    start at the same primer, as amplicons do.

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
        # A sum over L tokens then has a spread of 1.
        nn.init.normal_(self.weight, std=sequence_length**-0.5)
        init_linear(self.out)

    def forward(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N D"]:
        """Embed each row's real tokens."""
        return self.out(F.gelu(self.norm(self.sum(tokens, is_real) - self.centre)))

    def sum(
        self, tokens: Integer[Tensor, "N T"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N H"]:
        """Sum the vectors of each row's real tokens. Zero for a row without real tokens."""
        # One matrix product with one-hot rows, instead of a gather of N * T vectors.
        chosen = F.one_hot(tokens.long(), self.weight.shape[1])
        if is_real is not None:
            chosen = torch.where(is_real[..., None], chosen, 0)
        weight = self.weight[: tokens.shape[1]]
        return chosen.flatten(1).to(weight.dtype) @ weight.flatten(0, 1)


class CountEmbedding(nn.Module):
    """Add log(1 + count) to the embedding of an ASV.

    Counts span several orders of magnitude, so their logarithm is used.

    Parameters
    ----------
    width : int
        Width of an embedding, D.
    how : {"add", "concat", "film", "none"}
        "add" adds a vector that is linear in the logarithm. "concat" concatenates it with the embedding, and
        projects both to D. "film" scales and shifts the embedding (Perez et al., "FiLM: visual reasoning with
        a general conditioning layer", AAAI 2018). "none" ignores counts.
    """

    def __init__(self, width: int, how: config.CountEmbedding) -> None:
        super().__init__()
        self.how = how
        num_outputs = {"add": width, "concat": width, "film": 2 * width, "none": 0}[how]
        self.of_count = nn.Linear(1, num_outputs) if num_outputs else nn.Identity()
        self.project = nn.Linear(2 * width, width) if how == "concat" else nn.Identity()
        self._init_weights(width)

    def forward(self, x: Float[Tensor, "*N D"], count: Float[Tensor, "*N"]) -> Float[Tensor, "*N D"]:
        """Combine ASV embeddings with counts.

        Parameters
        ----------
        x : Tensor, shape (..., D)
            Embeddings of ASVs.
        count : Tensor, shape (...)
            Number of reads of each ASV.
        """
        if self.how == "none":
            return x
        of_count = self.of_count(count.to(x.dtype).log1p()[..., None])
        if self.how == "add":
            return x + of_count
        if self.how == "concat":
            return self.project(torch.cat([x, of_count], dim=-1))
        scale, shift = of_count.chunk(2, dim=-1)
        return x * (1 + scale) + shift

    def _init_weights(self, width: int) -> None:
        """Leave embeddings nearly unchanged at first. The model learns how counts matter."""
        for layer in (self.of_count, self.project):
            if isinstance(layer, nn.Linear):
                # 0.02 is the standard deviation of BERT (Devlin et al. 2019).
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        if isinstance(self.project, nn.Linear):
            with torch.no_grad():
                self.project.weight[:, :width] += torch.eye(width)
