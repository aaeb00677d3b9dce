"""Metrics are read back as they were written, and any damaged line is refused by its number."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import InvalidDataError
from aammodel.runs.metrics_log import MOST_LINE_BYTES, append_metrics, read_metrics

VALUES = st.none() | st.floats(-1e100, 1e100) | st.just(math.nan) | st.integers(-(2**63), 2**63)
ROWS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=5).map(lambda row: row | {"step": 3}))
BROKEN = {
    "NaN": '{"step": 1, "loss": NaN}',
    "infinity": '{"step": 1, "loss": -Infinity}',
    "too large": '{"step": 1, "loss": 1e999}',
    "huge integer": '{"step": 1, "loss": ' + "9" * 5000 + "}",
    "beyond any loss": '{"step": 1, "loss": 1e101}',
    "text": '{"step": 1, "loss": "0.1"}',
    "true": '{"step": 1, "loss": true}',
    "list": '{"step": 1, "loss": [1]}',
    "twice": '{"step": 1, "step": 2}',
    "both names": '{"step": 1, "padding_share": 1, "padding_fraction": 2}',
    "no step": '{"loss": 1}',
    "step is a float": '{"step": 1.0}',
    "negative step": '{"step": -1}',
    "no object": "[1]",
    "nested": "[" * 5000,
    "nested objects": '{"a":' * 2000,
    "not UTF-8": '{"step": 1, "\udcff": 1}',
    "two objects": '{"step": 1} {"step": 2}',
    "empty": "",
    "too long": '{"step": 1, "a": ' + " " * MOST_LINE_BYTES + "1}",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS)
def test_rows_are_read_back(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "metrics.jsonl").unlink(missing_ok=True)
    for row in rows:
        append_metrics(tmp_path, row)
    expected = [{name: _stored(value) for name, value in row.items()} for row in rows]
    assert read_metrics(tmp_path) == expected


def _stored(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_damaged_line_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(f'{{"step": 0}}\n{line}\n'.encode(errors="surrogateescape"))
    with pytest.raises(InvalidDataError, match="this line is damaged") as raised:
        read_metrics(tmp_path)
    assert raised.value.where == f"{path}, line 2"
    assert len(str(raised.value)) < 600 + len(str(path))


def test_a_file_without_line_feeds_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidDataError, match="too long"):
        read_metrics(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(InvalidDataError, match="a pipe"):
        read_metrics(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(alphabet='{}[]":,0123456789eE+-.NaIstep\n\\ud8')))
def test_any_text_is_read_or_refused(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    try:
        rows = read_metrics(tmp_path)
    except InvalidDataError as error:
        assert "metrics.jsonl, line" in error.where  # noqa: PT017 - the text may also be valid
        return
    json.dumps(rows, allow_nan=False)
