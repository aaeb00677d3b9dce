"""What whoever watches a run sees: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from aammodel.distance import METRICS
from aammodel.metrics import Row
from schemas.command import say

SECONDS_BETWEEN_LINES = 20


@dataclass
class Lines:
    """Prints a line every so many seconds, and one for each validation: for logs."""

    _last: float = 0.0
    _begun: tuple[float, float] | None = None

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""
        now, step = time.monotonic(), row["step"] or 0
        self._begun = self._begun or (now, step)
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            rate = (now - self._begun[0]) / max(step - self._begun[1], 1)
            left = f", {_duration(rate * (num_steps - step))} left" if step > self._begun[1] else ""
            say(f"step {step}/{num_steps}: {_losses(row)}, {row['samples_per_second']:.1f} samples/s{left}")

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""
        say(f"step {row['step']}: validation {_losses(row, 'val_')}")

    def close(self) -> None:
        """Leave the terminal as it was."""


@dataclass
class Bar:
    """Shows a bar with losses, speed and the time left, and a line for each validation."""

    _progress: Progress = field(
        default_factory=lambda: Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=Console(stderr=True),
        )
    )
    _task: TaskID | None = None

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("training", total=num_steps, news="")
        news = f"{_losses(row)}, {row['samples_per_second']:.1f} samples/s"
        self._progress.update(self._task, completed=row["step"], news=news)

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""
        self._progress.console.print(
            f"step {row['step']}: validation {_losses(row, 'val_')}", highlight=False
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


class Silence:
    """Says nothing: for all ranks but the main one."""

    def on_step(self, row: Row, num_steps: int) -> None:
        """Say nothing."""

    def on_validation(self, row: Row) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


Watcher = Lines | Bar | Silence


def make_watcher() -> Watcher:
    """Make a bar where stderr is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()


def _losses(row: Row, prefix: str = "") -> str:
    words = {"nucleotide": "bases"} | {name: metric.words for name, metric in METRICS.items()}
    values = {word: row.get(f"{prefix}{name}_loss") for name, word in words.items()}
    parts = [f"{word} {value:.4f}" for word, value in values.items() if value is not None]
    return f"loss {row[f'{prefix}loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
