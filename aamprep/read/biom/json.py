"""BIOM 1.0 in JSON (https://biom-format.org/documentation/format_versions/biom-1.0.html)."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.text import shorten
from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids, refuse_too_many
from aamprep.read.source import RefusedError, decode_text
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_KEYS = ("id", "format", "format_url", "type", "generated_by", "date", "matrix_type", "matrix_element_type")
"""Keys that the format requires, but that are not needed to read a table."""


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
    if document.get("shape") != [len(features), len(samples)]:
        value = f"{document.get('shape')}; there are {len(features)} features and {len(samples)} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, shape", value)

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
            name, times = Counter(name for name, _ in pairs).most_common(1)[0]
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
        name = row.get("id") if isinstance(row, dict) else None
        if not isinstance(name, str) or not _is_utf8(name):
            raise RefusedError(rules.ID_NOT_TEXT, f"{where}, {key}[{index}]", shorten(repr(name), 60))
        ids.append(name)
    check_ids(ids, kind, where, findings)
    return ids


def _is_utf8(text: str) -> bool:
    """Return whether text can be encoded. JSON can contain half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entries(
    document: dict[str, Any], num_features: int, num_samples: int, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the feature, sample and count of every entry."""
    data = _list(document, "data", where)
    kind = document.get("matrix_type", _guess_type(data, num_samples))
    if kind == "dense":
        return _dense(data, num_features, num_samples, where)
    if kind == "sparse":
        return _sparse(data, num_features, num_samples, where)
    raise RefusedError(rules.BIOM_TYPE, f"{where}, matrix_type", f"{kind!r}; must be sparse or dense")


def _guess_type(data: list[Any], num_samples: int) -> str | None:
    """Return sparse or dense from the length of the rows, or None if it is ambiguous.

    A sparse entry is a list of three numbers: feature, sample and count.
    """
    lengths = {len(row) for row in data if isinstance(row, list)}
    if num_samples == 3 or len(lengths) != 1:
        return None
    return {3: "sparse", num_samples: "dense"}.get(lengths.pop())


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    items = document.get(key)
    if not isinstance(items, list):
        value = "missing" if items is None else "not a list"
        raise RefusedError(rules.BIOM_PART_MISSING, f"{where}, {key}", value)
    return items


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
            value = f"{shorten(repr(entry), 60)}; a list of row, column and count is needed"
            raise RefusedError(rules.BIOM_LENGTH, f"{where}, data[{position}]", value)
    feature = _indices([entry[0] for entry in data], num_features, where, "row")
    sample = _indices([entry[1] for entry in data], num_samples, where, "column")
    return feature, sample, _numbers([entry[2] for entry in data], f"{where}, data")


def _indices(values: list[Any], size: int, where: str, part: str) -> npt.NDArray[np.int64]:
    for position, value in enumerate(values):
        if type(value) is not int:
            raise RefusedError(
                rules.BIOM_TYPE, f"{where}, data[{position}], {part}", shorten(repr(value), 60)
            )
        if not 0 <= value < size:
            problem = f"{shorten(value, 60)}; must be between 0 and {size - 1}"
            raise RefusedError(rules.BIOM_INDEX, f"{where}, data[{position}], {part}", problem)
    return np.array(values, dtype=np.int64)


def _numbers(values: list[Any], where: str) -> npt.NDArray[np.float64]:
    """Check that all values are numbers, and return them as counts."""
    for position, value in enumerate(values):
        # Not isinstance: true and false are instances of int.
        if type(value) is not int and type(value) is not float:
            raise RefusedError(rules.BIOM_TYPE, f"{where}, value {position + 1}", shorten(repr(value), 60))
    # Integers are compared with 2^53 before they are rounded. Integers beyond 64 bits are clipped: they are
    # reported as too large in any case.
    exact = [max(min(value, 1 << 62), -(1 << 62)) if type(value) is int else value for value in values]
    if all(type(value) is int for value in exact):
        return as_counts(np.array(exact, dtype=np.int64))
    return np.array(exact, dtype=np.float64)
