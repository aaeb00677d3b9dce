"""Sample metadata: tab-separated text by QIIME 2's rules (https://docs.qiime2.org/2024.10/tutorials/metadata/).

Rows that are empty or begin with `#` are comments; `#q2:types` and `#q2:missing` are directives. Cells lose
blanks at both ends, and trailing empty cells do not count. Ids are text, always: read as a number, an id such
as 2538.1001130 or 15e38 becomes another one.
"""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass, field

from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_ID_HEADERS = {"id", "sampleid", "sample id", "sample-id", "featureid", "feature id", "feature-id"}
_EXACT_ID_HEADERS = {"#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name"}
_TYPES = {"categorical", "numeric"}
_SCHEMES = {"blank", "no-missing", "INSDC:missing"}
_INSDC = {"not applicable", "missing", "not collected", "not provided", "restricted access"}
_WORDS_FOR_MISSING = _INSDC | {"na", "n/a", "nan", "none", "null", "unknown", "unspecified", "not available"}

Row = tuple[int, list[str]]
"""Line of the file, and its cells."""
Parsed = tuple[tuple[str, ...], dict[str, tuple[str | None, ...]], dict[str, str]]


@dataclass
class _Column:
    """A column as it is read."""

    name: str
    position: int
    declared: str = ""
    scheme: str = "blank"
    cells: list[str] = field(default_factory=list)


def parse_metadata(text: str, where: str, findings: Findings) -> Parsed:
    """Parse metadata; every problem is a finding, with its line and column.

    Returns
    -------
    ids : tuple of str
    columns : dict of str to tuple of (str or None)
        Cells as text, None where missing, in the order of `ids`.
    types : dict of str to str
        numeric or categorical.

    Raises
    ------
    RefusedError
        If there is no table to be read.
    """
    rows = _read_rows(text, where)
    start = _find_header(rows, where)
    line, header = rows[start]
    _check_id_header(header[0], f"{where}, line {line}", findings)
    columns = _columns(header, f"{where}, line {line}", findings)
    data = _directives(rows[start + 1 :], columns, len(header), where, findings)
    ids, lines = _ids_and_cells(data, columns, len(header), where, findings)
    if not ids:
        raise RefusedError(rules.METADATA_EMPTY, where, "no rows after the header")

    types: dict[str, str] = {}
    cells: dict[str, tuple[str | None, ...]] = {}
    for column in columns:
        cells[column.name] = _without_missing(column, lines, where, findings)
        types[column.name] = _type_of(column, cells[column.name], lines, where, findings)
    return tuple(ids), cells, types


def is_id_header(cell: str) -> bool:
    """Tell whether QIIME 2 takes a cell for the header of the id column."""
    return cell in _EXACT_ID_HEADERS or cell.lower() in _ID_HEADERS


def _read_rows(text: str, where: str) -> list[Row]:
    """Give all rows that hold anything, blanks stripped, trailing empty cells left out."""
    reader = csv.reader(io.StringIO(text, newline=None), dialect="excel-tab", strict=True)
    rows: list[Row] = []
    line = 1
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise RefusedError(rules.METADATA_FORMAT, f"{where}, line {line}", error) from None
    return rows


def _find_header(rows: list[Row], where: str) -> int:
    """Find the header: the first row with an id header, else the first row that is no comment."""
    first_plain = next((i for i, (_, cells) in enumerate(rows) if not cells[0].startswith("#")), len(rows))
    for position, (_, cells) in enumerate(rows[: first_plain + 1]):
        if is_id_header(cells[0]):
            return position
    if first_plain == len(rows):
        raise RefusedError(rules.METADATA_EMPTY, where, "no header")
    before = rows[first_plain - 1][1] if first_plain else []
    is_header = len(before) > 1 and len(before) == len(rows[first_plain][1]) and before[0][:4] != "#q2:"
    position = first_plain - 1 if is_header else first_plain
    line, cells = rows[position]
    if len(cells) == 1 and "," in cells[0]:
        raise RefusedError(rules.METADATA_FORMAT, f"{where}, line {line}", "cells are separated by commas")
    return position


def _check_id_header(cell: str, where: str, findings: Findings) -> None:
    if not is_id_header(cell):
        findings.add(rules.METADATA_ID_HEADER, where, repr(cell))


def _columns(header: list[str], where: str, findings: Findings) -> list[_Column]:
    columns: dict[str, _Column] = {}
    for position, name in enumerate(header[1:], start=1):
        place = f"{where}, column {position + 1}"
        if not name:
            findings.add(rules.METADATA_COLUMN_EMPTY, place)
        elif name in columns:
            first = columns[name].position + 1
            findings.add(rules.METADATA_COLUMN_DUPLICATE, place, f"{name!r}, first in column {first}")
        else:
            if is_id_header(name):
                findings.add(rules.METADATA_COLUMN_RESERVED, place, repr(name))
            columns[name] = _Column(name, position)
    return list(columns.values())


