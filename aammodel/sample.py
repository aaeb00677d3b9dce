"""One sample in memory, as every stage from reading to distances passes it on."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

UInt32Array = npt.NDArray[np.uint32]


def _no_numbers() -> UInt32Array:
    return np.zeros(0, dtype=np.uint32)


def _no_reads() -> Float64Array:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it lies in the shards; columns that nobody asked for are empty."""

    sample_id: str
    asv: UInt32Array
    """Rows in asvs.parquet, in order of selection."""
    count: Float64Array
    dropped_asv: UInt32Array = field(default_factory=_no_numbers)
    """ASVs beyond the shards' token limit."""
    dropped_count: Float64Array = field(default_factory=_no_reads)
    branch: UInt32Array = field(default_factory=_no_numbers)
    """Rows in tree.parquet of the branches that it covers, the root among them; empty without a tree."""
    branch_count: Float64Array = field(default_factory=_no_reads)
    """Reads under each of them."""
    position: int = -1
    """Its row in distances.npy: its place among all samples of the set."""
