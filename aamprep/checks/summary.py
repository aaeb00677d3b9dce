"""Statistics of the samples of a study for reports, collected block by block."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aamprep.arrays import Float64Array
from aamprep.arrow import list_values
from aamprep.checks.thresholds import REPORTED_TOKEN_LIMITS

_COLUMNS = ("depth_before_rarefaction", "depth", "depth_kept", "num_asvs", "num_asvs_kept")


@dataclass
class Summary:
    """Statistics per sample and per ASV. The counts themselves are not kept, so memory stays small."""

    sample_ids: list[str] = field(default_factory=list)
    prevalence: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Number of samples that have each ASV, by index in the study. It ends at the last ASV seen so far."""
    _parts: list[list[Float64Array]] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Add a block of prepared samples."""
        self.sample_ids.extend(table["sample_id"].to_pylist())
        columns = [table[name].to_numpy().astype(np.float64) for name in _COLUMNS]
        self._parts.append(columns + reads_within(table, REPORTED_TOKEN_LIMITS))
        self._count_samples_of_asvs(table)

    def _count_samples_of_asvs(self, table: pa.Table) -> None:
        asv = np.concatenate([list_values(table, "asv"), list_values(table, "dropped_asv")])
        here = np.bincount(asv, minlength=len(self.prevalence))
        here[: len(self.prevalence)] += self.prevalence
        self.prevalence = here

    def per_sample(self, column: str) -> Float64Array:
        """Return one value per sample, for a column of the shards such as `depth` or `num_asvs`."""
        return self._joined(_COLUMNS.index(column))

    @property
    def fraction_kept(self) -> Float64Array:
        """Fraction of each sample's reads that the token limit keeps."""
        return self.per_sample("depth_kept") / self.per_sample("depth")

    def fraction_within(self, limit: int) -> Float64Array:
        """Return the fraction of each sample's reads that one of `REPORTED_TOKEN_LIMITS` would keep."""
        return self._joined(len(_COLUMNS) + REPORTED_TOKEN_LIMITS.index(limit)) / self.per_sample("depth")

    def _joined(self, index: int) -> Float64Array:
        return np.concatenate([np.zeros(0), *(part[index] for part in self._parts)])


def reads_within(table: pa.Table, limits: Sequence[int]) -> list[Float64Array]:
    """Return the reads that each sample would keep at other token limits than the one it was cut at.

    Parameters
    ----------
    table : pyarrow.Table
        Prepared samples. `dropped_count` continues `count` in order of selection.
    limits : sequence of int
        Token limits to compare.

    Returns
    -------
    list of ndarray of float64, shape (samples,)
        Number of reads of each sample, one array per token limit.
    """
    offsets, dropped_offsets = _offsets(table, "count"), _offsets(table, "dropped_count")
    total, dropped_total = _running_total(table, "count"), _running_total(table, "dropped_count")
    num_kept = np.diff(offsets)
    return [
        _first(total, offsets, np.minimum(limit, num_kept))
        + _first(dropped_total, dropped_offsets, np.maximum(limit - num_kept, 0))
        for limit in limits
    ]


def _running_total(table: pa.Table, column: str) -> Float64Array:
    return np.concatenate([[0.0], np.cumsum(list_values(table, column), dtype=np.float64)])


def _first(
    total: Float64Array, offsets: npt.NDArray[np.int64], number: npt.NDArray[np.integer]
) -> Float64Array:
    """Return the sum of the first `number` counts of each sample, or of all if there are fewer."""
    return total[np.minimum(offsets[:-1] + number, offsets[1:])] - total[offsets[:-1]]


def _offsets(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    lengths = table[column].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
