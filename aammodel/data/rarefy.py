"""Rarefy samples anew at each training step: other reads of each sample, and the branches that these cover.

A model that sees a sample many times sees another draw of its reads each time, with the true distances of
that draw. This module does not import torch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aam_schemas.common.counts import rounded_counts
from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import short_number
from aam_schemas.shards import TREE_FILE
from aammodel.data.hashing import hash64
from aammodel.sample import Float64Array, Int64Array, Sample, UInt32Array

RAREFY_COLUMNS: tuple[str, ...] = ("dropped_asv", "dropped_count")
"""Columns to read of a sample that is rarefied, beside `asv` and `count`."""
_MOST_STEPS = 1 << 25
_MOST_STEPS_PER_ASV = 128
"""Largest number of branches of all paths together, or for each ASV, whichever is more. Each takes up to
24 bytes while the paths are made."""
_TOO_MANY_READS = 10**9
"""Numpy's `multivariate_hypergeometric` accepts fewer reads than this."""


@dataclass(frozen=True)
class RootPaths:
    """The branches on the path from each ASV's tip to the root, in compressed sparse rows."""

    branch: UInt32Array
    """Rows in tree.parquet, ASV after ASV."""
    indptr: Int64Array
    """Start of each ASV's path in `branch`, shape (ASVs + 1,). ASVs not in the tree have no path."""
    num_branches: int

    def reads_under(self, asv: npt.NDArray[np.integer], count: Float64Array) -> Float64Array:
        """Return the number of reads below each branch, shape (branches,), of distinct ASVs with counts."""
        sizes = self.indptr[asv + 1] - self.indptr[asv]
        # Indices in `branch` of the paths of these ASVs, path after path.
        ends = sizes.cumsum()
        index = np.arange(sizes.sum()) + np.repeat(self.indptr[asv] - ends + sizes, sizes)
        reads = np.zeros(self.num_branches)
        np.add.at(reads, self.branch[index], np.repeat(count, sizes))
        return reads


def find_root_paths(parent: Int64Array, asv: Int64Array, num_asvs: int) -> RootPaths:
    """Return the path from each ASV's tip to the root.

    Parameters
    ----------
    parent : ndarray of int64, shape (branches,)
        Row of each branch's parent, which comes before it; -1 at the root.
    asv : ndarray of int64, shape (branches,)
        Row of the ASV at each tip; -1 at inner branches.
    num_asvs : int

    Raises
    ------
    InvalidDataError
        If the paths have far more branches than those of a real tree, as in a single long ladder.
    """
    tips = np.flatnonzero(asv >= 0)
    owners, branches = [np.zeros(0, dtype=np.uint32)], [np.zeros(0, dtype=np.uint32)]
    # All paths climb one branch per round. Those that reach the root drop out.
    owner, branch, total = asv[tips], tips, 0
    most = max(_MOST_STEPS, _MOST_STEPS_PER_ASV * len(tips))
    while len(branch):
        total += len(branch)
        if total > most:
            raise InvalidDataError(
                f"the paths from the ASVs to the root have more than {most:,} branches in all",
                TREE_FILE,
                "leave rarefy_fraction out, or shard the table with a tree that is less deep",
            )
        owners.append(owner.astype(np.uint32))
        branches.append(branch.astype(np.uint32))
        above = parent[branch]
        owner, branch = owner[above >= 0], above[above >= 0]
    all_owners = np.concatenate(owners)
    by_owner = np.argsort(all_owners, kind="stable")
    indptr = np.concatenate([[0], np.bincount(all_owners, minlength=num_asvs).cumsum()])
    return RootPaths(np.concatenate(branches)[by_owner], indptr, len(parent))


def rarefy_sample(sample: Sample, fraction: float, seed: int, step: int, paths: RootPaths) -> Sample:
    """Draw a fraction of a sample's reads without replacement.

    The draw is a function of (seed, step, sample), whatever the worker or rank. Kept ASVs stay in the order
    of selection.

    Parameters
    ----------
    sample : Sample
        With counts that are whole up to rounding.
    fraction : float
        Fraction of its reads, above 0 and below 1. At least one read of a kept ASV is drawn.
    seed, step : int
    paths : RootPaths

    Raises
    ------
    InvalidDataError
        If a count is not whole, or there are too many reads.
    """
    whole = _whole_counts(sample)
    rng = np.random.default_rng(hash64(seed, step, values=np.array([sample.position]))[0])
    drawn = rng.multivariate_hypergeometric(whole, max(1, int(fraction * whole.sum())), method="marginals")
    kept, dropped = drawn[: len(sample.asv)], drawn[len(sample.asv) :]
    if not kept.any():
        kept[0] = 1
    asv, count, is_dropped = sample.asv[kept > 0], kept[kept > 0].astype(float), dropped > 0
    dropped_asv, dropped_count = sample.dropped_asv[is_dropped], dropped[is_dropped].astype(float)
    all_asvs = np.concatenate([asv, dropped_asv]).astype(np.int64)
    under = paths.reads_under(all_asvs, np.concatenate([count, dropped_count]))
    branch = np.flatnonzero(under)
    return Sample(
        sample_id=sample.sample_id,
        asv=asv,
        count=count,
        dropped_asv=dropped_asv,
        dropped_count=dropped_count,
        branch=branch.astype(np.uint32),
        branch_count=under[branch],
        position=sample.position,
    )


def _whole_counts(sample: Sample) -> Int64Array:
    counts = np.concatenate([sample.count, sample.dropped_count])
    rounded, is_whole = rounded_counts(counts)
    whole = rounded.astype(np.int64)
    if not is_whole.all():
        raise InvalidDataError(
            f"a count is {short_number(counts[~is_whole][0])}, and only whole counts can be rarefied",
            f"sample {sample.sample_id}",
            "leave rarefy_fraction out",
        )
    if whole.sum() >= _TOO_MANY_READS:
        raise InvalidDataError(
            f"it has {whole.sum():,} reads, and rarefaction takes fewer than {_TOO_MANY_READS:,}",
            f"sample {sample.sample_id}",
            "leave rarefy_fraction out, or shard the table with --rarefy-depth",
        )
    return whole
