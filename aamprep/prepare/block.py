"""Blocks of samples in sparse form. Tables are prepared block by block, so memory stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from aamprep.arrays import BoolArray, Int64Array, forget_pages
from aamprep.read.maxima import LARGEST_SAMPLE
from aamprep.read.types import CountTable

ENTRIES_PER_BLOCK = 1 << 20
"""Maximum number of non-zero counts in a block: 24 MB of arrays."""

SAMPLES_PER_BLOCK = 1 << 12
"""Maximum number of samples in a block. It matters for tables whose samples have few ASVs."""


@dataclass(frozen=True)
class Block:
    """Samples of one study, in CSR form: sample i has the entries `indptr[i]` to `indptr[i + 1]`."""

    study: str
    sample_ids: tuple[str, ...]
    indptr: Int64Array
    asv: Int64Array
    """Index of each entry's ASV among the study's ASVs, which are sorted by sequence."""
    count: npt.NDArray[np.float64]
    """Number of reads of each entry."""
    position: Int64Array
    """Rank of each entry in the table's own order, for the selection `first`."""

    @property
    def row(self) -> Int64Array:
        """Index of each entry's sample in the block."""
        return np.repeat(np.arange(len(self.sample_ids)), np.diff(self.indptr))

    @property
    def depth(self) -> npt.NDArray[np.float64]:
        """Total number of reads of each sample."""
        return np.bincount(self.row, self.count, len(self.sample_ids)).astype(np.float64)

    @property
    def num_asvs(self) -> Int64Array:
        """Number of entries of each sample."""
        return np.diff(self.indptr)

    def keep_entries(self, keep: BoolArray) -> "Block":
        """Return a block with only the entries where `keep` is True."""
        per_sample = np.bincount(self.row[keep], minlength=len(self.sample_ids))
        return replace(
            self,
            indptr=_offsets(per_sample),
            asv=self.asv[keep],
            count=self.count[keep],
            position=self.position[keep],
        )

    def keep_samples(self, keep: BoolArray) -> "Block":
        """Return a block with only the samples where `keep` is True."""
        if keep.all():
            return self
        entries = self.keep_entries(np.repeat(keep, self.num_asvs))
        ids = tuple(sample_id for sample_id, kept in zip(self.sample_ids, keep, strict=True) if kept)
        return replace(entries, sample_ids=ids, indptr=_offsets(entries.num_asvs[keep]))

    def reorder(self, order: Int64Array) -> "Block":
        """Return a block with reordered entries. The order must keep each entry within its sample."""
        return replace(self, asv=self.asv[order], count=self.count[order], position=self.position[order])

    def sum_duplicates(self) -> "Block":
        """Sort each sample by ASV and sum entries of the same ASV. Their lowest position is kept."""
        key = self.row * (int(self.asv.max(initial=0)) + 1) + self.asv
        if (np.diff(key) > 0).all():
            return self
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        if len(starts) == len(order):
            return self.reorder(order)
        per_sample = np.bincount(self.row[order][starts], minlength=len(self.sample_ids))
        # Keep an invalid negative count visible. In a sum, another entry could hide it.
        count = np.add.reduceat(self.count[order], starts)
        lowest = np.minimum.reduceat(self.count[order], starts)
        return replace(
            self,
            indptr=_offsets(per_sample),
            asv=self.asv[order][starts],
            count=np.where(lowest < 0, lowest, count),
            position=np.minimum.reduceat(self.position[order], starts),
        )


def blocks(table: CountTable, asv_of_feature: Int64Array) -> Iterator[Block]:
    """Yield the blocks of a table.

    Explicit zeros and entries of features without an ASV are removed. Samples that are too large are left out
    (see `too_large`): all samples would need memory for the largest one.

    Parameters
    ----------
    table : CountTable
    asv_of_feature : ndarray of int64, shape (features,)
        Index of each feature's ASV among the study's ASVs, or -1 for features without a valid sequence.
    """
    for start, stop in _ranges(table.indptr, too_large(table)):
        entries = slice(int(table.indptr[start]), int(table.indptr[stop]))
        feature = np.asarray(table.feature[entries], dtype=np.int64)
        block = Block(
            study=table.study,
            sample_ids=table.sample_ids[start:stop],
            indptr=np.asarray(table.indptr[start : stop + 1], dtype=np.int64) - entries.start,
            asv=asv_of_feature[feature],
            count=np.array(table.count[entries], dtype=np.float64),
            position=np.arange(entries.start, entries.stop) if table.in_order else feature,
        )
        forget_pages(table.feature)
        forget_pages(table.count)
        yield block.keep_entries((block.asv >= 0) & (block.count != 0)).sum_duplicates()


def too_large(table: CountTable) -> Int64Array:
    """Return the indices of the samples that have more entries than can be prepared."""
    return np.flatnonzero(np.diff(table.indptr) > LARGEST_SAMPLE)


def _ranges(indptr: Int64Array, left_out: Int64Array) -> Iterator[tuple[int, int]]:
    """Yield ranges of samples with at most `ENTRIES_PER_BLOCK` entries, but at least one sample."""
    start = 0
    for end in [*left_out.tolist(), len(indptr) - 1]:
        while start < end:
            full = int(np.searchsorted(indptr, indptr[start] + ENTRIES_PER_BLOCK, side="right")) - 1
            stop = min(max(full, start + 1), start + SAMPLES_PER_BLOCK, end)
            yield start, stop
            start = stop
        start = end + 1


def _offsets(sizes: npt.NDArray[np.integer]) -> Int64Array:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
