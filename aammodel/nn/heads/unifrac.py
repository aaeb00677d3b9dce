"""Distance heads with the form of UniFrac: learned soft branches and k-mers take the role of tree branches.

For the shape letters, see `batch.py`. K counts both soft branches and columns of k-mers.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import EPSILON, Affine, Contents, DistanceHead, sum_by_sample
from aammodel.nn.kmers import COLUMNS, kmer_distances, num_kmers, split_by_kmer, sum_by_column
from aammodel.nn.transformer import at_least_float32, init_linear

_LOGIT_SPREAD = 5.0
"""Initial standard deviation of a soft branch's logits over ASVs. It is the best of seven values between 1
and 10 (`docs/experiments.md`). With 2, the same correlation takes three times as many steps."""
_KMER_GAIN = 25.0
"""Factor between `window_weight` and the logarithm of a k-mer's weight. A step of Adam changes a parameter by
about the learning rate, however small its gradient. With this factor, a few hundred steps can make one k-mer
position weigh many times another. With 10, distances in unseen clades were a little worse."""
_MAX_LOG_WEIGHT = 40.0
"""Largest logarithm of a k-mer's weight. exp(40) is about 2e17, and float32 overflows at exp(88). This leaves
room for sums over samples and columns, and for squares of distances."""


class SoftBranchHead(DistanceHead):
    """Predict a distance of the form of unweighted UniFrac.

    Unweighted UniFrac (Lozupone & Knight, "UniFrac: a new phylogenetic method for comparing microbial
    communities", AEM 2005) is a weighted Jaccard distance over the branches of a tree: a sample has a branch
    if any of its ASVs lies below it. Here a network decides which ASVs belong to which soft branch. The
    occupancy of branch k is a noisy-or (Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988) over
    the ASVs of a sample:

        a_k = 1 - exp(-sum over ASVs of softplus(logit_k))

    The distance of two samples is sum_k w_k |a_k - b_k| / sum_k w_k max(a_k, b_k), followed by a learned
    affine map. All of these are sums over a set, so neither order nor padding has an effect.

    K-mers (`kmers.py`) are features beside the soft branches. A sample has a k-mer if any of its ASVs has it.
    This shows similarities between ASVs of clades that were not in the training samples. Only a weight for
    each position is learned, the same for all k-mers at that position.

    Parameters
    ----------
    config : ModelConfig
    target : str
        Name of the metric to learn.
    """

    def __init__(self, config: ModelConfig, target: str) -> None:
        super().__init__()
        number = num_kmers(config.sequence_length) if config.kmers else 0
        self.sizes = (config.soft_branches, number * COLUMNS)
        """Number of soft branches, and number of columns of k-mers."""
        self.num_features = sum(self.sizes)
        self.logits = nn.Linear(config.width, config.soft_branches)
        self.branch_weight = nn.Parameter(torch.zeros(config.soft_branches))
        # The name is stored in model files, from when k-mers were called windows.
        self.window_weight = nn.Parameter(torch.zeros(number))
        self.affine = Affine(METRICS[target].largest)
        init_linear(self.logits)

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Return how much of each soft branch and k-mer column a sample has.

        Returns
        -------
        Tensor, shape (B, K)
            Between 0 and 1, and 0 for a sample without ASVs.
        """
        is_real = contents.is_real
        soft = self._pool_logits(self.logits(contents.features[is_real]), contents)
        amount, sample = self._asv_amounts(contents, soft.dtype), is_real.nonzero()[:, 0]
        by_kmer = sum_by_column(contents.kmers, amount, sample, (len(soft), self.sizes[1]))
        # Several ASVs with the same k-mer count once.
        return torch.cat([soft, by_kmer.clamp_max(1.0)], dim=1)

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Return the weighted Jaccard distance of features, scaled."""
        return self.affine(self._compare(a, b))

    def _pool_logits(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, "B K"]:
        """Return the noisy-or over each sample's ASVs."""
        evidence = F.softplus(at_least_float32(logits))
        # expm1 keeps the digits of small occupancies.
        return -torch.expm1(-sum_by_sample(evidence, contents.is_real))

    def _asv_amounts(self, contents: Contents, dtype: torch.dtype) -> Float[Tensor, " R"]:
        """Return how much each ASV adds to the columns of its k-mers. With presence, one ASV is enough."""
        return torch.ones_like(contents.count[contents.is_real], dtype=dtype)

    def _compare(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Return the weighted Jaccard distance, before scaling."""
        difference = self._difference(a, b)
        # max(x, y) = (x + y + |x - y|) / 2 avoids a tensor of shape (B, C, K).
        union = (self._total(a)[:, None] + self._total(b) + difference) / 2
        return difference / union.clamp_min(EPSILON)

    def _difference(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Return the weighted sum of |a - b| over soft branches and k-mers."""
        (soft_a, kmers_a), (soft_b, kmers_b) = (features.split(self.sizes, dim=1) for features in (a, b))
        weight = F.softplus(self.branch_weight)
        by_kmer = kmer_distances(kmers_a, kmers_b) * self._kmer_weight()[:, None, None]
        return torch.cdist(soft_a * weight, soft_b * weight, p=1) + by_kmer.sum(dim=0)

    def _total(self, a: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
        """Return the weighted sum of each sample's soft branches and k-mers."""
        soft, kmers = a.split(self.sizes, dim=1)
        by_kmer = split_by_kmer(kmers).sum(dim=2) * self._kmer_weight()[:, None]
        return (soft * F.softplus(self.branch_weight)).sum(dim=1) + by_kmer.sum(dim=0)

    def _kmer_weight(self) -> Float[Tensor, " P"]:
        """Return the weight of the k-mers at each position."""
        return (_KMER_GAIN * self.window_weight).clamp(-_MAX_LOG_WEIGHT, _MAX_LOG_WEIGHT).exp()

    @torch.no_grad()
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
        """Set initial weights from a first batch.

        Each logit is scaled to a fixed spread over the ASVs of the batch. Without this, all ASVs are nearly
        alike at first, and the model learns slowly. Biases are set for a mean occupancy of 1/2, so that
        no branch covers all samples or none. The k-mers get the same total weight as the soft branches. The
        affine map is fitted to the true distances.
        """
        rows = contents.features[contents.is_real]
        raw = rows @ self.logits.weight.T
        factor = _LOGIT_SPREAD / raw.std(dim=0, correction=0).clamp_min(EPSILON)
        self.logits.weight.mul_(factor[:, None])
        self.logits.bias.copy_(self._bias_for_half(raw * factor, contents))
        features = self.pool(contents)
        soft, by_kmer = features.split(self.sizes, dim=1)
        ratio = (soft @ F.softplus(self.branch_weight)).sum() / by_kmer.sum()
        # The ratio is invalid if there are no k-mers, or no ASVs.
        if ratio.isfinite() and ratio > 0:
            self.window_weight.fill_(ratio.log() / _KMER_GAIN)
        self.affine.fit(self._compare(features, features), true_distance)

    def _bias_for_half(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, " K"]:
        """Find, by bisection, the bias that gives each branch a mean of 1/2 over the samples."""
        low = logits.new_full((logits.shape[1],), -50.0)
        high = -low
        # 30 halvings of 100 give a precision of 1e-7, that of float32.
        for _ in range(30):
            middle = (low + high) / 2
            is_low = self._pool_logits(logits + middle, contents).mean(dim=0) < 0.5
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        return (low + high) / 2


class SoftAbundanceHead(SoftBranchHead):
    """Predict a distance of the form of normalized weighted UniFrac.

    Weighted UniFrac (Lozupone et al., "Quantitative and qualitative beta diversity measures lead to different
    insights into factors that structure microbial communities", AEM 2007) compares which fraction of a
    sample's reads lies below each branch. Here an ASV belongs to soft branch k with sigmoid(logit_k). The
    fraction a_k of a branch is the sum of that over the ASVs of a sample, weighted by their fractions of its
    reads. The distance is sum_k w_k |a_k - b_k| / sum_k w_k (a_k + b_k), followed by a learned affine map.
    K-mers are treated in the same way.
    """

    def _pool_logits(self, logits: Float[Tensor, "R K"], contents: Contents) -> Float[Tensor, "B K"]:
        membership = torch.sigmoid(at_least_float32(logits))
        fraction = self._asv_amounts(contents, membership.dtype)
        return sum_by_sample(membership * fraction[:, None], contents.is_real)

    def _asv_amounts(self, contents: Contents, dtype: torch.dtype) -> Float[Tensor, " R"]:
        """Return the fraction of its sample's reads that each ASV has."""
        count = torch.where(contents.is_real, contents.count, 0.0).to(dtype)
        fraction = count / count.sum(dim=1, keepdim=True).clamp_min(EPSILON)
        return fraction[contents.is_real]

    def _compare(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "B C"]:
        """Return the weighted Bray-Curtis distance, before scaling."""
        largest = self._total(a)[:, None] + self._total(b)
        return self._difference(a, b) / largest.clamp_min(EPSILON)
