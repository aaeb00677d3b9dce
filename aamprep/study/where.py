"""Samples by metadata: `--where 'body-site=gut'`, one comparison each, and all must hold.

    COLUMN = VALUE     COLUMN != VALUE     COLUMN < NUMBER     also <=, > and >=

As in SQL, which QIIME 2 uses for the same, a sample whose cell is empty meets no comparison. The empty value
itself can be asked for: `COLUMN=` keeps samples without a value, `COLUMN!=` those with one.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aam_schemas.common.text import truncate_list
from aamprep.errors import ParameterError
from aamprep.read.metadata import is_number
from aamprep.read.types import Metadata

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_OPERATOR = "|".join(_COMPARE)
_COMPARISON = re.compile(rf"(.+?)\s*({_OPERATOR})\s*(.*)", re.DOTALL)
_WHERE = "where"
_VALUES_SHOWN = 10


@dataclass(frozen=True)
class Condition:
    """One comparison of a metadata column with a value."""

    column: str
    compare: str
    value: str
    is_numeric: bool

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"{self.column}{self.compare}{self.value}"

    def holds(self, cell: str | None) -> bool:
        """Tell whether a cell meets the condition; None is an empty cell."""
        if not self.value:
            return (cell is None) == (self.compare != "!=")
        if cell is None:
            return False
        convert = float if self.is_numeric else str
        return _COMPARE[self.compare](convert(cell), convert(self.value))


def left_out(texts: list[str], metadata: Metadata | None, sample_ids: Iterable[str]) -> dict[str, str]:
    """Find the samples that do not meet all conditions.

    Parameters
    ----------
    texts : list of str
        The conditions, as typed.
    metadata : Metadata, optional
    sample_ids : iterable of str

    Returns
    -------
    dict of str to str
        For each such sample, the first condition that it does not meet, and its value.

    Raises
    ------
    ParameterError
        If a condition is no comparison, names no column, compares words by size, or leaves no sample.
    """
    if not texts:
        return {}
    if metadata is None:
        raise ParameterError(
            "samples are chosen by metadata, but none were given", _WHERE, "give the metadata"
        )
    conditions = [parse(text, metadata) for text in texts]
    row_of = {sample_id: row for row, sample_id in enumerate(metadata.ids)}
    ids = set(sample_ids)
    reasons = {}
    for sample_id in ids:
        cells = _cells(conditions, metadata, row_of.get(sample_id))
        failed = next(((one, cell) for one, cell in cells if not one.holds(cell)), None)
        if failed is not None:
            reasons[sample_id] = f"{failed[0]}: {'no value' if failed[1] is None else repr(failed[1])}"
    if ids and len(reasons) == len(ids):
        _refuse_all(conditions, metadata)
    return reasons


def parse(text: str, metadata: Metadata) -> Condition:
    """Read one condition; a column's name may hold blanks and signs, a value may stand in quotes.

    Raises
    ------
    ParameterError
    """
    column, compare, value = _parts(text, metadata)
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    is_numeric = metadata.types[column] == "numeric"
    if compare not in ("=", "==", "!=") and not (is_numeric and value):
        what = "there is no number to compare with" if is_numeric else _words(metadata, column)
        raise ParameterError(
            f"{compare} compares numbers, but {what}",
            _WHERE,
            "compare with = or !=, or leave cells without a number empty",
            repr(text),
        )
    if is_numeric and value and not is_number(value):
        raise ParameterError(
            f"{column} holds numbers, and {value!r} is not one", _WHERE, "give a number", repr(text)
        )
    return Condition(column, compare, value, is_numeric)


def _words(metadata: Metadata, column: str) -> str:
    """Say why a column is one of words: by its cells, or since the file says so."""
    words = [cell for cell in metadata.columns[column] if cell is not None and not is_number(cell)]
    if not words:
        return f"{column} holds words, since its type in the file is categorical"
    return f"{column} holds words in {len(words):,} cells, such as {words[0]!r}"


def _parts(text: str, metadata: Metadata) -> tuple[str, str, str]:
    for column in sorted(metadata.columns, key=len, reverse=True):
        match = re.fullmatch(rf"\s*{re.escape(column)}\s*({_OPERATOR})\s*(.*?)\s*", text, re.DOTALL)
        if match:
            return column, match[1], match[2]
    match = _COMPARISON.fullmatch(text.strip())
    if not match:
        fix = "write COLUMN=VALUE, or with !=, <, <=, > or >="
        raise ParameterError("this is not a comparison", _WHERE, fix, repr(text))
    raise ParameterError(
        f"there is no metadata column {match[1]!r}", _WHERE, f"choose one of: {', '.join(metadata.columns)}"
    )


def _cells(
    conditions: list[Condition], metadata: Metadata, row: int | None
) -> Iterable[tuple[Condition, str | None]]:
    """Give each condition with the sample's cell; a sample without a row has empty cells."""
    return ((one, None if row is None else metadata.columns[one.column][row]) for one in conditions)


def _refuse_all(conditions: list[Condition], metadata: Metadata) -> None:
    columns = {one.column for one in conditions}
    known = {c: sorted({cell for cell in metadata.columns[c] if cell is not None}) for c in sorted(columns)}
    values = "; ".join(f"{column}: {truncate_list(cells, _VALUES_SHOWN)}" for column, cells in known.items())
    what = " and ".join(map(str, conditions))
    raise ParameterError(f"no sample of the table has {what}", _WHERE, f"the values are {values}")
