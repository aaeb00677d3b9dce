"""Row groups to samples: the columns of a row group cut into one list per sample, and what cannot be refused.

Free of torch, since it runs in the workers of the loader.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from itertools import pairwise, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aammodel.sample import Sample

T = TypeVar("T")

_TOGETHER = (("asv", "count"), ("dropped_asv", "dropped_count"), ("branch", "branch_count"))
"""Lists of which each has an entry for each of the other's."""
_MOST_READS = float(np.finfo(np.float32).max)
"""Of a sample: more are infinite to the model."""
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


def samples_of(
    table: pa.Table, limits: Mapping[str, int], position: Iterable[int], token_limit: int
) -> list[Sample]:
    """Take row groups apart.

    Parameters
    ----------
    table : pyarrow.Table
        The columns `sample_id`, `asv` and `count`, and any other lists of a `Sample`.
    limits : mapping
        Rows of asvs.parquet or tree.parquet that each column of row numbers may name.
    position : iterable of int
        Place of each sample among all of the set.
    token_limit : int
        Most ASVs that a sample keeps.

    Raises
    ------
    InvalidDataError
        If something in a list cannot be, or lists do not belong together, or `asv` holds one twice or more
        than the limit: the first such sample, by name. What else the schemas ask for (ids, depths, order of
        selection), `aamprep verify` checks.
    """
    ids = table["sample_id"].to_pylist()
    names = [name for name in table.column_names if name != "sample_id"]
    _refuse(ids, ~_has_null(table, names))
    columns = {name: _lists(table, name) for name in names}
    _refuse(ids, _has_reads(columns["asv"], columns["count"]))
    _refuse(ids, _is_valid(columns, limits))
    _refuse(ids, _keeps_each_once(columns["asv"], limits["asv"]) & (columns["asv"].sizes <= token_limit))
    # Field by field, since a call with names for each of many samples takes its time.
    lists = [one.name for one in fields(Sample) if one.name not in ("sample_id", "position")]
    cut = (columns[name].cut() if name in columns else repeat(_NOTHING) for name in lists)
    return list(map(Sample, ids, *cut, position))


def prefetch(items: Iterator[T]) -> Iterator[T]:
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


def _refuse(ids: list[str], is_valid: npt.NDArray[np.bool_]) -> None:
    if not is_valid.all():
        raise InvalidDataError(
            "this sample has no ASV with a count above 0, one twice, more of them than the token limit, or a "
            f"count, an ASV or a branch that cannot be (counts add up to {_MOST_READS:.1e} at most)",
            f"sample {ids[int(is_valid.argmin())]}",
            "find out with `aamprep verify` what is wrong, and make the shards again",
        )


def _has_null(table: pa.Table, names: list[str]) -> npt.NDArray[np.bool_]:
    """Say of each sample whether a list of it, or something in one, is missing."""
    columns = [table[name].combine_chunks() for name in names]
    found = np.zeros(len(table), dtype=np.bool_)
    for column in columns:
        if column.null_count or column.values.null_count:
            found |= [one is None or None in one for one in column.to_pylist()]
    return found


def _has_reads(asv: _Lists, count: _Lists) -> npt.NDArray[np.bool_]:
    """Say of each sample whether it has an ASV with a count above 0."""
    has_both = (asv.sizes > 0) & (asv.sizes == count.sizes)
    if not has_both.all():
        return has_both
    with np.errstate(over="ignore"):
        return np.add.reduceat(count.values, count.starts) > 0


def _is_valid(columns: Mapping[str, _Lists], limits: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """Say of each sample whether its lists belong together, and hold what can be."""
    first = columns["asv"]
    valid = np.ones(len(first.starts), dtype=np.bool_)
    for number, count in _TOGETHER:
        if number in columns and count in columns:
            valid &= columns[number].sizes == columns[count].sizes
    for name, column in columns.items():
        holds = partial(_are_rows, limits[name]) if name in limits else _are_counts
        # All at once, and one by one only if there is something to find.
        if not holds(column.values):
            valid &= [holds(one) for one in column.cut()]
    return valid


def _keeps_each_once(asv: _Lists, limit: int) -> npt.NDArray[np.bool_]:
    """Say of each sample whether it lists no ASV twice."""
    num_samples = len(asv.starts)
    # Sample and ASV as one number, as narrow as can be: half as wide, they sort in half the time.
    kind = np.min_scalar_type(num_samples * limit)
    key = np.repeat(np.arange(num_samples, dtype=kind) * kind.type(limit), asv.sizes)
    key += asv.values.astype(kind, copy=False)
    key.sort()
    is_valid = np.ones(num_samples, dtype=np.bool_)
    is_valid[key[1:][key[1:] == key[:-1]] // kind.type(limit)] = False
    return is_valid


def _are_rows(limit: int, values: npt.NDArray[Any]) -> bool:
    return not len(values) or int(values.max()) < limit


def _are_counts(values: npt.NDArray[Any]) -> bool:
    # NaN fails the first comparison. A sum costs less than asking of each whether it is finite.
    with np.errstate(over="ignore", invalid="ignore"):
        return not len(values) or bool(values.min() >= 0 and values.sum() <= _MOST_READS)
