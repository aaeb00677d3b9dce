"""From a sample's ASVs to its features, and from two of these to a distance; a head for each target.

A head is exchangeable: the rest of the model knows only `DistanceHead`. Shape letters: see `batch.py`; C is a
second number of samples.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import _TINY, Affine, Contents, DistanceHead, _sum_by_sample
from aammodel.nn.kmers import COLUMNS, add_by_window, cut_by_window, num_windows, windows_apart
from aammodel.nn.transformer import at_least_float32, init_linear

_SPREAD = 5.0
"""Of a soft branch's logits over ASVs at the start; with 2, the same r takes three times the steps."""
_STEEP = 25.0
"""A step of Adam changes a parameter by about the learning rate, however small its gradient. So steep, some
hundred steps can make one window weigh many times another."""
_MOST = 40.0
"""Of the logarithm of a window's weight: beyond, float32 would overflow."""


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
        number = num_windows(config.sequence_length) if config.kmers else 0
        self.sizes = (config.soft_branches, number * COLUMNS)
        """Features that are soft branches, and columns of windows."""
        self.num_features = sum(self.sizes)
        self.logits = nn.Linear(config.width, config.soft_branches)
        self.branch_weight = nn.Parameter(torch.zeros(config.soft_branches))
        self.window_weight = nn.Parameter(torch.zeros(number))
        self.affine = Affine(METRICS[target].largest)
        init_linear(self.logits)

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
    def init_from_batch(self, contents: Contents, true_distance: Float[Tensor, "B B"]) -> None:
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
