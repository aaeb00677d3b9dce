"""The objective of distances between embeddings: they resemble the true distances of the first metric.

The embedding of a sample then tells its place among other samples, as an ordination does.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import Affine, spread
from aammodel.nn.model import AamModel
from aammodel.nn.transformer import at_least_float32
from aammodel.objectives.base import ForwardPass, Label, Objective
from aammodel.objectives.distances import is_pair


class EmbeddingDistanceHead(nn.Module):
    """Scale the Euclidean distances of embeddings to the true distances.

    Parameters
    ----------
    largest : float
        Largest possible distance.
    """

    spread: Tensor
    """Standard deviation of the true distances of the first batch, the unit of the error. Shape ()."""

    def __init__(self, largest: float) -> None:
        super().__init__()
        self.affine = Affine(largest)
        self.register_buffer("spread", torch.ones(()))

    def forward(self, a: Float[Tensor, "B D"], b: Float[Tensor, "C D"]) -> Float[Tensor, "B C"]:
        """Return the distance from each row of `a` to each row of `b`."""
        return self.affine(euclidean(a, b))

    @torch.no_grad()
    def fit(self, embedding: Float[Tensor, "B D"], true_distance: Float[Tensor, "B B"]) -> None:
        """Set the scale and the unit of the error from a first batch."""
        self.affine.fit(euclidean(embedding, embedding), true_distance)
        self.spread.copy_(spread(true_distance))


def euclidean(a: Float[Tensor, "B D"], b: Float[Tensor, "C D"]) -> Float[Tensor, "B C"]:
    """Return Euclidean distances. The gradient between equal rows is 0."""
    # A matrix product would be faster, but loses small distances to cancellation.
    return torch.cdist(at_least_float32(a), at_least_float32(b), compute_mode="donot_use_mm_for_euclid_dist")


class EmbeddingDistanceObjective(Objective):
    """Squared error of distances between embeddings, for the first of the model's metrics."""

    name = "embedding_distance"
    labels: ClassVar = {
        "embedding_distance": Label("distances of embeddings", "squared error, over the variance")
    }

    @classmethod
    def make_head(cls, config: ModelConfig) -> EmbeddingDistanceHead:
        """Make the scale."""
        return EmbeddingDistanceHead(METRICS[config.targets[0]].largest)

    @torch.no_grad()
    def init_from_batch(self, model: AamModel, batch: Batch) -> None:
        """Set the scale and the unit of the error from a first batch."""
        self._head(model).fit(model(batch).embedding, batch.distance[0])

    def denominator(self, batch: Batch) -> Tensor:
        """Return the number of pairs with a true distance. Shape ()."""
        return is_pair(batch)[0].sum()

    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Return the sum of the squared errors over pairs. Shape ()."""
        batch, head, embedding = forward.batch, self._head(forward.model), forward.output.embedding
        predicted = head(embedding, forward.gather(embedding))
        # A product with a mask would turn a missing true distance into a gradient of NaN.
        error = torch.where(is_pair(batch)[0], predicted - batch.distance[0].to(predicted.dtype), 0.0)
        return (error / head.spread).square().sum()

    def _head(self, model: AamModel) -> EmbeddingDistanceHead:
        head = model.objective_heads[self.name]
        assert isinstance(head, EmbeddingDistanceHead)
        return head
