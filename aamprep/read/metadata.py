"""Sample metadata: tab-separated text in QIIME 2's format.

The format is described at https://docs.qiime2.org/2024.10/tutorials/metadata/. Empty rows and rows that begin
with `#` are ignored, except for the directives `#q2:types` and `#q2:missing`. Blanks around cells are
removed, and so are trailing empty cells. Ids are always text: as numbers, 2538.1001130 and 15e38 would
change.
"""

import csv
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from aam_schemas.common.ids import has_control
from aam_schemas.common.text import shorten
from aamprep.read.lines import Lines
from aamprep.read.maxima import MOST_CELLS, MOST_COLUMNS, MOST_SAMPLES
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ID_HEADERS = {"id", "sampleid", "sample id", "sample-id", "featureid", "feature id", "feature-id"}
_EXACT_ID_HEADERS = {"#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name"}
_TYPES = {"categorical", "numeric"}
_SCHEMES = {"blank", "no-missing", "INSDC:missing"}
_INSDC = {"not applicable", "missing", "not collected", "not provided", "restricted access"}
_WORDS_FOR_MISSING = _INSDC | {"na", "n/a", "nan", "none", "null", "unknown", "unspecified", "not available"}

_MOST_SHARED = 1 << 16
"""Number of distinct cells of a column that are stored once. The cells of most columns are few words."""

_TITLE_SHOWN = 80
"""Number of characters of a title in a finding."""

_WHOLE = re.compile(r"[+-]?(0*(?=\d))(\d{1,400})(?:\.\d*)?", re.ASCII)
"""A number without an exponent: its leading zeros, and its other digits before the decimal point."""

LARGEST_WHOLE = 1 << 53
"""Up to it, float64 holds every whole number exactly."""

Parsed = tuple[tuple[str, ...], dict[str, tuple[str | None, ...]], dict[str, str]]


class _Row(NamedTuple):
    """A row of the file."""

    line: int
    """Number of its first line."""
    cells: list[str]
    """Cells without surrounding blanks and trailing empty cells."""
    num_cells: int
    """Number of cells with the trailing empty ones."""


@dataclass
class _Lengths:
    """Lengths of the rows, compared with the header."""

    header: _Row
    num_rows: int = 0
    longest: int = 0
    """Number of filled cells of the longest row, the header included."""
    num_by_one: int = 0
    """Number of rows with one cell more than the header, trailing empty cells included."""
    too_long: "array[int]" = field(default_factory=lambda: array("q"))
    """Lines of the rows that have a filled cell beyond the header."""
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    """Number of cells of each of these rows."""

    def add(self, row: _Row) -> None:
        """Count a row."""
        self.num_rows += 1
        self.longest = max(self.longest, len(self.header.cells), len(row.cells))
        self.num_by_one += row.num_cells == self.header.num_cells + 1
        if len(row.cells) > len(self.header.cells):
            self.too_long.append(row.line)
            self.sizes.append(len(row.cells))

    def refuse_late_header(self, row: _Row, where: str) -> None:
        """Raise RefusedError if a row is the header, and the lines above it are a title."""
        is_longer = len(row.cells) > max(self.longest, len(self.header.cells))
        if is_longer and is_id_header(row.cells[0]) and not is_id_header(self.header.cells[0]):
            above = shorten(repr(self.header.cells[0]), _TITLE_SHOWN)
            value = f"{row.cells[0]!r}, below {above} in line {self.header.line}"
            raise RefusedError(rules.METADATA_HEADER_LATE, f"{where}, line {row.line}", value)

    @property
    def is_header_short(self) -> bool:
        """Whether the header has no cell for the sample ids: every row has one cell more.

        In files of R's write.table, the last cells of some rows can be empty. Below an id header, such rows
        just have another tab at their end.
        """
        width = len(self.header.cells)
        if set(self.sizes) != {width + 1}:
            return False
        is_by_one = self.num_by_one == self.num_rows and not is_id_header(self.header.cells[0])
        return is_by_one or len(self.sizes) == self.num_rows

    def check(self, where: str, findings: Findings) -> None:
        """Report the rows that are longer than the header.

        Raises
        ------
        RefusedError
            If the header is short: then every cell would be read as one of the column beside it.
        """
        width = len(self.header.cells)
        if self.is_header_short:
            value = f"{width} cells, but every row has {width + 1}"
            raise RefusedError(rules.METADATA_HEADER_SHORT, f"{where}, line {self.header.line}", value)
        rows = zip(self.too_long, self.sizes, strict=True)
        violations = ((f"{where}, line {line}", f"{size} cells, but {width} columns") for line, size in rows)
        findings.add_each(rules.METADATA_ROW_LENGTH, violations)


