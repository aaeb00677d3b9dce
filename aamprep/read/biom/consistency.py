"""Whether the two halves of a BIOM table hold the same counts, in memory that does not grow with the counts.

Every entry (sample, feature, count) is hashed to 64 bits, and the hashes are summed per sample and per
feature. The sums do not depend on the order of the entries, so both halves give the same ones; a value that
differs changes the sums of its sample and its feature, which names the cell.
"""

import numpy as np
import numpy.typing as npt

from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules

Integers = npt.NDArray[np.int64]
_Hash = npt.NDArray[np.uint64]


class Fingerprint:
    """Sums of entry hashes of a matrix, per sample and per feature."""

    def __init__(self, num_samples: int, num_features: int) -> None:
        self.sample = np.zeros(num_samples, dtype=np.uint64)
        self.feature = np.zeros(num_features, dtype=np.uint64)

    def add(self, sample: Integers, feature: Integers, count: npt.NDArray[np.float64]) -> None:
        """Take in entries; an explicit zero is no entry."""
        hashed = _hash(sample, feature, count)
        hashed[count == 0] = 0
        np.add.at(self.sample, sample, hashed)
        np.add.at(self.feature, feature, hashed)


def report_disagreement(
    by_sample: Fingerprint, by_feature: Fingerprint, sample_ids: list[str], feature_ids: list[str], where: str
) -> None:
    """Refuse a table whose halves differ.

    Raises
    ------
    RefusedError
        Names samples and features concerned.
    """
    samples = np.flatnonzero(by_sample.sample != by_feature.sample)
    features = np.flatnonzero(by_sample.feature != by_feature.feature)
    if len(samples) or len(features):
        value = f"{_some(samples, sample_ids, 'samples')}; {_some(features, feature_ids, 'features')}"
        raise RefusedError(rules.BIOM_HALVES, where, value)


def _some(positions: npt.NDArray[np.intp], ids: list[str], kind: str) -> str:
    names = ", ".join(ids[position] for position in positions[:3])
    return f"{len(positions):,} {kind}: {names}" + (" ..." if len(positions) > 3 else "")


def _hash(sample: Integers, feature: Integers, count: npt.NDArray[np.float64]) -> _Hash:
    """Mix an entry into 64 bits, as splitmix64 does (Steele, Lea, Flood 2014)."""
    bits = np.where(np.isnan(count), np.nan, count).view(np.uint64)
    mixed = _splitmix(sample.astype(np.uint64) << np.uint64(32) | feature.astype(np.uint64))
    return _splitmix(mixed ^ bits)


def _splitmix(x: _Hash) -> _Hash:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
