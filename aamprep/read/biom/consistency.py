"""Check that the two matrices of a BIOM table (by sample and by feature) hold the same counts.

Every entry (sample, feature, count) is hashed to 64 bits, and the hashes are summed per sample and per
feature. The sums do not depend on the order of the entries, so equal matrices have equal sums. A different
count changes the sums of its sample and its feature, which locates it. The memory does not grow with the
number of entries.
"""

import numpy as np
import numpy.typing as npt

from aam_schemas.common.hashing import splitmix64_in_place
from aam_schemas.common.text import truncate_list
from aamprep.arrays import Int64Array
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules

_Hash = npt.NDArray[np.uint64]


class Fingerprint:
    """Sums of the hashes of the entries of a matrix, per sample and per feature."""

    def __init__(self, num_samples: int, num_features: int) -> None:
        self.sample = np.zeros(num_samples, dtype=np.uint64)
        self.feature = np.zeros(num_features, dtype=np.uint64)

    def add(self, sample: Int64Array, feature: Int64Array, count: npt.NDArray[np.float64]) -> None:
        """Add entries. Explicit zeros are ignored, since they do not change the table."""
        hashed = _hash(sample, feature, count)
        hashed[count == 0] = 0
        # The sums wrap around at 2^64, which is the same in any order.
        np.add.at(self.sample, sample, hashed)
        np.add.at(self.feature, feature, hashed)


def refuse_disagreement(
    by_sample: Fingerprint, by_feature: Fingerprint, sample_ids: list[str], feature_ids: list[str], where: str
) -> None:
    """Compare the fingerprints of the two matrices of a table.

    Raises
    ------
    RefusedError
        If they differ, with the affected samples and features.
    """
    samples = np.flatnonzero(by_sample.sample != by_feature.sample)
    features = np.flatnonzero(by_sample.feature != by_feature.feature)
    if len(samples) or len(features):
        affected_samples = _name_affected(samples, sample_ids, "samples")
        affected_features = _name_affected(features, feature_ids, "features")
        raise RefusedError(rules.BIOM_HALVES, where, f"{affected_samples}; {affected_features}")


def _name_affected(indices: npt.NDArray[np.intp], ids: list[str], kind: str) -> str:
    return f"{len(indices):,} {kind}: {truncate_list(ids[index] for index in indices)}"


def _hash(sample: Int64Array, feature: Int64Array, count: npt.NDArray[np.float64]) -> _Hash:
    """Return a 64-bit hash of each entry."""
    mixed = sample.astype(np.uint64) << np.uint64(32) | feature.astype(np.uint64)
    splitmix64_in_place(mixed)
    # NaN has many bit patterns, which must all have the same hash.
    mixed ^= np.where(np.isnan(count), np.nan, count).view(np.uint64)
    splitmix64_in_place(mixed)
    return mixed
