"""Samples rarefied anew while training: other reads of each sample at each step, and the branches of these.

A model that meets a sample many times sees another draw of its reads each time, with the true distances of
that draw. Free of torch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import InvalidDataError
from aammodel.data.hashing import hash64
from aammodel.sample import Float64Array, Sample

COLUMNS = ("asv", "count", "dropped_asv", "dropped_count")
"""What must be read of a sample."""
_TOO_MANY_READS = 10**9
"""So many numpy does not draw from."""


@dataclass(frozen=True)
class Paths:
    """The branches above each ASV, its own among them, up to the root."""

    branch: npt.NDArray[np.int64]
    """Rows of the tree table, those of one ASV after those of another."""
    indptr: npt.NDArray[np.int64]
    """Where those of each ASV begin, shape (ASVs + 1,); an ASV that the tree lacks has none."""
    num_branches: int

    def reads_under(self, asv: npt.NDArray[np.integer], count: Float64Array) -> Float64Array:
        """Count the reads under each branch, shape (branches,), of distinct ASVs with these counts."""
        sizes = self.indptr[asv + 1] - self.indptr[asv]
        # Positions in `branch` of the paths of these ASVs, one after the other.
        ends = sizes.cumsum()
        position = np.arange(sizes.sum()) + np.repeat(self.indptr[asv] - ends + sizes, sizes)
        reads = np.zeros(self.num_branches)
        np.add.at(reads, self.branch[position], np.repeat(count, sizes))
        return reads


def paths_of(parent: npt.NDArray[np.int64], asv: npt.NDArray[np.int64], num_asvs: int) -> Paths:
    """List the branches above each ASV.

    Parameters
    ----------
    parent : ndarray of int64, shape (branches,)
        Row of each branch's parent; -1 at the root.
    asv : ndarray of int64, shape (branches,)
        The ASV at each tip; -1 inside.
    num_asvs : int
    """
    tips = np.flatnonzero(asv >= 0)
    owners, branches = [], []
    owner, here = asv[tips], tips
    while len(here):
        owners.append(owner)
        branches.append(here)
        above = parent[here]
        owner, here = owner[above >= 0], above[above >= 0]
    all_owners = np.concatenate([*owners, np.zeros(0, dtype=np.int64)])
    order = np.argsort(all_owners, kind="stable")
    indptr = np.concatenate([[0], np.bincount(all_owners, minlength=num_asvs).cumsum()])
    branch = np.concatenate([*branches, np.zeros(0, dtype=np.int64)])[order]
    return Paths(branch, indptr, len(parent))


def rarefied(sample: Sample, share: float, seed: int, step: int, paths: Paths) -> Sample:
    """Draw a share of a sample's reads without replacement.

    The draw is a function of (seed, step, sample), whatever the worker or rank. Kept ASVs stay in their
    order of selection.

    Parameters
    ----------
    sample : Sample
        With whole counts.
    share : float
        Of its reads, above 0 and below 1; at least one read is drawn, of a kept ASV.
    seed, step : int
    paths : Paths

    Raises
    ------
    InvalidDataError
        If a count is not whole, or there are too many reads.
    """
    reads = np.concatenate([sample.count, sample.dropped_count])
    whole = reads.astype(np.int64)
    if (whole != reads).any():
        raise InvalidDataError(
            "its counts are not whole numbers, so that no reads can be drawn from it",
            f"sample {sample.sample_id}",
            "leave rarefy_fraction out",
        )
    if whole.sum() >= _TOO_MANY_READS:
        raise InvalidDataError(
            f"it has {whole.sum():,} reads, and draws are made from fewer than {_TOO_MANY_READS:,}",
            f"sample {sample.sample_id}",
            "leave rarefy_fraction out, or shard the table with --rarefy-depth",
        )
    rng = np.random.default_rng(hash64(seed, step, values=np.array([sample.position]))[0])
    drawn = rng.multivariate_hypergeometric(whole, max(1, int(share * whole.sum())), method="marginals")
    kept, dropped = drawn[: len(sample.asv)], drawn[len(sample.asv) :]
    if not kept.any():
        kept[0] = 1
    asv, count, is_dropped = sample.asv[kept > 0], kept[kept > 0].astype(float), dropped > 0
    all_asvs = np.concatenate([asv, sample.dropped_asv[is_dropped]]).astype(np.int64)
    all_counts = np.concatenate([count, dropped[is_dropped].astype(float)])
    under = paths.reads_under(all_asvs, all_counts)
    branch = np.flatnonzero(under)
    return Sample(
        sample_id=sample.sample_id,
        asv=asv,
        count=count,
        dropped_asv=sample.dropped_asv[is_dropped],
        dropped_count=dropped[is_dropped].astype(float),
        branch=branch.astype(np.uint32),
        branch_count=under[branch],
        position=sample.position,
    )