@dataclass
class _Column:
    """A column while it is being read."""

    name: str
    index: int
    declared: str = ""
    """Type that #q2:types declares, or empty."""
    scheme: str = "blank"
    """Missing-value scheme that #q2:missing declares."""
    cells: list[str] = field(default_factory=list)
    _shared: dict[str, str] = field(default_factory=dict)
    """Distinct cells, so that equal ones are stored once."""

    def add(self, cell: str) -> None:
        """Append a cell."""
        if len(self._shared) < _MOST_SHARED:
            cell = self._shared.setdefault(cell, cell)
        self.cells.append(self._shared.get(cell, cell))

    def forget(self) -> None:
        """Free the memory of the cells."""
        self.cells, self._shared = [], {}


def parse_metadata(text: str, where: str, findings: Findings) -> Parsed:
    """Parse metadata. Problems are reported as findings, with line and column.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for findings.
    findings : Findings

    Returns
    -------
    ids : tuple of str
    columns : dict of str to tuple of (str or None)
        Cells of each column in the order of `ids`, as text. None if missing.
    types : dict of str to str
        Type of each column: numeric or categorical.

    Raises
    ------
    RefusedError
        If the text is not a table, has no rows, or its header is short.
    """
    header, rest = _split_header(_read_rows(text, where), where)
    columns = _make_columns(header, where, findings)
    data = _apply_directives(rest, columns, len(header.cells), where, findings)
    lengths = _Lengths(header)
    ids, lines = _fill_columns(data, columns, lengths, where, findings)
    lengths.check(where, findings)
    if not is_id_header(header.cells[0]):
        findings.add(rules.METADATA_ID_HEADER, f"{where}, line {header.line}", repr(header.cells[0]))
    if not ids:
        raise RefusedError(rules.METADATA_EMPTY, where, "no rows after the header")

    types: dict[str, str] = {}
    cells: dict[str, tuple[str | None, ...]] = {}
    for column in columns:
        given = _replace_missing(column, lines, where, findings)
        column.forget()
        types[column.name], cells[column.name] = _typed(column, given, lines, where, findings)
    return tuple(ids), cells, types


def is_id_header(cell: str) -> bool:
    """Return whether QIIME 2 recognizes a cell as the header of the id column."""
    return cell in _EXACT_ID_HEADERS or cell.lower() in _ID_HEADERS


class _TextRows:
    """Lines of a text for the csv module. Between rows, blank lines are skipped."""

    def __init__(self, text: str, where: str) -> None:
        self._lines, self._where = Lines(text), where
        self._num_cells = 0
        self.line = 1
        """Number of the first line of the current row."""

    def begin_row(self) -> None:
        """Begin a row: skip the blank lines before it."""
        self._lines.skip_blank()
        self.line, self._num_cells = self._lines.number + 1, 0

    def __iter__(self) -> "_TextRows":
        return self

    def __next__(self) -> str:
        text = self._lines.next_line()
        if text is None:
            raise StopIteration
        self._num_cells += text.count("\t") + 1
        if self._num_cells > MOST_COLUMNS:
            location = f"{self._where}, line {self.line}"
            raise RefusedError(rules.FILE_TOO_MANY, location, f"more than {MOST_COLUMNS:,} cells")
        return text + "\n"