def _directives(
    rows: list[Row], columns: list[_Column], width: int, where: str, findings: Findings
) -> list[Row]:
    """Apply the directives between header and data; give the rows of data."""
    data: list[Row] = []
    seen: set[str] = set()
    for line, cells in rows:
        place = f"{where}, line {line}"
        if not cells[0].startswith("#"):
            data.append((line, cells))
        elif cells[0].startswith(("#q2:", "#sk:")):  # QIIME 2's and scikit-bio's spelling
            cells[0] = cells[0].replace("#sk:", "#q2:")
            if cells[0] not in ("#q2:types", "#q2:missing"):
                findings.add(rules.METADATA_DIRECTIVE, place, f"{cells[0]!r} is no directive")
            elif cells[0] in seen or data:
                problem = "is there twice" if cells[0] in seen else "comes after the first sample"
                findings.add(rules.METADATA_DIRECTIVE, place, f"{cells[0]} {problem}")
            else:
                seen.add(cells[0])
                _apply(cells, columns, width, place, findings)
    return data


def _apply(cells: list[str], columns: list[_Column], width: int, where: str, findings: Findings) -> None:
    if len(cells) > width:
        findings.add(rules.METADATA_ROW_LENGTH, where, f"{len(cells)} cells, but {width} columns")
    for column in columns:
        word = cells[column.position] if column.position < len(cells) else ""
        if cells[0] == "#q2:types" and word.lower() in _TYPES:
            column.declared = word.lower()
        elif cells[0] == "#q2:missing" and word in _SCHEMES:
            column.scheme = word
        elif word:
            findings.add(rules.METADATA_DIRECTIVE, f"{where}, column {column.name!r}", repr(word))


def _ids_and_cells(
    rows: list[Row], columns: list[_Column], width: int, where: str, findings: Findings
) -> tuple[list[str], list[int]]:
    """Sort the cells of valid rows into columns; give the ids and the lines that they stand in."""
    first_line: dict[str, int] = {}
    for line, cells in rows:
        place, one = f"{where}, line {line}", cells[0]
        if len(cells) > width:
            findings.add(rules.METADATA_ROW_LENGTH, place, f"{len(cells)} cells, but {width} columns")
        if not one:
            findings.add(rules.METADATA_ID_EMPTY, place)
        elif is_id_header(one):
            findings.add(rules.METADATA_ID_RESERVED, place, repr(one))
        elif one in first_line:
            findings.add(rules.METADATA_ID_DUPLICATE, place, f"{one!r}, first in line {first_line[one]}")
        else:
            first_line[one] = line
            for column in columns:
                column.cells.append(cells[column.position] if column.position < len(cells) else "")
    return list(first_line), list(first_line.values())


def _without_missing(
    column: _Column, lines: list[int], where: str, findings: Findings
) -> tuple[str | None, ...]:
    """Put None where a cell is missing, by the scheme that the column declares."""
    words = _INSDC if column.scheme == "INSDC:missing" else set()
    if column.scheme == "no-missing":
        empty = [line for line, cell in zip(lines, column.cells, strict=True) if not cell]
        places = ((f"{where}, line {line}, column {column.name!r}", "") for line in empty)
        findings.add_each(rules.METADATA_NOT_MISSING, places)
    return tuple(None if not cell or cell in words else cell for cell in column.cells)


def _type_of(
    column: _Column, cells: tuple[str | None, ...], lines: list[int], where: str, findings: Findings
) -> str:
    """Take the declared type, or infer it: numeric where every given cell is a finite number."""
    if column.declared == "categorical":
        return "categorical"
    wrong = [(line, cell) for line, cell in zip(lines, cells, strict=True) if cell and not is_number(cell)]
    if not wrong:
        return "numeric"
    place = f"column {column.name!r}"
    if column.declared == "numeric":
        findings.add_each(
            rules.METADATA_NUMBER, ((f"{where}, line {line}, {place}", repr(cell)) for line, cell in wrong)
        )
    elif len(wrong) < sum(cell is not None for cell in cells) and all(_is_missing(cell) for _, cell in wrong):
        word, number = Counter(cell for _, cell in wrong).most_common(1)[0]
        findings.add(rules.METADATA_WORDS, f"{where}, {place}", f"{word!r} in {number:,} cells")
    return "categorical"


def is_number(cell: str) -> bool:
    """Tell whether a cell is a finite number, as people write them."""
    try:
        return math.isfinite(float(cell)) and "_" not in cell and cell.isascii()
    except ValueError:
        return False


def _is_missing(cell: str) -> bool:
    return cell.lower().removeprefix("missing:").strip() in _WORDS_FOR_MISSING
