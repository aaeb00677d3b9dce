"""True distances of samples, from what their shards hold: exact for any pair, with no N x N matrix.

Every metric sees the whole sample, the ASVs that the token limit dropped included. Free of torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aammodel.distinct import distinct_of

Distances = npt.NDArray[np.float64]
"""Shape (B, B), symmetric; NaN for pairs with a sample of which nothing is in the tree."""


_NO_BRANCH, _NO_COUNT = np.zeros(0, dtype=np.uint32), np.zeros(0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it lies in the shards; columns that nobody asked for are empty."""

    sample_id: str
    asv: npt.NDArray[np.uint32]
    """Rows in asvs.parquet, in order of selection."""
    count: npt.NDArray[np.float64]
    branch: npt.NDArray[np.uint32] = field(default_factory=lambda: _NO_BRANCH)
    """Rows in tree.parquet of the branches that it covers; empty without a tree."""
    branch_count: npt.NDArray[np.float64] = field(default_factory=lambda: _NO_COUNT)
    """Reads under each of them."""


def unweighted_unifrac(
    branches: Sequence[npt.NDArray[np.integer]], branch_length: npt.NDArray[np.float64]
) -> Distances:
    """Compute the unweighted UniFrac distance of all pairs of samples (Lozupone and Knight 2005).

    The share of the branch length that two samples cover together which only one of them covers.

    Parameters
    ----------
    branches : sequence of ndarray of int, one per sample
        Branches that each sample covers, as rows of the tree table.
    branch_length : ndarray of float64, shape (branches of the tree,)

    Returns
    -------
    ndarray of float64, shape (B, B)
        NaN for pairs with a sample that covers no branch: no read of it is in the tree.
    """
    sizes = [len(one) for one in branches]
    row = np.repeat(np.arange(len(branches)), sizes)
    distinct, column = distinct_of(np.concatenate(branches, dtype=np.int64), len(branch_length))
    covers = np.zeros((len(branches), len(distinct)))
    covers[row, column] = 1.0
    shared = (covers * branch_length[distinct]) @ covers.T
    covered = np.diag(shared)
    either = covered[:, None] + covered[None, :] - shared
    # Two samples that cover branches of length 0 alone are not apart.
    distance = np.where(either > 0, 1.0 - shared / np.where(either > 0, either, 1.0), 0.0)
    return _known(distance, np.array(sizes) == 0)


def weighted_unifrac(
    branches: Sequence[npt.NDArray[np.integer]],
    branch_counts: Sequence[npt.NDArray[np.float64]],
    branch_length: npt.NDArray[np.float64],
    normalized: bool,
) -> Distances:
    """Compute the weighted UniFrac distance of all pairs of samples (Lozupone et al. 2007).

    The sum over branches of their length times the difference of the shares of reads under them; normalised,
    divided by the largest that it could be.

    Parameters
    ----------
    branches : sequence of ndarray of int, one per sample
        Branches that each sample covers, as rows of the tree table, the root's among them.
    branch_counts : sequence of ndarray of float64, one per sample
        Reads under each of them.
    branch_length : ndarray of float64, shape (branches of the tree,)
    normalized : bool

    Returns
    -------
    ndarray of float64, shape (B, B)
        NaN for pairs with a sample no read of which is in the tree.
    """
    sizes = [len(one) for one in branches]
    row = np.repeat(np.arange(len(branches)), sizes)
    distinct, column = distinct_of(np.concatenate(branches, dtype=np.int64), len(branch_length))
    reads = np.zeros((len(branches), len(distinct)))
    reads[row, column] = np.concatenate(branch_counts)
    depth = reads.max(axis=1, initial=0.0)
    share = reads / np.where(depth > 0, depth, 1.0)[:, None] * branch_length[distinct]
    apart = np.stack([np.abs(share - one).sum(axis=1) for one in share])
    if normalized:
        height = share.sum(axis=1)
        most = height[:, None] + height
        apart = np.where(most > 0, apart / np.where(most > 0, most, 1.0), 0.0)
    return _known(apart, depth == 0)


@dataclass(frozen=True)
class Metric:
    """A distance that a model can learn."""

    words: str
    """What people call it."""
    columns: tuple[str, ...]
    """What it reads of a sample, beside its kept ASVs."""
    largest: float
    """The largest that it can be: 1, or infinity."""
    by_presence: bool
    """Whether it knows presence alone, and not abundance."""
    compute: Callable[[Sequence[Sample], npt.NDArray[np.float64]], Distances]
    """From samples and branch lengths to the distances of all pairs."""


def _unweighted(samples: Sequence[Sample], branch_length: npt.NDArray[np.float64]) -> Distances:
    return unweighted_unifrac([one.branch for one in samples], branch_length)


def _weighted(
    normalized: bool,
) -> Callable[[Sequence[Sample], npt.NDArray[np.float64]], Distances]:
    def compute(samples: Sequence[Sample], branch_length: npt.NDArray[np.float64]) -> Distances:
        branches, counts = [one.branch for one in samples], [one.branch_count for one in samples]
        return weighted_unifrac(branches, counts, branch_length, normalized)

    return compute


_COVERED = ("branch", "branch_count")

METRICS = {
    "unweighted_unifrac": Metric("unweighted UniFrac", ("branch",), 1.0, True, _unweighted),
    "weighted_unifrac": Metric("weighted UniFrac", _COVERED, math.inf, False, _weighted(normalized=False)),
    "weighted_normalized_unifrac": Metric(
        "normalised weighted UniFrac", _COVERED, 1.0, False, _weighted(normalized=True)
    ),
}
"""By the names that QIIME 2 and scikit-bio have for them."""


def _known(distance: Distances, is_empty: npt.NDArray[np.bool_]) -> Distances:
    """Put NaN where a sample has nothing to compare, and an exact 0 on the rest of the diagonal."""
    distance[is_empty, :] = distance[:, is_empty] = np.nan
    np.fill_diagonal(distance, np.where(is_empty, np.nan, 0.0))
    return distance
