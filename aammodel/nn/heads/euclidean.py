"""Distance head that compares pooled sample vectors by their Euclidean distance."""

import torch
from jaxtyping import Float
from torch import Tensor

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import Affine, Contents, DistanceHead
from aammodel.nn.transformer import AttentionPooling, Transformer


class EuclideanHead(DistanceHead):
    """Pool a sample's ASVs by attention, and compare samples by the Euclidean distance.

    This is the head of published checkpoints, without the learned affine map.

    Parameters
    ----------
    config : ModelConfig
        With `distance_head_layers`, a transformer over the ASVs comes first, as in published checkpoints.
        With the head "tanh-euclidean", the distance is tanh(distance / 10), as in published checkpoints, and
        not scaled.
    target : str
        Name of the metric to learn.
    """

    def __init__(self, config: ModelConfig, target: str) -> None:
        super().__init__()
        self.num_features = config.width
        self.transformer = Transformer(config, config.distance_head_layers, branch_scale=0.0)
        self.pooling = AttentionPooling(config.width)
        self.affine = None if config.distance_head == "tanh-euclidean" else Affine(METRICS[target].largest)

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Pool the ASVs of each sample. K is D. Counts are already part of the vectors."""
        is_real = contents.is_real
        return self.pooling(self.transformer(contents.features, is_real), is_real)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Return the Euclidean distance between features, scaled."""
        distance = self._euclidean(a, b)
        return torch.tanh(distance / 10) if self.affine is None else self.affine(distance)

    def _euclidean(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        # A matrix product would be faster, but loses small distances to cancellation. `cdist` defines the
        # gradient between equal rows as 0, where the square root has none.
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    @torch.no_grad()
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Fit the affine map, if there is one. Nothing else depends on the batch."""
        if self.affine is not None:
            features = self.pool(contents)
            self.affine.fit(self._euclidean(features, features), true_distance)
