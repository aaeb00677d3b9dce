"""`metrics.jsonl`: one JSON object per line, only ever appended to."""

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


def append_metrics(run: Path, row: Mapping[str, float | int | None]) -> None:
    """Add a line; a number that is not finite is written as null, which JSON has."""
    finite = {name: value if value is None or math.isfinite(value) else None for name, value in row.items()}
    with (run / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite, allow_nan=False) + "\n")


def read_metrics(run: Path) -> list[Row]:
    """Read all lines; a last line that was cut short by a kill is left out.

    Raises
    ------
    InvalidDataError
        Naming a line that is damaged.
    """
    path = run / METRICS_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return [_read_row(line, f"{path}, line {number}") for number, line in enumerate(whole, 1)]


def _read_row(line: bytes, where: str) -> Row:
    try:
        row = dict(json.loads(line))
        row["step"] = int(row["step"])
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidDataError("this line is damaged", where, "remove the line") from error
    return row


def cut_metrics(run: Path, step: int) -> None:
    """Take back the lines after a step, for a run that goes on from its checkpoint."""
    rows = [row for row in read_metrics(run) if (row["step"] or 0) <= step]
    replace_file(run / METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows).encode())


def comparable(rows: list[Row], changes: list[dict[str, Any]]) -> list[Row]:
    """Leave out what came before the validation loss changed its meaning, for the last time.

    Parameters
    ----------
    rows : list of Row
    changes : list of dict
        Those that `config.json` lists.
    """
    keys = loss_defining_keys()
    since = max((change["until_step"] for change in changes if keys & change["was"].keys()), default=0)
    return [row for row in rows if (row["step"] or 0) > since] if since else rows


def column(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """Give the steps and values of one metric, where it is known."""
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [float(step or 0) for step, _ in known], [float(value or 0) for _, value in known]