def _read_rows(text: str, where: str) -> Iterator[_Row]:
    """Yield all rows that are not empty, without surrounding blanks and trailing empty cells."""
    rows = _TextRows(text, where)
    reader = csv.reader(rows, dialect="excel-tab", strict=True)
    num_rows = 0
    while True:
        rows.begin_row()
        try:
            raw = next(reader, None)
        except csv.Error as error:
            raise RefusedError(rules.METADATA_FORMAT, f"{where}, line {rows.line}", error) from None
        if raw is None:
            return
        cells = [cell.strip() for cell in raw]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            num_rows += 1
            if num_rows > MOST_SAMPLES:
                location = f"{where}, line {rows.line}"
                raise RefusedError(rules.FILE_TOO_MANY, location, f"more than {MOST_SAMPLES:,} rows")
            yield _Row(rows.line, cells, len(raw))


def _split_header(rows: Iterator[_Row], where: str) -> tuple[_Row, Iterator[_Row]]:
    """Return the header, and the rows below it.

    It is the first row that begins with an id header. Otherwise it is the first row that is not a comment, or
    the comment directly above it if that has the same number of cells: many programs write headers such as
    `#Run`.
    """
    before: _Row | None = None
    for row in rows:
        if is_id_header(row.cells[0]):
            return row, rows
        if not row.cells[0].startswith("#"):
            break
        before = row
    else:
        raise RefusedError(rules.METADATA_EMPTY, where, "no header")
    if before is not None and 1 < len(before.cells) == len(row.cells) and before.cells[0][:4] != "#q2:":
        return before, chain([row], rows)
    separator = _wrong_separator(row.cells[0]) if len(row.cells) == 1 else ""
    if separator:
        raise RefusedError(rules.METADATA_SEPARATOR, f"{where}, line {row.line}", separator)
    return row, rows


def _wrong_separator(header: str) -> str:
    """Return what separates the cells of a header without tabs, or an empty text."""
    if ";" in header or "," in header:
        return "semicolons" if header.count(";") >= header.count(",") else "commas"
    words = header.split()
    return "blanks" if len(words) > 1 and is_id_header(words[0]) else ""


def _make_columns(header: _Row, where: str, findings: Findings) -> list[_Column]:
    columns: dict[str, _Column] = {}
    for index, name in enumerate(header.cells[1:], start=1):
        location = f"{where}, line {header.line}, column {index + 1}"
        if not name:
            findings.add(rules.METADATA_COLUMN_EMPTY, location)
        elif has_control(name):
            findings.add(rules.ID_CONTROL, location, ascii(name))
        elif name in columns:
            first = columns[name].index + 1
            findings.add(rules.METADATA_COLUMN_DUPLICATE, location, f"{name!r}, first in column {first}")
        else:
            if is_id_header(name):
                findings.add(rules.METADATA_COLUMN_RESERVED, location, repr(name))
            columns[name] = _Column(name, index)
    return list(columns.values())


def _apply_directives(
    rows: Iterator[_Row], columns: list[_Column], width: int, where: str, findings: Findings
) -> Iterator[_Row]:
    """Apply the directives between the header and the data, and yield the rows of data."""
    has_data = False
    seen: set[str] = set()
    for row in rows:
        location, cells = f"{where}, line {row.line}", row.cells
        if not cells[0].startswith("#"):
            has_data = True
            yield row
        elif cells[0].startswith(("#q2:", "#sk:")):
            # scikit-bio writes the same directives with its own prefix.
            cells[0] = cells[0].replace("#sk:", "#q2:")
            if cells[0] not in ("#q2:types", "#q2:missing"):
                findings.add(rules.METADATA_DIRECTIVE, location, f"{cells[0]!r} is not a directive")
            elif cells[0] in seen or has_data:
                problem = "occurs twice" if cells[0] in seen else "comes after the first sample"
                findings.add(rules.METADATA_DIRECTIVE, location, f"{cells[0]} {problem}")
            else:
                seen.add(cells[0])
                _apply_directive(cells, columns, width, location, findings)


def _apply_directive(
    cells: list[str], columns: list[_Column], width: int, where: str, findings: Findings
) -> None:
    if len(cells) > width:
        findings.add(rules.METADATA_ROW_LENGTH, where, f"{len(cells)} cells, but {width} columns")
    for column in columns:
        word = cells[column.index] if column.index < len(cells) else ""
        if cells[0] == "#q2:types" and word.lower() in _TYPES:
            column.declared = word.lower()
        elif cells[0] == "#q2:missing" and word in _SCHEMES:
            column.scheme = word
        elif word:
            findings.add(rules.METADATA_DIRECTIVE, f"{where}, column {column.name!r}", repr(word))


