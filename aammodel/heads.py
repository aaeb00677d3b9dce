"""From a sample's ASVs to a sample embedding, and from two of these to a distance; a head for each target.

A head is exchangeable: the rest of the model knows only `DistanceHead`. Shape letters: see `batch.py`; C is a
second number of samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.config import ModelConfig
from aammodel.distance import METRICS
from aammodel.pooling import AttentionPooling, at_least_float32
from aammodel.transformer import Transformer, start_linear
from aammodel.windows import COLUMNS, add_by_window, cut_by_window, num_windows, windows_apart

_SPREAD = 5.0
"""Of a soft branch's logits over ASVs at the start; with 2, the same r takes three times the steps."""
_STEEP = 25.0
"""A step of Adam changes a parameter by about the learning rate, however small its gradient. So steep, some
hundred steps can make one window weigh many times another."""
_MOST = 40.0
"""Of the logarithm of a window's weight: beyond, float32 would overflow."""
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
    """Numbers of a sample embedding, K."""
    spread: Tensor
    """Standard deviation of the first batch's true distances: the unit in which errors count, so that metrics
    of any range are learned alike."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Make one embedding of each sample; finite for one that has no ASV."""

    @abstractmethod
    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Predict the distance of each sample of `a` to each of `b`."""

    @abstractmethod
    def start_from(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
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


class SoftBranchHead(DistanceHead):
    """UniFrac by construction: each ASV covers soft branches, a sample has a branch if any of its ASVs has.

    Unweighted UniFrac is a weighted Jaccard distance over the branches of a tree. Here the occupancy of
    branch k is a noisy-or, `a_k = 1 - exp(-sum over ASVs of softplus(logit_k))`, and two samples differ by
    `sum_k w_k |a_k - b_k| / sum_k w_k max(a_k, b_k)`, then a learned affine map. A sum over a set: order and
    padding cannot matter.

    Beside the learned branches stand windows of bases (`windows.py`), which a sample has if any of its ASVs
    has: they say what ASVs have in common that training never saw. All that is learned of them is a weight
    for each window, whatever its content.

    Parameters
    ----------
    config : ModelConfig
    target : str
        The metric that it learns.
    """

    def __init__(self, config: ModelConfig, target: str) -> None:
        super().__init__()
        number = num_windows(config.sequence_length) if config.windows else 0
        self.sizes = (config.soft_branches, number * COLUMNS)
        """Features that are soft branches, and columns of windows."""
        self.num_features = sum(self.sizes)
        self.logits = nn.Linear(config.width, config.soft_branches)
        self.branch_weight = nn.Parameter(torch.zeros(config.soft_branches))
        self.window_weight = nn.Parameter(torch.zeros(number))
        self.affine = Affine(METRICS[target].largest)
        start_linear(self.logits)

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Give how much of each soft branch and window a sample has, 0 to 1; 0 for one without an ASV."""
        is_real = contents.is_real
        soft = self._pool_logits(self.logits(contents.features[is_real]), contents)
        amount, sample = self._amounts(contents, soft.dtype), is_real.nonzero()[:, 0]
        by_window = add_by_window(contents.windows, amount, sample, (len(soft), self.sizes[1]))
        return torch.cat([soft, by_window.clamp_max(1.0)], dim=1)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare what two samples have, then scale."""
        return self.affine(self._compare(a, b))

    def _pool_logits(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, "B K"]:
        """Make a noisy-or of the evidence of each sample's ASVs."""
        evidence = F.softplus(at_least_float32(logits))
        return -torch.expm1(-_sum_by_sample(evidence, contents.is_real))

    def _amounts(self, contents: Contents, dtype: torch.dtype) -> Float[Tensor, " R"]:
        """Give what each ASV adds to the windows that it has: one is enough to have a window."""
        return torch.ones_like(contents.count[contents.is_real], dtype=dtype)

    def _compare(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare by a weighted Jaccard distance."""
        apart = self._apart(a, b)
        # max(x, y) = (x + y + |x - y|) / 2, so that no B x C x K tensor is needed.
        together = (self._total(a)[:, None] + self._total(b) + apart) / 2
        return apart / together.clamp_min(_TINY)

    def _apart(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Give by how much two samples differ, each branch and window by its weight."""
        (soft_a, windows_a), (soft_b, windows_b) = (one.split(self.sizes, dim=1) for one in (a, b))
        weight = F.softplus(self.branch_weight)
        by_window = windows_apart(windows_a, windows_b) * self._weight_of_windows()[:, None, None]
        return torch.cdist(soft_a * weight, soft_b * weight, p=1) + by_window.sum(dim=0)

    def _total(self, a: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Give how much a sample has, each branch and window by its weight."""
        soft, windows = a.split(self.sizes, dim=1)
        by_window = cut_by_window(windows).sum(dim=2) * self._weight_of_windows()[:, None]
        return (soft * F.softplus(self.branch_weight)).sum(dim=1) + by_window.sum(dim=0)

    def _weight_of_windows(self) -> Float[Tensor, " P"]:
        return (_STEEP * self.window_weight).clamp(-_MOST, _MOST).exp()

    @torch.no_grad()
    def start_from(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Spread each logit over the batch's ASVs, set its bias for a mean occupancy of 1/2, fit the affine.

        Without it all ASVs start nearly alike, and a transformer learns slowly from there. All windows
        together start as heavy as all soft branches together.
        """
        rows = contents.features[contents.is_real]
        raw = rows @ self.logits.weight.T
        factor = _SPREAD / raw.std(dim=0, correction=0).clamp_min(_TINY)
        self.logits.weight.mul_(factor[:, None])
        self.logits.bias.copy_(self._bias_for_half(raw * factor, contents))
        embedding = self.pool(contents)
        soft, by_window = embedding.split(self.sizes, dim=1)
        ratio = (soft @ F.softplus(self.branch_weight)).sum() / by_window.sum()
        if ratio.isfinite() and ratio > 0:
            self.window_weight.fill_(ratio.log() / _STEEP)
        self.affine.fit(self._compare(embedding, embedding), true_distance)

    def _bias_for_half(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, " K"]:
        """Find, by bisection, the bias of each branch that gives it a mean of 1/2 over the samples."""
        low = logits.new_full((logits.shape[1],), -50.0)
        high = -low
        for _ in range(30):
            middle = (low + high) / 2
            is_low = self._pool_logits(logits + middle, contents).mean(dim=0) < 0.5
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        return (low + high) / 2


class SoftAbundanceHead(SoftBranchHead):
    """Weighted UniFrac by construction: how much of a sample's reads each soft branch carries.

    An ASV belongs to branch k by `sigmoid(logit_k)`, a sample's share of a branch is the sum of that over its
    ASVs times their shares of its reads, and two samples differ by
    `sum_k w_k |a_k - b_k| / sum_k w_k (a_k + b_k)`, then a learned affine map. So it is for windows.
    """

    def _pool_logits(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, "B K"]:
        belongs = torch.sigmoid(at_least_float32(logits))
        share = self._amounts(contents, belongs.dtype)
        return _sum_by_sample(belongs * share[:, None], contents.is_real)

    def _amounts(self, contents: Contents, dtype: torch.dtype) -> Float[Tensor, " R"]:
        """Give the share of its sample's reads that each ASV has."""
        count = torch.where(contents.is_real, contents.count, 0.0).to(dtype)
        share = count / count.sum(dim=1, keepdim=True).clamp_min(_TINY)
        return share[contents.is_real]

    def _compare(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare by a weighted Bray-Curtis distance."""
        most = self._total(a)[:, None] + self._total(b)
        return self._apart(a, b) / most.clamp_min(_TINY)


class EuclideanHead(DistanceHead):
    """Attention pooling over a sample's ASVs, and the Euclidean distance.

    Parameters
    ----------
    config : ModelConfig
        With `head_layers`, a transformer over the ASVs comes first, as published checkpoints have it; with
        the head "tanh-euclidean", distances go through their tanh(distance / 10).
    target : str
        The metric that it learns.
    """

    def __init__(self, config: ModelConfig, target: str) -> None:
        super().__init__()
        self.num_features = config.width
        self.transformer = Transformer(config, config.head_layers, branch_scale=0.0)
        self.pooling = AttentionPooling(config.width)
        self.affine = None if config.head == "tanh-euclidean" else Affine(METRICS[target].largest)

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Pool the ASVs of each sample; K is D. Their counts are in the features."""
        is_real = contents.is_real
        return self.pooling(self.transformer(contents.features, is_real), is_real)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Compare embeddings by their Euclidean distance, then scale."""
        apart = self._euclidean(a, b)
        return torch.tanh(apart / 10) if self.affine is None else self.affine(apart)

    def _euclidean(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        # Not by a matrix product, which loses small distances to cancellation. Equal rows have gradient 0.
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

    @torch.no_grad()
    def start_from(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Fit the affine map, if there is one."""
        if self.affine is not None:
            embedding = self.pool(contents)
            self.affine.fit(self._euclidean(embedding, embedding), true_distance)


def distance_head(config: ModelConfig, target: str) -> DistanceHead:
    """Make the head of one target, of the kind that a configuration names."""
    if config.head != "soft-branch":
        return EuclideanHead(config, target)
    return (SoftBranchHead if METRICS[target].by_presence else SoftAbundanceHead)(config, target)


def _sum_by_sample(values: Float[Tensor, "R K"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B K"]:
    """Add up the values of all real slots, which stand one sample after the other."""
    by_sample = values.split(is_real.sum(dim=1).tolist())
    return torch.stack([one.sum(dim=0) for one in by_sample])


def spread(distance: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Give the standard deviation of the distances of pairs; 1 where there are none, or all are alike."""
    known = distance[distance.isfinite().triu(diagonal=1)]
    deviation = known.double().std(correction=0) if len(known) else known.new_zeros(())
    return torch.where(deviation > _TINY, deviation, 1.0)
