"""BIOM 1.0 in JSON (https://biom-format.org/documentation/format_versions/biom-1.0.html).

Languages write the same table in different ways, and all of them are read. R's jsonlite puts each single
value into a list (`"id": ["S1"]`), or takes values out of lists of one (a table of one sample:
`"data": [12, 0]`), and writes whole numbers as 1.0. MetaPhlAn has whole numbers as ids.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.text import shorten
from aamprep.arrays import LARGEST_COUNT
from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids, refuse_too_many
from aamprep.read.source import RefusedError, decode_text
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_KEYS = ("id", "format", "format_url", "type", "generated_by", "date", "matrix_type", "matrix_element_type")
"""Keys that the format requires, but that are not needed to read a table."""
_DATA_KEYS = {"rows", "columns", "data", "shape", "matrix_type", "id"}
"""Keys that must not occur twice in an object. Others are not read."""

_Entries = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Feature, sample and count of entries."""


def spool_json(path: Path, folder: Path, where: str, findings: Findings) -> None:
    """Read a BIOM 1.0 table and write its arrays to a folder.

    Parameters
    ----------
    path : Path
        JSON file, not compressed.
    folder : Path
        Empty folder for the arrays.
    where : str
        Path of the file as given by the user, for findings.
    findings : Findings

    Raises
    ------
    RefusedError
        If nothing in the table can be used.
    """
    document = _parse(decode_text(path.read_bytes(), where), where)
    for key in _KEYS:
        if key not in document:
            findings.add(rules.BIOM_JSON_KEY, where, f"{key!r} is missing")
    features = _ids(document, "rows", "feature", where, findings)
    samples = _ids(document, "columns", "sample", where, findings)
    refuse_too_many(len(samples), len(features), where)
    feature, sample, count = _entries(document, len(features), len(samples), where)
    _check_shape(document.get("shape"), [len(features), len(samples)], where, findings)

    # The file is sorted by feature or not at all. A stable sort keeps the order of entries within a sample.
    order = np.argsort(sample, kind="stable")
    sizes = np.bincount(sample, minlength=len(samples))
    writer = TableWriter(folder, samples, features, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    for start in range(0, len(order), SLICE):
        entries = order[start : start + SLICE]
        writer.write(feature[entries], count[entries])
    writer.finish(where, findings)


def _parse(text: str, where: str) -> dict[str, Any]:
    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs if name in _DATA_KEYS)
            name, times = max(counts.items(), key=lambda item: item[1], default=("", 0))
        if len(found) < len(pairs) and times > 1:
            raise RefusedError(rules.FILE_AMBIGUOUS, where, f"key {shorten(repr(name))} {times} times")
        return found

    try:
        document = json.loads(text, object_pairs_hook=as_dict)
    except (ValueError, RecursionError) as error:
        raise RefusedError(rules.FILE_UNREADABLE, where, f"JSON: {error}") from None
    if not isinstance(document, dict):
        raise RefusedError(rules.FILE_KIND, where, "JSON that is not a BIOM table")
    return document


def _ids(document: dict[str, Any], key: str, kind: str, where: str, findings: Findings) -> list[str]:
    ids: list[str] = []
    for index, row in enumerate(_list(document, key, where)):
        value = _unboxed(row.get("id")) if isinstance(row, dict) else None
        name = _as_id(value)
        if name is None or not _is_utf8(name):
            raise RefusedError(rules.ID_NOT_TEXT, f"{where}, {key}[{index}]", shorten(repr(value), 60))
        ids.append(name)
    check_ids(ids, kind, where, findings)
    return ids


def _unboxed(value: Any) -> Any:
    """Return the item of a list of one, and any other value unchanged."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _as_id(value: Any) -> str | None:
    """Return an id as text: text, or a whole number. None for any other value."""
    if type(value) is float and value.is_integer() and abs(value) <= LARGEST_COUNT:
        value = int(value)
    return str(value) if type(value) in (str, int) else None


def _is_utf8(text: str) -> bool:
    """Return whether text can be encoded. JSON can contain half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_shape(declared: Any, actual: list[int], where: str, findings: Findings) -> None:
    parts = [_unboxed(part) for part in declared] if isinstance(declared, list) else []
    if not parts or not all(type(part) in (int, float) for part in parts):
        value = "'shape' is missing" if declared is None else f"'shape' is {shorten(repr(declared), 60)}"
        findings.add(rules.BIOM_JSON_KEY, where, value)
    elif parts != actual:
        value = f"{shorten(parts, 60)}; there are {actual[0]} features and {actual[1]} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, shape", value)


