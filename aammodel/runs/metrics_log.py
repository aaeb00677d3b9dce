"""Read and write `metrics.jsonl`, which has one JSON object per line."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.publish import replace_file
from aammodel.objectives.registry import loss_defining_keys

METRICS_FILE = "metrics.jsonl"

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
        If a line is damaged.
    """
    path = run / METRICS_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    complete = [line for line in lines if line.endswith(b"\n")]
    return [_read_row(line, f"{path}, line {number}") for number, line in enumerate(complete, 1)]


def _read_row(line: bytes, where: str) -> Row:
    try:
        stored: dict[str, Any] = dict(json.loads(line))
        row = {RENAMED_METRICS.get(key, key): value for key, value in stored.items()}
        row["step"] = int(row["step"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidDataError("this line is damaged", where, "remove the line") from error
    return row


def discard_metrics_after(run: Path, step: int) -> None:
    """Discard the lines after a step, since a resumed run writes them again."""
    rows = [row for row in read_metrics(run) if (row["step"] or 0) <= step]
    replace_file(run / METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows).encode())


def comparable(rows: list[Row], changes: list[dict[str, Any]]) -> list[Row]:
    """Return the lines after the last change of a setting that defines the validation loss.

    Parameters
    ----------
    rows : list of Row
    changes : list of dict
        Changes of the configuration, from `config.json`.
    """
    keys = loss_defining_keys()
    since = max((change["until_step"] for change in changes if keys & change["was"].keys()), default=0)
    return [row for row in rows if (row["step"] or 0) > since] if since else rows


def column(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """Return the steps and values of one metric, for the lines that have it."""
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [float(step or 0) for step, _ in known], [float(value or 0) for _, value in known]
