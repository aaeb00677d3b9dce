"""Select samples by metadata with conditions such as `body-site=gut`.

    COLUMN = VALUE     COLUMN != VALUE     COLUMN < NUMBER     also <=, > and >=

A sample is kept if it meets all conditions. An empty cell meets no condition, as in SQL, which QIIME 2 uses.
To select on empty cells, use `COLUMN=` for samples without a value and `COLUMN!=` for samples with one.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from aam_schemas.common.text import truncate_list
from aamprep.errors import ParameterError
from aamprep.read.metadata import is_code, is_number
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
_REST = re.compile(rf"\s*({_OPERATOR})\s*(.*)", re.DOTALL)
_WHERE = "where"
_VALUES_SHOWN = 10


@dataclass(frozen=True)
class Condition:
    """A comparison of a metadata column with a value."""

    column: str
    compare: str
    value: str
    is_numeric: bool

    def __str__(self) -> str:
        """Return the condition as it is typed, without blanks."""
        return f"{self.column}{self.compare}{self.value}"

    def holds(self, cell: str | None) -> bool:
        """Return whether a cell meets the condition. None is an empty cell."""
        if not self.value:
            return (cell is None) == (self.compare != "!=")
        if cell is None:
            return False
        if not self.is_numeric:
            return _COMPARE[self.compare](cell, self.value)
        # As float64, two codes of 17 digits could be equal.
        return _COMPARE[self.compare](_exact(cell), _exact(self.value))


def failing_samples(texts: list[str], metadata: Metadata | None, sample_ids: Iterable[str]) -> dict[str, str]:
    """Return the samples that do not meet all conditions.

    Parameters
    ----------
    texts : list of str
        Conditions, as typed.
    metadata : Metadata, optional
    sample_ids : iterable of str

    Returns
    -------
    dict of str to str
        First condition that a sample does not meet, with the value of the sample, by sample id.

    Raises
    ------
    ParameterError
        If a condition is not a comparison, names an unknown column or compares words by size, or if no sample
        meets all conditions.
    """
    if not texts:
        return {}
    if metadata is None:
        raise ParameterError(
            "samples are chosen by metadata, but none were given", _WHERE, "give the metadata"
        )
    conditions = [parse_condition(text, metadata) for text in texts]
    row_of = {sample_id: row for row, sample_id in enumerate(metadata.ids)}
    # In their order, which is that of most metadata: a set would jump to and fro in memory.
    ids = dict.fromkeys(sample_ids)
    reasons = {}
    for sample_id in ids:
        cells = _cells(conditions, metadata, row_of.get(sample_id))
        failed = next(((condition, cell) for condition, cell in cells if not condition.holds(cell)), None)
        if failed is not None:
            reasons[sample_id] = f"{failed[0]}: {'no value' if failed[1] is None else repr(failed[1])}"
    if ids and len(reasons) == len(ids):
        _refuse_if_none_left(conditions, metadata)
    return reasons


def parse_condition(text: str, metadata: Metadata) -> Condition:
    """Parse a condition. A column name can contain blanks and operators, and a value can be quoted.

    Raises
    ------
    ParameterError
        If the text is not a comparison, the column is unknown, or the comparison does not fit its type.
    """
    column, compare, value = _split(text, metadata)
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    is_numeric = metadata.types[column] == "numeric"
    if compare not in ("=", "==", "!=") and not (is_numeric and value):
        what = "there is no number to compare with" if is_numeric else _why_categorical(metadata, column)
        raise ParameterError(
            f"{compare} compares numbers, but {what}",
            _WHERE,
            "compare with = or !=, or empty the cells that are not numbers",
            repr(text),
        )
    if is_numeric and value and not is_number(value):
        raise ParameterError(
            f"{column} holds numbers, and {value!r} is not a number", _WHERE, "give a number", repr(text)
        )
    return Condition(column, compare, value, is_numeric)


def _exact(number: str) -> Decimal | float:
    """Return the exact value of a number. An exponent beyond all bounds is left to float."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return float(number)


def _why_categorical(metadata: Metadata, column: str) -> str:
    """Return why a column is categorical: its cells, or the type in the file."""
    words = [cell for cell in metadata.columns[column] if cell is not None and not is_number(cell)]
    codes = [cell for cell in metadata.columns[column] if cell is not None and is_code(cell)]
    if not words and codes:
        return f"{column} holds codes, such as {codes[0]}"
    if not words:
        return f"{column} is declared categorical in the file"
    return f"{column} holds words in {len(words):,} cells, such as {words[0]!r}"


def _split(text: str, metadata: Metadata) -> tuple[str, str, str]:
    """Return the column, operator and value of a condition."""
    text = text.strip()
    # Long names first: `x=y` may be a column, too.
    for column in sorted(filter(text.startswith, metadata.columns), key=len, reverse=True):
        match = _REST.fullmatch(text, len(column))
        if match:
            return column, match[1], match[2]
    match = _COMPARISON.fullmatch(text)
    if not match:
        fix = "write COLUMN=VALUE, or with !=, <, <=, > or >="
        raise ParameterError("this is not a comparison", _WHERE, fix, repr(text))
    raise ParameterError(
        f"there is no metadata column {match[1]!r}", _WHERE, f"choose one of: {', '.join(metadata.columns)}"
    )


def _cells(
    conditions: list[Condition], metadata: Metadata, row: int | None
) -> Iterable[tuple[Condition, str | None]]:
    """Return each condition with the cell of the sample. A sample without a row has empty cells."""
    return (
        (condition, None if row is None else metadata.columns[condition.column][row])
        for condition in conditions
    )


def _refuse_if_none_left(conditions: list[Condition], metadata: Metadata) -> None:
    columns = {condition.column for condition in conditions}
    known = {c: sorted({cell for cell in metadata.columns[c] if cell is not None}) for c in sorted(columns)}
    values = "; ".join(f"{column}: {truncate_list(cells, _VALUES_SHOWN)}" for column, cells in known.items())
    what = " and ".join(map(str, conditions))
    raise ParameterError(f"no sample of the table has {what}", _WHERE, f"the values are {values}")
