"""From a sample's ASVs to a sample embedding, and from two of these to a distance.

A head is exchangeable: the rest of the model knows only `DistanceHead`. Shape letters: see `batch.py`; C is a
second number of samples.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.config import ModelConfig
from aammodel.pooling import AttentionPooling, at_least_float32
from aammodel.transformer import Transformer, start_linear

_SPREAD = 5.0
"""Of a soft branch's logits over ASVs at the start; with 2, the same r takes three times the steps."""
_SMALLEST_SCALE = 0.05
_TINY = 1e-6


class DistanceHead(nn.Module, ABC):
    """What the model asks of a head."""

    @abstractmethod
    def pool(self, features: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
        """Make one embedding of each sample's ASVs; finite for a sample that has none."""

    @abstractmethod
    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Predict the distance of each sample of `a` to each of `b`."""

    @abstractmethod
    def start_from(
        self,
        features: Float[Tensor, "B S D"],
        is_real: Bool[Tensor, "B S"],
        true_distance: Float[Tensor, "B B"],
    ) -> None:
        """Choose initial weights that suit a first batch; nothing of the batch stays but the weights."""


class Affine(nn.Module):
    """Distances on the scale of the true ones: a learned factor and offset."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, distance: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
        """Scale distances; outside of training, into the range of UniFrac, 0 to 1."""
        scaled = self.scale * distance + self.offset
        return scaled if self.training else scaled.clamp(0.0, 1.0)

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
        slope = y.std(correction=0) / x.std(correction=0).clamp_min(_TINY)
        self.scale.copy_(slope.clamp(_SMALLEST_SCALE, 1 / _SMALLEST_SCALE))
        self.offset.copy_(y.mean() - self.scale.double() * x.mean())


class SoftBranchHead(DistanceHead):
    """UniFrac by construction: each ASV covers soft branches, a sample has a branch if any of its ASVs has.

    Unweighted UniFrac is a weighted Jaccard distance over the branches of a tree. Here the occupancy of
    branch k is a noisy-or, `a_k = 1 - exp(-sum over ASVs of softplus(logit_k))`, and two samples differ by
    `sum_k w_k |a_k - b_k| / sum_k w_k max(a_k, b_k)`, then a learned affine map. A sum over a set: order and
    padding cannot matter.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.logits = nn.Linear(config.width, config.soft_branches)
        self.branch_weight = nn.Parameter(torch.zeros(config.soft_branches))
        self.affine = Affine()
        start_linear(self.logits)

    def pool(self, features: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
        """Give the occupancy of each soft branch, 0 to 1; 0 for a sample without an ASV."""
        evidence = F.softplus(at_least_float32(self.logits(features[is_real])))
        return _noisy_or(evidence, is_real)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare occupancies by a weighted Jaccard distance, then scale."""
        return self.affine(self._jaccard(a, b))

    def _jaccard(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        weight = F.softplus(self.branch_weight)
        a, b = a * weight, b * weight
        apart = torch.cdist(a, b, p=1)
        # max(x, y) = (x + y + |x - y|) / 2, so that no B x C x K tensor is needed.
        together = (a.sum(dim=1)[:, None] + b.sum(dim=1) + apart) / 2
        return apart / together.clamp_min(_TINY)

    @torch.no_grad()
    def start_from(
        self,
        features: Float[Tensor, "B S D"],
        is_real: Bool[Tensor, "B S"],
        true_distance: Float[Tensor, "B B"],
    ) -> None:
        """Spread each logit over the batch's ASVs, set its bias for a mean occupancy of 1/2, fit the affine.

        Without it all ASVs start nearly alike, and a transformer learns slowly from there.
        """
        rows = features[is_real]
        raw = rows @ self.logits.weight.T
        factor = _SPREAD / raw.std(dim=0, correction=0).clamp_min(_TINY)
        self.logits.weight.mul_(factor[:, None])
        self.logits.bias.copy_(_bias_for_half(raw * factor, is_real))
        occupancy = self.pool(features, is_real)
        self.affine.fit(self._jaccard(occupancy, occupancy), true_distance)


class EuclideanHead(DistanceHead):
    """Attention pooling over a sample's ASVs, and the Euclidean distance.

    Parameters
    ----------
    config : ModelConfig
        With `head_layers`, a transformer over the ASVs comes first, as published checkpoints have it; with
        the head "tanh-euclidean", distances go through their tanh(distance / 10).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transformer = Transformer(config, config.head_layers, branch_scale=0.0)
        self.pooling = AttentionPooling(config.width)
        self.affine = None if config.head == "tanh-euclidean" else Affine()

    def pool(self, features: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
        """Pool the ASVs of each sample; K is D."""
        return self.pooling(self.transformer(features, is_real), is_real)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare embeddings by their Euclidean distance, then scale."""
        apart = self._euclidean(a, b)
        return torch.tanh(apart / 10) if self.affine is None else self.affine(apart)

    def _euclidean(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        # Not by a matrix product, which loses small distances to cancellation. Equal rows have gradient 0.
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    @torch.no_grad()
    def start_from(
        self,
        features: Float[Tensor, "B S D"],
        is_real: Bool[Tensor, "B S"],
        true_distance: Float[Tensor, "B B"],
    ) -> None:
        """Fit the affine map, if there is one."""
        if self.affine is not None:
            embedding = self.pool(features, is_real)
            self.affine.fit(self._euclidean(embedding, embedding), true_distance)


def distance_head(config: ModelConfig) -> DistanceHead:
    """Make the head that a configuration names."""
    return SoftBranchHead(config) if config.head == "soft-branch" else EuclideanHead(config)


def _noisy_or(evidence: Float[Tensor, "R K"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
    """Occupancy from the evidence of all real slots, which stand one sample after the other."""
    by_sample = evidence.split(is_real.sum(dim=1).tolist())
    return -torch.expm1(-torch.stack([one.sum(dim=0) for one in by_sample]))


def _bias_for_half(logits: Float[Tensor, "R K"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, " K"]:
    """Find, by bisection, the bias of each branch that gives it a mean occupancy of 1/2 over the samples."""
    low, high = logits.new_full((logits.shape[1],), -50.0), logits.new_full((logits.shape[1],), 50.0)
    for _ in range(30):
        middle = (low + high) / 2
        is_low = _noisy_or(F.softplus(logits + middle), is_real).mean(dim=0) < 0.5
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return (low + high) / 2
