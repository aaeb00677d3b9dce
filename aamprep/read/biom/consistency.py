"""Whether the two halves of a BIOM table hold the same counts, in memory that does not grow with the counts.

Every entry (sample, feature, count) is hashed to 64 bits, and the hashes are summed per sample and per
feature. The sums do not depend on the order of the entries, so both halves give the same ones; a value that
differs changes the sums of its sample and its feature, which names the cell.
"""

import numpy as np
import numpy.typing as npt

from aam_schemas.common.hashing import splitmix64_in_place
from aam_schemas.common.text import truncate_list
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
    return f"{len(positions):,} {kind}: {truncate_list(ids[position] for position in positions)}"


def _hash(sample: Integers, feature: Integers, count: npt.NDArray[np.float64]) -> _Hash:
    """Mix an entry into 64 bits."""
    mixed = sample.astype(np.uint64) << np.uint64(32) | feature.astype(np.uint64)
    splitmix64_in_place(mixed)
    # NaN has many bit patterns, which all count as one value.
    mixed ^= np.where(np.isnan(count), np.nan, count).view(np.uint64)
    splitmix64_in_place(mixed)
    return mixed
