"""Read and write `metrics.jsonl`, which has one JSON object per line."""

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular
from aam_schemas.common.publish import replace_file
from aam_schemas.common.text import shorten
from aammodel.objectives.registry import loss_defining_keys

METRICS_FILE = "metrics.jsonl"

MOST_LINE_BYTES = 1 << 14
"""Longest line that is read. A line has about 600 bytes."""
MOST_VALUES = 25_000_000
"""Largest number of values in all lines that are read: those of a million steps."""
MOST_STEPS = 10**15
LARGEST = 1e100
"""Largest absolute value of a metric. Losses are below 1e39, and plots cannot show much more than this."""
_FIX = "copy this file again from a backup, or delete this line"

Row = dict[str, float | int | None]

RENAMED_METRICS = {
    "padding_share": "padding_fraction",
    "duplicate_share": "duplicate_fraction",
    "data_wait_share": "data_wait_fraction",
}
"""The key that replaced each key of earlier versions. Old run folders are read under today's keys."""


def append_metrics(run: Path, row: Mapping[str, float | int | None]) -> None:
    """Append a line. Non-finite values are written as null, since JSON has no NaN."""
    finite = {name: value if value is None or math.isfinite(value) else None for name, value in row.items()}
    with (run / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite, allow_nan=False) + "\n")


def read_metrics(run: Path) -> list[Row]:
    """Read all lines. A last line without a line feed is skipped: the run was killed while writing it.

    Raises
    ------
    InvalidDataError
        If a line is damaged or too long, or there are more than `MOST_VALUES` values.
    """
    path = run / METRICS_FILE
    return list(_rows(path)) if os.path.lexists(path) else []


def _rows(path: Path) -> Iterator[Row]:
    num_values = 0
    with open_regular(path) as file:
        for number in count(1):
            line, where = file.readline(MOST_LINE_BYTES), f"{path}, line {number}"
            if not line.endswith(b"\n"):
                if len(line) == MOST_LINE_BYTES:
                    raise InvalidDataError("this line is damaged: it is too long", where, _FIX)
                return
            row = _read_row(line, where)
            num_values += len(row)
            if num_values > MOST_VALUES:
                raise InvalidDataError(
                    f"there are more than {MOST_VALUES:,} values up to here", where, "remove lines before it"
                )
            yield row


def _read_row(line: bytes, where: str) -> Row:
    try:
        # A run can have a million lines. This is as strict as `parse_json`, and several times faster.
        values = json.loads(line, object_pairs_hook=_object)
        if not isinstance(values, dict) or not all(map(_is_number, values.values())):
            raise ValueError("it must be an object of finite numbers below 1e100")
        step = values.get("step")
        if type(step) is not int or not 0 <= step <= MOST_STEPS:
            raise ValueError(f"step must be a number of steps, not {shorten(repr(step))}")
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(f"this line is damaged: {shorten(error)}", where, _FIX) from error
    return values


def _object(pairs: list[tuple[str, Any]]) -> Row:
    # Keys are the same in all lines, so each is stored once.
    row = {sys.intern(RENAMED_METRICS.get(key, key)): value for key, value in pairs}
    if len(row) < len(pairs):
        raise ValueError("it has a key twice")
    return row


def _is_number(value: object) -> bool:
    # NaN is not below any number.
    return value is None or (type(value) in (float, int) and abs(value) <= LARGEST)  # type: ignore[arg-type]


def discard_metrics_after(run: Path, step: int) -> None:
    """Discard the lines after a step, since a resumed run writes them again."""
    rows = [row for row in read_metrics(run) if (row["step"] or 0) <= step]
    replace_file(run / METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows).encode())


def comparable(
    rows: list[Row], changes: list[dict[str, Any]], further: Collection[str] = frozenset()
) -> list[Row]:
    """Return the lines after the last change of a setting that defines the validation loss.

    Parameters
    ----------
    rows : list of Row
    changes : list of dict
        Changes of the configuration, from `config.json`.
    further : collection of str
        Further settings whose changes count.
    """
    keys = loss_defining_keys().union(further)
    since = max((change["until_step"] for change in changes if keys & change["was"].keys()), default=0)
    return [row for row in rows if (row["step"] or 0) > since] if since else rows


def column(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """Return the steps and values of one metric, for the lines that have it."""
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [float(step or 0) for step, _ in known], [float(value or 0) for _, value in known]
