"""The interface of distance heads, and what they share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

_TINY = 1e-6


@dataclass(frozen=True)
class Contents:
    """What samples hold: their ASVs, encoded, and the reads of each."""

    features: Float[Tensor, "B S D"]
    """What the sample encoder gave."""
    windows: Int[Tensor, "R P"]
    """Columns of the windows of the ASV in each real slot, one sample after the other."""
    count: Float[Tensor, "B S"]
    """Reads of each ASV."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""


class DistanceHead(nn.Module, ABC):
    """What the model asks of a head."""

    num_features: int
    """Numbers of a sample's features, K."""
    spread: Tensor
    """Standard deviation of the first batch's true distances: the unit in which errors count, so that metrics
    of any range are learned alike."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Make the features of each sample; finite for one that has no ASV."""

    @abstractmethod
    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Predict the distance of each sample of `a` to each of `b`."""

    @abstractmethod
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Choose initial weights that suit a first batch; nothing of the batch stays but the weights."""


class Affine(nn.Module):
    """Distances on the scale of the true ones: a learned factor and offset.

    Parameters
    ----------
    largest : float
        The largest that a distance can be.
    """

    def __init__(self, largest: float) -> None:
        super().__init__()
        self.largest = largest
        self.scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, distance: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        """Scale distances; outside of training, into the range that they can have."""
        scaled = self.scale * distance + self.offset
        return scaled if self.training else scaled.clamp(0.0, self.largest)

    @torch.no_grad()
    def fit(self, distance: Float[Tensor, "B B"], true_distance: Float[Tensor, "B B"]) -> None:
        """Give the pairs that have a true distance its mean and spread; stays as it is where none has.

        Not least squares: at the start distances hardly follow the true ones, so its factor would be small,
        and with it every gradient that passes through.
        """
        is_pair = true_distance.isfinite().triu(diagonal=1)
        if not is_pair.any():
            return
        x, y = distance[is_pair].double(), true_distance[is_pair].double()
        # True distances that are all alike, of two samples for example, say nothing about the scale.
        slope = (y.std(correction=0) / x.std(correction=0)).nan_to_num(0.0, 0.0, 0.0)
        self.scale.copy_(slope if slope > 0 else torch.ones(()))
        self.offset.copy_(y.mean() - self.scale.double() * x.mean())


def _sum_by_sample(values: Float[Tensor, "R K"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
    """Add up the values of all real slots, which stand one sample after the other."""
    by_sample = values.split(is_real.sum(dim=1).tolist())
    return torch.stack([one.sum(dim=0) for one in by_sample])


def spread(distance: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Give the standard deviation of the distances of pairs; 1 where there are none, or all are alike."""
    known = distance[distance.isfinite().triu(diagonal=1)]
    deviation = known.double().std(correction=0) if len(known) else known.new_zeros(())
    return torch.where(deviation > _TINY, deviation, 1.0)
