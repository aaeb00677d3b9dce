"""`Sample`, one sample in memory. Readers return it, and rarefaction, distances and collation take it."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
UInt32Array = npt.NDArray[np.uint32]


def no_rows() -> UInt32Array:
    """Return an empty array of row numbers."""
    return np.zeros(0, dtype=np.uint32)


def no_values() -> Float64Array:
    """Return an empty array of float64."""
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, as stored in the shards. Columns that were not read are empty."""

    sample_id: str
    asv: UInt32Array
    """Rows of its ASVs in asvs.parquet, in the order of selection."""
    count: Float64Array
    """Number of reads of each of these ASVs."""
    dropped_asv: UInt32Array = field(default_factory=no_rows)
    """Rows of the ASVs that the token limit of the shards left out."""
    dropped_count: Float64Array = field(default_factory=no_values)
    """Number of reads of each dropped ASV."""
    branch: UInt32Array = field(default_factory=no_rows)
    """Rows in tree.parquet of the branches that the sample covers, with the root. Empty without a tree."""
    branch_count: Float64Array = field(default_factory=no_values)
    """Reads below each of these branches."""
    position: int = -1
    """Index of the sample among all samples of the shard set: its row in distances.npy."""
