"""Metrics of a run as TensorBoard events, in the folder `tensorboard/` of the run.

Each line of `metrics.jsonl` becomes an event, which is written to disk at once. A resumed run writes a new
file that begins with its first step. TensorBoard then ignores later steps in the older files.
"""

import math
import os
import time
from pathlib import Path
from typing import BinaryIO

from aammodel.runs.metrics_log import Row

FOLDER = "tensorboard"
_SPEED = ("second", "fraction", "memory")
"""Parts of the names of metrics that TensorBoard shows in the group "speed"."""


class Events:
    """Writes each row of metrics as an event. The file is opened at the first row.

    Parameters
    ----------
    run : Path
        The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._file: BinaryIO | None = None

    def on_step(self, row: Row, num_steps: int) -> None:
        """Write the metrics of a step."""
        self._write(row)

    def on_validation(self, row: Row) -> None:
        """Write the metrics of a validation."""
        self._write(row)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _write(self, row: Row) -> None:
        # Importing tensorboard takes long, and only a run in training needs it.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        step = int(row["step"] or 0)
        if self._file is None:
            self._begin(step)
        known = {name: value for name, value in row.items() if value is not None and name != "step"}
        values = [
            Summary.Value(tag=_tag(name), simple_value=value)
            for name, value in known.items()
            if math.isfinite(value)
        ]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _begin(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._folder.mkdir(exist_ok=True)
        # TensorBoard reads files in the order of their names, so the name begins with the time.
        name = f"events.out.tfevents.{time.time_ns():020d}.{os.uname().nodename}"
        self._file = (self._folder / name).open("ab")
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # This event makes TensorBoard discard the steps of older files from this step on.
        begins = SessionLog(status=SessionLog.START)
        self._append(Event(wall_time=time.time(), step=step, session_log=begins))

    def _append(self, event: object) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file:
            RecordWriter(self._file).write(event.SerializeToString())  # type: ignore[attr-defined]
            self._file.flush()


def _tag(name: str) -> str:
    """Return the tag of a metric. TensorBoard groups by its first part: training, validation or speed."""
    if any(part in name for part in _SPEED):
        return f"speed/{name}"
    return f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"training/{name}"
