"""Row groups to samples: the columns of a row group cut into one list per sample, and what cannot be refused.

Free of torch, since it runs in the workers of the loader.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import pairwise, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aammodel.distance import Sample
from schemas.errors import InvalidDataError

T = TypeVar("T")

_NOTHING: npt.NDArray[Any] = np.zeros(0, dtype=np.uint32)


class _Lists(NamedTuple):
    """A column of lists, laid one after the other."""

    values: npt.NDArray[Any]
    bounds: npt.NDArray[np.int32]
    """Where each list begins, and where the last ends."""

    @property
    def starts(self) -> npt.NDArray[np.int32]:
        """Where each list begins."""
        return self.bounds[:-1]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Values of each list."""
        return np.diff(self.bounds)

    def cut(self) -> list[npt.NDArray[Any]]:
        """Give each list as a view."""
        return [self.values[start:stop] for start, stop in pairwise(self.bounds.tolist())]


def samples_of(table: pa.Table, num_asvs: int, position: Iterable[int]) -> list[Sample]:
    """Take row groups apart.

    Parameters
    ----------
    table : pyarrow.Table
        The columns `sample_id`, `asv` and `count`, and any other lists of a `Sample`.
    num_asvs : int
        Rows of asvs.parquet that a sample may name.
    position : iterable of int
        Place of each sample among all of the set.

    Raises
    ------
    InvalidDataError
        If the schemas would refuse a sample, whichever tool wrote it: the first such one, by name.
    """
    ids = table["sample_id"].to_pylist()
    columns = {name: _lists(table, name) for name in table.column_names if name != "sample_id"}
    is_valid = _is_valid(columns["asv"], columns["count"], num_asvs)
    if not is_valid.all():
        raise InvalidDataError(
            "this sample has no ASV with a count above 0, or a count or an ASV that cannot be",
            f"sample {ids[int(is_valid.argmin())]}",
            "find out with `aamprep validate` what is wrong, and make the shards again",
        )
    # Field by field, since a call with names for each of many samples takes its time.
    lists = [one.name for one in fields(Sample) if one.name not in ("sample_id", "position")]
    cut = (columns[name].cut() if name in columns else repeat(_NOTHING) for name in lists)
    return list(map(Sample, ids, *cut, position))


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Make each item in a thread while the one before it is used.

    What items are made by is reading and decompressing, which leaves Python to others meanwhile.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _lists(table: pa.Table, name: str) -> _Lists:
    column = table[name].combine_chunks()
    bounds = column.offsets.to_numpy()
    # Not `flatten`, which copies.
    return _Lists(column.values.to_numpy()[bounds[0] : bounds[-1]], bounds - bounds[0])


def _is_valid(asv: _Lists, count: _Lists, num_asvs: int) -> npt.NDArray[np.bool_]:
    """Say of each sample whether the schemas would have it."""
    has_both = (asv.sizes > 0) & (asv.sizes == count.sizes)
    if not has_both.all():
        return has_both
    with np.errstate(over="ignore"):
        reads = np.add.reduceat(count.values, count.starts)
    # NaN and infinite counts fail the comparisons, too.
    is_count = (np.minimum.reduceat(count.values, count.starts) >= 0) & (reads > 0) & (reads < np.inf)
    return is_count & (np.maximum.reduceat(asv.values, asv.starts) < num_asvs)
