"""Refuse samples that cannot be valid, with one message per fault.

The checks run on whole columns at once, so that valid samples cost little. Only when a check fails is the
first invalid sample searched for its fault.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError

LARGEST_TOTAL = float(np.finfo(np.float32).max)
"""Largest sum of a sample's counts. The model computes in float32, where a larger sum is infinite."""

_PAIRED = (("asv", "count"), ("dropped_asv", "dropped_count"), ("branch", "branch_count"))
"""Columns of rows, each with the column that has one count for each row."""
_TABLES = {"asv": "ASVs that samples keep", "dropped_asv": "ASVs", "branch": "branches"}
"""Description of the rows that each column of row numbers points to."""
_REMAKE = (
    "run `aamprep verify` on the folder to list all faults, then make the shards again with `aamprep shard`"
)
_RESCALE = "divide the counts of the table by a constant or rarefy it, then make the shards again"


class ListColumn(NamedTuple):
    """A column of lists as one array, list after list."""

    values: npt.NDArray[Any]
    bounds: npt.NDArray[np.int32]
    """Index in `values` at which each list starts, and the end of the last one."""

    @property
    def starts(self) -> npt.NDArray[np.int32]:
        """Index at which each list starts."""
        return self.bounds[:-1]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Length of each list."""
        return np.diff(self.bounds)

    def split(self) -> list[npt.NDArray[Any]]:
        """Return a view of each list."""
        return [self.values[start:stop] for start, stop in pairwise(self.bounds.tolist())]

    def list_at(self, index: int) -> npt.NDArray[Any]:
        """Return a view of one list."""
        return self.values[self.bounds[index] : self.bounds[index + 1]]


def check_no_missing(table: pa.Table, names: Iterable[str], source: str) -> None:
    """Refuse a missing list, and a missing value in a list.

    Parameters
    ----------
    table : pyarrow.Table
        The column `sample_id` and columns of lists.
    names : iterable of str
        Columns to check.
    source : str
        File that the table is from, for the message.

    Raises
    ------
    InvalidDataError
    """
    for name in names:
        column = table[name].combine_chunks()
        if not (column.null_count or column.values.null_count):
            continue
        for index, values in enumerate(column.to_pylist()):
            if values is None:
                _refuse(source, table["sample_id"][index], f"column {name} has no list", _REMAKE)
            if None in values:
                entry = values.index(None) + 1
                _refuse(
                    source,
                    table["sample_id"][index],
                    f"entry {entry} of {len(values)} in column {name} is missing",
                    _REMAKE,
                )


def check_samples(
    ids: Sequence[str],
    columns: Mapping[str, ListColumn],
    num_rows: Mapping[str, int],
    token_limit: int,
    source: str,
) -> None:
    """Refuse samples that cannot be valid.

    `aamprep verify` checks what else the schemas ask for: ids, depths, and the order of selection.

    Parameters
    ----------
    ids : sequence of str
        Sample ids.
    columns : mapping of str to ListColumn
        `asv` and `count`, and any other columns of lists of a `Sample`.
    num_rows : mapping of str to int
        Number of rows that a column of row numbers can point to, by column.
    token_limit : int
        Largest number of ASVs that a sample keeps.
    source : str
        File that the samples are from, for the message.

    Raises
    ------
    InvalidDataError
        If a sample has no ASV, no read, an ASV twice, more ASVs than the token limit, a row number without a
        row, a negative or non-finite count, counts whose sum overflows float32, or lists of different
        lengths. The message names the first such sample and its first fault.
    """
    # In this order, since the later checks rely on the earlier ones.
    checks = (
        partial(_have_reads, columns),
        partial(_have_valid_lists, columns, num_rows),
        partial(_keep_each_asv_once, columns, num_rows["asv"], token_limit),
    )
    for check in checks:
        is_valid = check()
        if not is_valid.all():
            index = int(is_valid.argmin())
            lists = {name: column.list_at(index) for name, column in columns.items()}
            _refuse(source, ids[index], *find_fault(lists, num_rows, token_limit))


def find_fault(
    lists: Mapping[str, npt.NDArray[Any]], num_rows: Mapping[str, int], token_limit: int
) -> tuple[str, str]:
    """Return the first fault of an invalid sample, and how to fix it.

    Parameters
    ----------
    lists : mapping of str to ndarray
        The lists of the sample, by column.
    num_rows, token_limit
        As in `check_samples`.
    """
    for search in (_wrong_sizes, _wrong_counts, partial(_wrong_rows, num_rows), _no_reads):
        fault = search(lists)
        if fault:
            return fault
    asv = lists["asv"]
    if len(asv) > token_limit:
        what = f"it lists {len(asv)} ASVs, more than the token limit of {token_limit} in the manifest"
        return what, _REMAKE
    row, times = Counter(asv.tolist()).most_common(1)[0]
    return f"column asv has row {row} of asvs.parquet {times} times, and may have it once", _REMAKE


Lists = Mapping[str, npt.NDArray[Any]]
Fault = tuple[str, str]


def _wrong_sizes(lists: Lists) -> Fault | None:
    if not len(lists["asv"]):
        return "it lists no ASV", _REMAKE
    for rows, counts in _PAIRED:
        if rows in lists and counts in lists and len(lists[rows]) != len(lists[counts]):
            sizes = f"{len(lists[rows])} and {len(lists[counts])}"
            return f"columns {rows} and {counts} have lengths {sizes}, which must be the same", _REMAKE
    return None


def _wrong_counts(lists: Lists) -> Fault | None:
    for _, name in _PAIRED:
        values = lists.get(name, np.zeros(0))
        is_invalid = ~(np.isfinite(values) & (values >= 0))
        if is_invalid.any():
            entry = int(is_invalid.argmax())
            kind = "is negative" if np.isfinite(values[entry]) else "is not finite"
            return f"entry {entry + 1} in column {name}, {values[entry]:g}, {kind}", _REMAKE
        with np.errstate(over="ignore"):
            total = values.sum()
        if total > LARGEST_TOTAL:
            what = f"column {name} adds up to {total:.3g}, more than float32 can hold ({LARGEST_TOTAL:.3g})"
            return what, _RESCALE
    return None


def _wrong_rows(num_rows: Mapping[str, int], lists: Lists) -> Fault | None:
    for name, number in num_rows.items():
        values = lists.get(name, np.zeros(0))
        if len(values) and values.max() >= number:
            what = f"column {name} points to row {values.max()}, and the set has {number} {_TABLES[name]}"
            return f"{what} (the first row is 0)", _REMAKE
    return None


def _no_reads(lists: Lists) -> Fault | None:
    if lists["count"].sum() > 0:
        return None
    return "all values of column count are 0, so it has no read", _REMAKE


def _refuse(source: str, sample_id: object, what: str, fix: str) -> NoReturn:
    raise InvalidDataError(what, f"{source}, sample {sample_id}", fix)


def _have_reads(columns: Mapping[str, ListColumn]) -> npt.NDArray[np.bool_]:
    """Return whether each sample has an ASV with a count above 0."""
    asv, count = columns["asv"], columns["count"]
    has_both = (asv.sizes > 0) & (asv.sizes == count.sizes)
    if not has_both.all():
        return has_both
    with np.errstate(over="ignore"):
        return np.add.reduceat(count.values, count.starts) > 0


def _have_valid_lists(
    columns: Mapping[str, ListColumn], num_rows: Mapping[str, int]
) -> npt.NDArray[np.bool_]:
    """Return whether each sample has paired lists of the same length, with valid rows and counts."""
    is_valid = np.ones(len(columns["asv"].starts), dtype=np.bool_)
    for rows, counts in _PAIRED:
        if rows in columns and counts in columns:
            is_valid &= columns[rows].sizes == columns[counts].sizes
    for name, column in columns.items():
        check: Callable[[npt.NDArray[Any]], bool]
        check = partial(_are_rows, num_rows[name]) if name in num_rows else _are_counts
        # The whole column first. Lists are checked one by one only if it fails.
        if not check(column.values):
            is_valid &= [check(values) for values in column.split()]
    return is_valid


def _keep_each_asv_once(
    columns: Mapping[str, ListColumn], num_asvs: int, token_limit: int
) -> npt.NDArray[np.bool_]:
    """Return whether each sample lists no ASV twice, and no more than the token limit."""
    asv = columns["asv"]
    num_samples = len(asv.starts)
    # Sample and ASV as one number of the narrowest type: numbers half as wide are sorted in half the time.
    kind = np.min_scalar_type(num_samples * num_asvs)
    key = np.repeat(np.arange(num_samples, dtype=kind) * kind.type(num_asvs), asv.sizes)
    key += asv.values.astype(kind, copy=False)
    key.sort()
    is_valid = asv.sizes <= token_limit
    is_valid[key[1:][key[1:] == key[:-1]] // kind.type(num_asvs)] = False
    return is_valid


def _are_rows(number: int, values: npt.NDArray[Any]) -> bool:
    return not len(values) or int(values.max()) < number


def _are_counts(values: npt.NDArray[Any]) -> bool:
    # NaN fails the first comparison. Checking the sum is cheaper than checking whether each is finite.
    with np.errstate(over="ignore", invalid="ignore"):
        return not len(values) or bool(values.min() >= 0 and values.sum() <= LARGEST_TOTAL)
