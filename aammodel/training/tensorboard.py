"""A run's metrics as TensorBoard events, in `tensorboard/` of its folder.

Each line of `metrics.jsonl` becomes one event, on the disk at once. A run that goes on says so in a new file,
and TensorBoard then leaves out what the old ones have from that step on.
"""

import math
import os
import time
from pathlib import Path
from typing import BinaryIO

from aammodel.runs.metrics_log import Row

FOLDER = "tensorboard"
_SPEED = ("second", "share", "memory")


class Events:
    """Writes every row; the file is opened with the first one.

    Parameters
    ----------
    run : Path
        The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._file: BinaryIO | None = None

    def on_step(self, row: Row, num_steps: int) -> None:
        """Write the figures of a step."""
        self._write(row)

    def on_validation(self, row: Row) -> None:
        """Write the figures of a validation."""
        self._write(row)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _write(self, row: Row) -> None:
        # Loaded here, since only a run that trains needs it.
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
        # TensorBoard reads files in the order of their names.
        name = f"events.out.tfevents.{time.time_ns():020d}.{os.uname().nodename}"
        self._file = (self._folder / name).open("ab")
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._append(Event(wall_time=time.time(), step=step, session_log=start))

    def _append(self, event: object) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file:
            RecordWriter(self._file).write(event.SerializeToString())  # type: ignore[attr-defined]
            self._file.flush()


def _tag(name: str) -> str:
    """Group metrics as they are shown: training, validation, speed."""
    if any(one in name for one in _SPEED):
        return f"speed/{name}"
    return f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"training/{name}"
