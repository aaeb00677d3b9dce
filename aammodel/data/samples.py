"""Read row groups of a shard set into samples.

This module does not import torch, so it can be used where torch is not needed.
"""

import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import chain, islice, repeat
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.parquet import ParquetReader
from aammodel.data.order import SampleOrder, ShuffleWindow
from aammodel.data.sample_checks import ListColumn, check_no_missing, check_samples
from aammodel.data.sample_ids import check_given
from aammodel.data.shards import RowGroup, ShardSet
from aammodel.sample import Sample

T = TypeVar("T")

_EMPTY: npt.NDArray[Any] = np.zeros(0, dtype=np.uint32)


@dataclass
class SampleReader:
    """Read samples of a shard set, checked, with the columns that you need.

    Parameters
    ----------
    shards : ShardSet
    columns : tuple of str
        Columns of lists to read beside `asv` and `count`: any of `dropped_asv`, `dropped_count`, `branch` and
        `branch_count`. `columns_needed` of `aammodel.distances.metrics` lists those of a distance.

    Examples
    --------
    >>> from pathlib import Path
    >>> from aammodel.data.samples import SampleReader
    >>> from aammodel.data.shards import open_shards
    >>> shards = open_shards(Path("shards"))
    >>> reader = SampleReader(shards, ("branch",))
    >>> samples = reader.read(shards.row_groups[:1])
    >>> len(samples) == shards.row_groups[0].rows
    True
    """

    shards: ShardSet
    columns: tuple[str, ...] = ()
    _files: dict[str, ParquetReader] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        # Open files cannot be pickled. A worker opens its own.
        return SampleReader, (self.shards, self.columns)

    def __del__(self) -> None:
        for file in self._files.values():
            file.close()

    def read(self, groups: Sequence[RowGroup]) -> list[Sample]:
        """Read the samples of some row groups, in the order of the groups.

        Row groups of one file are read together, which is faster than one by one.

        Raises
        ------
        InvalidDataError
            If a file is missing or damaged, or a sample is invalid.
        """
        samples: dict[RowGroup, list[Sample]] = {}
        for name in dict.fromkeys(group.file for group in groups):
            in_file = [group for group in groups if group.file == name]
            remaining = iter(self._read_file(name, in_file))
            samples |= {group: list(islice(remaining, group.rows)) for group in in_file}
        return [sample for group in groups for sample in samples[group]]

    def read_windows(
        self, split: str, order: SampleOrder, epoch: int = 0, first_sample: int = 0
    ) -> Iterator[tuple[ShuffleWindow, list[Sample]]]:
        """Read the windows of an order one by one, each in a thread while the one before it is used.

        Parameters
        ----------
        split : {"train", "validation", "test"}
        order : SampleOrder
            The order of the samples of that split.
        epoch : int
        first_sample : int
            Samples of the epoch to skip.

        Yields
        ------
        window : ShuffleWindow
        samples : list of Sample
            The samples of its row groups, group after group.
        """
        groups = self.shards.row_groups_of(split)

        def read(window: ShuffleWindow) -> tuple[ShuffleWindow, list[Sample]]:
            return window, self.read([groups[group] for group in window.groups])

        return prefetch(map(read, order.windows(epoch, first_sample)))

    def read_split(self, split: str, order: SampleOrder) -> Iterator[Sample]:
        """Read the samples of a split once, in an order."""
        for window, samples in self.read_windows(split, order):
            yield from (samples[row] for row in window.order[window.num_consumed :])

    def _read_file(self, name: str, groups: Sequence[RowGroup]) -> list[Sample]:
        columns = ["sample_id", *dict.fromkeys(("asv", "count", *self.columns))]
        table = self._open(name).read_row_groups([group.number for group in groups], columns)
        positions = chain.from_iterable(range(group.first, group.first + group.rows) for group in groups)
        limit = self.shards.manifest.choices.token_limit
        return split_table(table, self.shards.num_rows, positions, limit, str(self.shards.folder / name))

    def _open(self, name: str) -> ParquetReader:
        if name not in self._files:
            if len(self._files) >= _most_open_files():
                self._files.pop(next(iter(self._files))).close()
            self._files[name] = self.shards.open(name)
        return self._files[name]


def split_table(
    table: pa.Table, num_rows: Mapping[str, int], positions: Iterable[int], token_limit: int, source: str
) -> list[Sample]:
    """Split a table of the samples schema into samples.

    Parameters
    ----------
    table : pyarrow.Table
        The columns `sample_id`, `asv` and `count`, and any other columns of lists of a `Sample`.
    num_rows : mapping of str to int
        Number of rows that a column of row numbers can point to, by column.
    positions : iterable of int
        Index of each sample among all samples of the shard set.
    token_limit : int
        Largest number of ASVs that a sample keeps.
    source : str
        File that the table is from, for messages.

    Raises
    ------
    InvalidDataError
        If a sample is invalid: see `check_samples`.
    """
    ids = table["sample_id"].to_pylist()
    check_given(ids, source)
    names = [name for name in table.column_names if name != "sample_id"]
    check_no_missing(table, names, source)
    columns = {name: _list_column(table, name) for name in names}
    check_samples(ids, columns, num_rows, token_limit, source)
    # By position: keyword arguments for each of many samples would take noticeable time.
    lists = [part.name for part in fields(Sample) if part.name not in ("sample_id", "position")]
    parts = (columns[name].split() if name in columns else repeat(_EMPTY) for name in lists)
    return list(map(Sample, ids, *parts, positions))


def _most_open_files() -> int:
    """Return how many files a reader keeps open: a small part of those that its process may open."""
    return max(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 16)


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Make each item in a thread while the item before it is used.

    Reading and decompressing release Python's lock, so the thread does not slow down its user.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _list_column(table: pa.Table, name: str) -> ListColumn:
    column = table[name].combine_chunks()
    bounds = column.offsets.to_numpy()
    # `flatten` would copy the values.
    return ListColumn(column.values.to_numpy()[bounds[0] : bounds[-1]], bounds - bounds[0])