def _fill_columns(
    rows: Iterator[_Row], columns: list[_Column], lengths: _Lengths, where: str, findings: Findings
) -> tuple[list[str], "array[int]"]:
    """Append the cells of valid rows to the columns, and return the ids with their line numbers."""
    first_line: dict[str, int] = {}
    for row in rows:
        location, name, cells = f"{where}, line {row.line}", row.cells[0], row.cells
        lengths.refuse_late_header(row, where)
        lengths.add(row)
        if lengths.num_rows * len(columns) > MOST_CELLS:
            raise RefusedError(rules.FILE_TOO_MANY, location, f"more than {MOST_CELLS:,} cells")
        if not name:
            findings.add(rules.METADATA_ID_EMPTY, location)
        elif has_control(name):
            findings.add(rules.ID_CONTROL, location, ascii(name))
        elif is_id_header(name):
            findings.add(rules.METADATA_ID_RESERVED, location, repr(name))
        elif name in first_line:
            findings.add(rules.METADATA_ID_DUPLICATE, location, f"{name!r}, first in line {first_line[name]}")
        else:
            first_line[name] = row.line
            for column in columns:
                column.add(cells[column.index] if column.index < len(cells) else "")
    return list(first_line), array("q", first_line.values())


def _replace_missing(
    column: _Column, lines: "array[int]", where: str, findings: Findings
) -> tuple[str | None, ...]:
    """Return the cells with None for missing values, according to the scheme of the column."""
    words = _INSDC if column.scheme == "INSDC:missing" else set()
    if column.scheme == "no-missing":
        empty = [line for line, cell in zip(lines, column.cells, strict=True) if not cell]
        violations = ((f"{where}, line {line}, column {column.name!r}", "") for line in empty)
        findings.add_each(rules.METADATA_NOT_MISSING, violations)
    return tuple(None if not cell or cell in words else cell for cell in column.cells)


def _typed(
    column: _Column, cells: tuple[str | None, ...], lines: "array[int]", where: str, findings: Findings
) -> tuple[str, tuple[str | None, ...]]:
    """Return the type of a column and its cells: numeric if it is declared so, or all cells are numbers.

    In a column that is declared numeric, other cells become empty, with a finding for each.
    """
    if column.declared == "categorical":
        return "categorical", cells
    words = [(line, cell) for line, cell in zip(lines, cells, strict=True) if cell and not is_number(cell)]
    location = f"column {column.name!r}"
    if not words:
        codes = [] if column.declared else [cell for cell in cells if cell and is_code(cell)]
        if codes:
            findings.add(
                rules.METADATA_CODES, f"{where}, {location}", f"{len(codes):,} cells, such as {codes[0]}"
            )
        return ("categorical" if codes else "numeric"), cells
    if column.declared == "numeric":
        findings.add_each(
            rules.METADATA_NUMBER, ((f"{where}, line {line}, {location}", repr(cell)) for line, cell in words)
        )
        return "numeric", tuple(cell if cell and is_number(cell) else None for cell in cells)
    if len(words) < sum(map(bool, cells)) and all(_means_missing(cell) for _, cell in words):
        # Numbers, and words that mean a missing value: the column was probably meant to be numeric.
        word, number = Counter(cell for _, cell in words).most_common(1)[0]
        findings.add(rules.METADATA_WORDS, f"{where}, {location}", f"{word!r} in {number:,} cells")
    return "categorical", cells


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number."""
    try:
        # float() also accepts underscores between digits, and digits of other scripts.
        return math.isfinite(float(cell)) and "_" not in cell and cell.isascii()
    except ValueError:
        return False


def is_code(number: str) -> bool:
    """Return whether a number is a code, such as a barcode: float64 would lose digits or leading zeros."""
    whole = _WHOLE.fullmatch(number)
    return whole is not None and (bool(whole[1]) or abs(int(whole[2])) > LARGEST_WHOLE)


def _means_missing(cell: str) -> bool:
    return cell.lower().removeprefix("missing:").strip() in _WORDS_FOR_MISSING
