"""Distance head: Euclidean distance between projected sample states."""

import torch
from jaxtyping import Float
from torch import Tensor

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import Affine, Contents, DistanceHead
from aammodel.nn.transformer import AttentionPooling, Transformer


class EuclideanHead(DistanceHead):
    """Attention pooling over a sample's ASVs, and the Euclidean distance.

    Parameters
    ----------
    config : ModelConfig
        With `distance_head_layers`, a transformer over the ASVs comes first, as published checkpoints have
        it; with the head "tanh-euclidean", distances go through their tanh(distance / 10).
    target : str
        The metric that it learns.
    """

    def __init__(self, config: ModelConfig, target: str) -> None:
        super().__init__()
        self.num_features = config.width
        self.transformer = Transformer(config, config.distance_head_layers, branch_scale=0.0)
        self.pooling = AttentionPooling(config.width)
        self.affine = None if config.distance_head == "tanh-euclidean" else Affine(METRICS[target].largest)

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Pool the ASVs of each sample; K is D. Their counts are in the features."""
        is_real = contents.is_real
        return self.pooling(self.transformer(contents.features, is_real), is_real)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare features by their Euclidean distance, then scale."""
        apart = self._euclidean(a, b)
        return torch.tanh(apart / 10) if self.affine is None else self.affine(apart)

    def _euclidean(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        # Not by a matrix product, which loses small distances to cancellation. Equal rows have gradient 0.
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    @torch.no_grad()
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Fit the affine map, if there is one."""
        if self.affine is not None:
            embedding = self.pool(contents)
            self.affine.fit(self._euclidean(embedding, embedding), true_distance)
