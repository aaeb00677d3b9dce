"""How many reads an ASV has in a sample, as part of its embedding there."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aammodel import config


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
