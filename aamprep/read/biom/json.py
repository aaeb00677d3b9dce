"""BIOM 1.0: JSON (https://biom-format.org/documentation/format_versions/biom-1.0.html)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids
from aamprep.read.source import RefusedError, text_of
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_KEYS = ("id", "format", "format_url", "type", "generated_by", "date", "matrix_type", "matrix_element_type")
"""Mandatory keys without which a table can still be read."""


def spool_json(path: Path, folder: Path, where: str, findings: Findings) -> None:
    """Read a BIOM 1.0 table into a folder.

    Parameters
    ----------
    path : Path
        A JSON file, not compressed.
    folder : Path
        Where the arrays go.
    where : str
        The file as the user named it, for findings.

    Raises
    ------
    RefusedError
        If nothing of the table can be used.
    """
    document = _parse(text_of(path.read_bytes(), where), where)
    for key in _KEYS:
        if key not in document:
            findings.add(rules.BIOM_JSON_KEY, where, f"{key!r} is missing")
    features = _ids(document, "rows", "feature", where, findings)
    samples = _ids(document, "columns", "sample", where, findings)
    feature, sample, count = _entries(document, len(features), len(samples), where)
    if document.get("shape") != [len(features), len(samples)]:
        value = f"{document.get('shape')}; there are {len(features)} features and {len(samples)} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, shape", value)

    order = np.argsort(sample, kind="stable")
    sizes = np.bincount(sample, minlength=len(samples))
    writer = TableWriter(folder, samples, features, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    for start in range(0, len(order), SLICE):
        entries = order[start : start + SLICE]
        writer.write(feature[entries], count[entries])
    writer.finish(where, findings)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(rules.FILE_UNREADABLE, where, f"JSON: {error}") from None
    if not isinstance(document, dict):
        raise RefusedError(rules.FILE_KIND, where, "JSON that is no BIOM table")
    return document


def _ids(document: dict[str, Any], key: str, kind: str, where: str, findings: Findings) -> list[str]:
    ids: list[str] = []
    for position, row in enumerate(_list(document, key, where)):
        one = row.get("id") if isinstance(row, dict) else None
        if not isinstance(one, str) or not _is_utf8(one):
            raise RefusedError(rules.ID_NOT_TEXT, f"{where}, {key}[{position}]", repr(one)[:60])
        ids.append(one)
    check_ids(ids, kind, where, findings)
    return ids


def _is_utf8(text: str) -> bool:
    """JSON may escape half of a surrogate pair, which no encoding can write."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _entries(
    document: dict[str, Any], num_features: int, num_samples: int, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Give feature, sample and count of every entry."""
    data = _list(document, "data", where)
    kind = document.get("matrix_type", _guess_type(data, num_samples))
    if kind == "dense":
        return _dense(data, num_features, num_samples, where)
    if kind == "sparse":
        return _sparse(data, num_features, num_samples, where)
    raise RefusedError(rules.BIOM_TYPE, f"{where}, matrix_type", f"{kind!r}; sparse or dense are allowed")


def _guess_type(data: list[Any], num_samples: int) -> str | None:
    """Tell sparse from dense by the length of the rows, where the file does not say and it is plain."""
    lengths = {len(row) for row in data if isinstance(row, list)}
    if num_samples == 3 or len(lengths) != 1:
        return None
    return {3: "sparse", num_samples: "dense"}.get(lengths.pop())


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        value = "missing" if found is None else "no list"
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {key}", value)
    return found


def _dense(
    data: list[Any], num_features: int, num_samples: int, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
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


def _sparse(
    data: list[Any], num_features: int, num_samples: int, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    for position, entry in enumerate(data):
        if not isinstance(entry, list) or len(entry) != 3:
            value = f"{repr(entry)[:60]}; a list of row, column and count is needed"
            raise RefusedError(rules.BIOM_LENGTH, f"{where}, data[{position}]", value)
    feature = _indices([entry[0] for entry in data], num_features, where, "row")
    sample = _indices([entry[1] for entry in data], num_samples, where, "column")
    return feature, sample, _numbers([entry[2] for entry in data], f"{where}, data")


def _indices(values: list[Any], size: int, where: str, part: str) -> npt.NDArray[np.int64]:
    for position, value in enumerate(values):
        if type(value) is not int:
            raise RefusedError(rules.BIOM_TYPE, f"{where}, data[{position}], {part}", repr(value)[:60])
        if not 0 <= value < size:
            allowed = f"{value}; allowed are 0 to {size - 1}"
            raise RefusedError(rules.BIOM_INDEX, f"{where}, data[{position}], {part}", allowed)
    return np.array(values, dtype=np.int64)


def _numbers(values: list[Any], where: str) -> npt.NDArray[np.float64]:
    """Check that values are numbers; Python's own numbers, since true is not a count."""
    for position, value in enumerate(values):
        if type(value) is not int and type(value) is not float:
            raise RefusedError(rules.BIOM_TYPE, f"{where}, value {position + 1}", repr(value)[:60])
    # Whole numbers are held against 2^53 before they are rounded; one beyond 64 bits is too large anyway.
    exact = [max(min(value, 1 << 62), -(1 << 62)) if type(value) is int else value for value in values]
    if all(type(value) is int for value in exact):
        return as_counts(np.array(exact, dtype=np.int64))
    return np.array(exact, dtype=np.float64)
