"""What whoever watches a run sees: a bar in a terminal, a line now and then elsewhere; and TensorBoard."""

import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from aammodel.objectives.registry import loss_labels
from aammodel.runs.metrics_log import Row
from aammodel.training.notebook import NotebookBar, in_notebook
from aammodel.training.tensorboard import Events

SECONDS_BETWEEN_LINES = 20

_LOGGER = logging.getLogger(__name__)


class Watcher(Protocol):
    """Whatever is told about a run while it trains."""

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""

    def close(self) -> None:
        """Leave everything in order; nothing comes after."""


@dataclass
class Lines:
    """Log a line every `SECONDS_BETWEEN_LINES` seconds, and one for each validation."""

    _last: float = 0.0

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            _LOGGER.info("%s", describe_step(row, num_steps))

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""
        _LOGGER.info("%s", describe_validation(row))

    def close(self) -> None:
        """Leave the terminal as it was."""


@dataclass
class Bar:
    """Shows a bar with losses, speed and the time left, and a line for each validation."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    _live: Live | None = None
    _task: TaskID | None = None

    def __post_init__(self) -> None:
        left = TextColumn("{task.fields[left]}")
        self._progress = Progress(BarColumn(), MofNCompleteColumn(), left, console=self.console)

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""
        if self._live is None or self._task is None:
            self._task = self._progress.add_task("training", total=num_steps, left="")
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        *figures, left = _figures(row)
        self._progress.update(self._task, completed=row["step"], left=left)
        told = Text(f"{_losses(row)}\n{', '.join(figures)}", style="dim")
        self._live.update(Group(self._progress, told), refresh=True)

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""
        self.console.print(describe_validation(row), highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()


class Silence:
    """Says nothing: for all ranks but the main one."""

    def on_step(self, row: Row, num_steps: int) -> None:
        """Say nothing."""

    def on_validation(self, row: Row) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


@dataclass
class Several:
    """Tells several watchers."""

    watchers: tuple[Watcher, ...]

    def on_step(self, row: Row, num_steps: int) -> None:
        """Tell about a step."""
        for one in self.watchers:
            one.on_step(row, num_steps)

    def on_validation(self, row: Row) -> None:
        """Tell about a validation."""
        for one in self.watchers:
            one.on_validation(row)

    def close(self) -> None:
        """Let all come to their end."""
        for one in self.watchers:
            one.close()


def make_watcher(run: Path) -> Watcher:
    """Return what shows a run: a bar in a terminal or notebook, else lines; and TensorBoard events."""
    shown: Watcher = Lines()
    if in_notebook():
        shown = NotebookBar(describe_step, describe_validation)
    elif sys.stderr.isatty():
        shown = Bar()
    return Several((shown, Events(run)))


def describe_step(row: Row, num_steps: int) -> str:
    """Return the losses and the speed of a step on one line."""
    return f"step {row['step']}/{num_steps}: {_losses(row)}; {', '.join(_figures(row))}"


def describe_validation(row: Row) -> str:
    """Return the losses of a validation on one line."""
    return f"step {row['step']}: validation {_losses(row, 'val_')}"


def _losses(row: Row, prefix: str = "") -> str:
    values = {name: row.get(f"{prefix}{name}") for name in loss_labels() if name != "loss"}
    parts = [
        f"{loss_labels()[name].words} {value:.4f}" for name, value in values.items() if value is not None
    ]
    return f"loss {row[f'{prefix}loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")


def _figures(row: Row) -> list[str]:
    """Give the speed of a step and what it is made of; the time left comes last."""
    values = {name: value or 0.0 for name, value in row.items()}
    return [
        f"learning rate {values['learning_rate']:.2g}",
        f"{values['samples_per_second']:.1f} samples/s",
        f"{values['asvs_per_second']:,.0f} ASVs/s",
        f"padding {values['padding_share']:.0%}",
        f"duplicates {values['duplicate_share']:.0%}",
        f"data wait {values['data_wait_share']:.1%}",
        f"{values['memory_mib']:,.0f} MiB",
        f"{duration(values['seconds_left'])} left",
    ]


def duration(seconds: float) -> str:
    """Write a time as people read it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
