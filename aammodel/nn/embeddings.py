"""From tokens to what the transformer over bases reads: neighbouring tokens together as one position.

The cost of the transformer follows its positions. P positions hold L tokens, each the same number of them.
"""

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aam_schemas import vocabulary
from aammodel.config import model as config
from aammodel.config.model import ModelConfig
from aammodel.nn.transformer import init_linear


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
        init_linear(self.out)

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


class CountEmbedding(nn.Module):
    """Bring log(1 + count) into the embedding of an ASV.

    Parameters
    ----------
    width : int
        Numbers per ASV, D.
    how : {"add", "concat", "film", "none"}
        "add" adds a vector that is linear in the logarithm; "concat" joins it to the embedding and projects
        both to D; "film" scales and shifts the embedding (Perez et al., "FiLM", AAAI 2018); "none" leaves
        counts out.
    """

    def __init__(self, width: int, how: config.CountEmbedding) -> None:
        super().__init__()
        self.how = how
        num_outputs = {"add": width, "concat": width, "film": 2 * width, "none": 0}[how]
        self.of_count = nn.Linear(1, num_outputs) if num_outputs else nn.Identity()
        self.project = nn.Linear(2 * width, width) if how == "concat" else nn.Identity()
        self._start(width)

    def forward(self, x: Float[Tensor, "*N D"], count: Float[Tensor, "*N"]) -> Float[Tensor, "*N D"]:
        """Embed the counts (in reads) of ASVs whose embeddings are `x`."""
        if self.how == "none":
            return x
        of_count = self.of_count(count.to(x.dtype).log1p()[..., None])
        if self.how == "add":
            return x + of_count
        if self.how == "concat":
            return self.project(torch.cat([x, of_count], dim=-1))
        scale, shift = of_count.chunk(2, dim=-1)
        return x * (1 + scale) + shift

    def _start(self, width: int) -> None:
        """Start with the embedding nearly as it is: counts join in as the model learns."""
        for layer in (self.of_count, self.project):
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        if isinstance(self.project, nn.Linear):
            with torch.no_grad():
                self.project.weight[:, :width] += torch.eye(width)
