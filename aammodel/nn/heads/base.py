"""The interface of distance heads, and the parts that they share. For the shape letters, see `batch.py`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

EPSILON = 1e-6
"""Smallest divisor. It is far below any spread or total that occurs, and only prevents division by zero."""


@dataclass(frozen=True)
class Contents:
    """ASVs of the samples of a batch, encoded, with their reads."""

    features: Float[Tensor, "B S D"]
    """Vectors of the ASVs, from the sample encoder."""
    kmers: Int[Tensor, "R P"]
    """Columns of the k-mers of the ASV in each real slot, one sample after another (`kmers.py`)."""
    count: Float[Tensor, "B S"]
    """Number of reads of each ASV."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""


class DistanceHead(nn.Module, ABC):
    """Predict the distance of two samples by one metric. Implement it to add a kind of head."""

    num_features: int
    """Number of features of a sample, K."""
    spread: Tensor
    """Standard deviation of the true distances of the first batch. The loss measures errors in this unit, so
    that metrics of any range are learned at the same rate. Shape ()."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Return the features of each sample. They must be finite for a sample without ASVs."""

    @abstractmethod
    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Predict the distance from each sample of `a` to each sample of `b`."""

    @abstractmethod
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Set initial weights from a first batch.

        Parameters
        ----------
        contents : Contents
        true_distance : Tensor, shape (B, B)
            NaN where a pair has no true distance.
        """


class Affine(nn.Module):
    """Map distances to the scale of the true ones, by a learned factor and offset.

    Parameters
    ----------
    largest : float
        Largest possible distance.
    """

    def __init__(self, largest: float) -> None:
        super().__init__()
        self.largest = largest
        self.scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, distance: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        """Scale distances. In evaluation, also clip them to the possible range."""
        scaled = self.scale * distance + self.offset
        # Not in training: a clipped distance has no gradient, so it would never come back into the range.
        return scaled if self.training else scaled.clamp(0.0, self.largest)

    @torch.no_grad()
    def fit(self, distance: Float[Tensor, "B B"], true_distance: Float[Tensor, "B B"]) -> None:
        """Match the mean and spread of the true distances, over the pairs that have one.

        A least-squares fit is worse. At first, distances hardly correlate with the true ones, so its factor
        would be small, and would scale down every gradient that passes through it (`docs/experiments.md`).

        Parameters
        ----------
        distance : Tensor, shape (B, B)
            Distances before scaling.
        true_distance : Tensor, shape (B, B)
            NaN where a pair has no true distance. If no pair has one, nothing changes.
        """
        is_pair = true_distance.isfinite().triu(diagonal=1)
        if not is_pair.any():
            return
        x, y = distance[is_pair].double(), true_distance[is_pair].double()
        # If all true distances are equal, as with two samples, they do not determine a factor.
        slope = (y.std(correction=0) / x.std(correction=0)).nan_to_num(0.0, 0.0, 0.0)
        self.scale.copy_(slope if slope > 0 else torch.ones(()))
        self.offset.copy_(y.mean() - self.scale.double() * x.mean())


def sum_by_sample(values: Float[Tensor, "R K"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
    """Sum the values of the ASVs of each sample.

    Parameters
    ----------
    values : Tensor, shape (R, K)
        Values of the ASVs in the real slots, one sample after another.
    is_real : Tensor of bool, shape (B, S)

    Returns
    -------
    Tensor, shape (B, K)
    """
    # Each sample is summed by itself, so that the other samples of the batch cannot change its result.
    by_sample = values.split(is_real.sum(dim=1).tolist())
    return torch.stack([rows.sum(dim=0) for rows in by_sample])


def spread(distance: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Return the standard deviation of the distances of pairs.

    Parameters
    ----------
    distance : Tensor, shape (B, B)
        NaN where a pair has no distance.

    Returns
    -------
    Tensor, shape ()
        1 if there are no distances, or all of them are equal.
    """
    known = distance[distance.isfinite().triu(diagonal=1)]
    deviation = known.double().std(correction=0) if len(known) else known.new_zeros(())
    return torch.where(deviation > EPSILON, deviation, 1.0)
