"""One sample in memory, as every stage from reading to distances passes it on."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Numbers = npt.NDArray[np.uint32]


def _no_numbers() -> Numbers:
    return np.zeros(0, dtype=np.uint32)


def _no_reads() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it lies in the shards; columns that nobody asked for are empty."""

    sample_id: str
    asv: Numbers
    """Rows in asvs.parquet, in order of selection."""
    count: Floats
    dropped_asv: Numbers = field(default_factory=_no_numbers)
    """ASVs beyond the shards' token limit."""
    dropped_count: Floats = field(default_factory=_no_reads)
    branch: Numbers = field(default_factory=_no_numbers)
    """Rows in tree.parquet of the branches that it covers, the root among them; empty without a tree."""
    branch_count: Floats = field(default_factory=_no_reads)
    """Reads under each of them."""
    position: int = -1
    """Its row in distances.npy: its place among all samples of the set."""