def _entries(document: dict[str, Any], num_features: int, num_samples: int, where: str) -> _Entries:
    """Return the feature, sample and count of every entry."""
    data = _list(document, "data", where)
    kind = _unboxed(document.get("matrix_type")) or _guess_type(data, num_features, num_samples)
    name = kind.strip().lower() if isinstance(kind, str) else kind
    if name == "dense":
        return _dense(data, num_features, num_samples, where)
    if name == "sparse":
        return _sparse(data, num_features, num_samples, where)
    raise RefusedError(
        rules.BIOM_TYPE, f"{where}, matrix_type", f"{shorten(repr(kind), 60)}; must be sparse or dense"
    )


def _guess_type(data: list[Any], num_features: int, num_samples: int) -> str | None:
    """Return sparse or dense if the data can be only one of them, else None.

    A sparse entry is a list of three numbers: feature, sample and count.
    """
    lengths = {len(row) if isinstance(row, list) else 0 for row in data}
    possible = []
    if lengths == {3} and all(
        _is_index(row[0], num_features) and _is_index(row[1], num_samples) for row in data
    ):
        possible.append("sparse")
    if lengths == {num_samples} and len(data) == num_features:
        possible.append("dense")
    return possible[0] if len(possible) == 1 else None


def _is_index(value: Any, size: int) -> bool:
    return type(value) in (int, float) and 0 <= value < size and float(value).is_integer()


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    items = document.get(key)
    if not isinstance(items, list):
        value = "missing" if items is None else "not a list"
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {key}", value)
    return items


def _dense(data: list[Any], num_features: int, num_samples: int, where: str) -> _Entries:
    data = _with_rows(data, num_features, num_samples)
    if len(data) != num_features:
        raise RefusedError(rules.BIOM_LENGTH, f"{where}, data", f"{len(data)} rows for {num_features} ids")
    for row, values in enumerate(data):
        if not isinstance(values, list) or len(values) != num_samples:
            number = len(values) if isinstance(values, list) else "no"
            value = f"{number} values for {num_samples} ids"
            raise RefusedError(rules.BIOM_LENGTH, f"{where}, data[{row}]", value)
    counts = _numbers([value for values in data for value in values], f"{where}, data")
    entries = np.flatnonzero(counts != 0)
    return entries // max(num_samples, 1), entries % max(num_samples, 1), counts[entries]


def _with_rows(data: list[Any], num_features: int, num_samples: int) -> list[Any]:
    """Return the data of one sample or one feature with a list for each feature, as R leaves it out."""
    if any(isinstance(row, list) for row in data):
        return data
    if num_samples == 1:
        return [[value] for value in data]
    return [data] if num_features == 1 else data


def _sparse(data: list[Any], num_features: int, num_samples: int, where: str) -> _Entries:
    for position, entry in enumerate(data):
        if not isinstance(entry, list) or len(entry) != 3:
            value = f"{shorten(repr(entry), 60)}; a list of row, column and count is needed"
            raise RefusedError(rules.BIOM_LENGTH, f"{where}, data[{position}]", value)
    feature = _indices([entry[0] for entry in data], num_features, where, "row")
    sample = _indices([entry[1] for entry in data], num_samples, where, "column")
    return feature, sample, _numbers([entry[2] for entry in data], f"{where}, data")


def _indices(values: list[Any], size: int, where: str, part: str) -> npt.NDArray[np.int64]:
    for position, boxed in enumerate(values):
        values[position] = value = _unboxed(boxed)
        is_whole = type(value) is int or (type(value) is float and value.is_integer())
        if not is_whole:
            raise RefusedError(
                rules.BIOM_TYPE, f"{where}, data[{position}], {part}", shorten(repr(value), 60)
            )
        if not 0 <= value < size:
            problem = f"{shorten(value, 60)}; must be between 0 and {size - 1}"
            raise RefusedError(rules.BIOM_INDEX, f"{where}, data[{position}], {part}", problem)
    return np.array(values, dtype=np.int64)


def _numbers(values: list[Any], where: str) -> npt.NDArray[np.float64]:
    """Check that all values are numbers, and return them as counts."""
    for position, boxed in enumerate(values):
        values[position] = value = _unboxed(boxed)
        # Not isinstance: true and false are instances of int.
        if type(value) is not int and type(value) is not float:
            raise RefusedError(rules.BIOM_TYPE, f"{where}, value {position + 1}", shorten(repr(value), 60))
    # Integers are compared with 2^53 before they are rounded. Integers beyond 64 bits are clipped: they are
    # reported as too large in any case.
    exact = [max(min(value, 1 << 62), -(1 << 62)) if type(value) is int else value for value in values]
    if all(type(value) is int for value in exact):
        return as_counts(np.array(exact, dtype=np.int64))
    return np.array(exact, dtype=np.float64)
