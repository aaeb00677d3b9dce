"""The display of a run: a progress bar in a terminal or notebook, log lines elsewhere, and TensorBoard."""

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

from aam_schemas.common.terminal import plain_console
from aammodel.objectives.registry import loss_labels
from aammodel.runs.metrics_log import Row
from aammodel.training.best_metric import is_correlation, label_of
from aammodel.training.notebook import NotebookBar, in_notebook
from aammodel.training.tensorboard import Events

SECONDS_BETWEEN_LINES = 20
"""Seconds between two log lines, so that the log of a long run stays readable."""

_LOGGER = logging.getLogger(__name__)


class Watcher(Protocol):
    """An observer of a run in training."""

    def on_step(self, row: Row, num_steps: int) -> None:
        """Report a step.

        Parameters
        ----------
        row : Row
            The line of `metrics.jsonl` of this step.
        num_steps : int
            Number of steps of the run.
        """

    def on_validation(self, row: Row) -> None:
        """Report a validation, given its line of `metrics.jsonl`."""

    def close(self) -> None:
        """Close files and displays. No other call follows."""


@dataclass
class LogWatcher:
    """Logs a step every `SECONDS_BETWEEN_LINES` seconds, and each validation."""

    _last: float = 0.0

    def on_step(self, row: Row, num_steps: int) -> None:
        """Log a step, if enough time has passed."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            _LOGGER.info("%s", describe_step(row, num_steps))

    def on_validation(self, row: Row) -> None:
        """Log a validation."""
        _LOGGER.info("%s", describe_validation(row))

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


@dataclass
class TerminalBar:
    """Shows a progress bar with losses, speed and the remaining time, and a line for each validation."""

    console: Console = field(default_factory=lambda: plain_console(stderr=True))
    _live: Live | None = None
    _task: TaskID | None = None

    def __post_init__(self) -> None:
        left = TextColumn("{task.fields[left]}", markup=False)
        self._progress = Progress(BarColumn(), MofNCompleteColumn(), left, console=self.console)

    def on_step(self, row: Row, num_steps: int) -> None:
        """Update the bar."""
        # The bar appears with the first step: before it, there is nothing to show.
        if self._live is None or self._task is None:
            self._task = self._progress.add_task("training", total=num_steps, left="")
            # Each step refreshes the bar, so no thread has to.
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        *speed, left = _describe_speed(row)
        self._progress.update(self._task, completed=row["step"], left=left)
        details = Text(f"{_describe_losses(row)}\n{', '.join(speed)}", style="dim")
        self._live.update(Group(self._progress, details), refresh=True)

    def on_validation(self, row: Row) -> None:
        """Print a line above the bar."""
        self.console.print(describe_validation(row))

    def close(self) -> None:
        """Stop updating the terminal. The bar stays visible."""
        if self._live:
            self._live.stop()


class SilentWatcher:
    """Shows nothing. All ranks but the main one use it."""

    def on_step(self, row: Row, num_steps: int) -> None:
        """Do nothing."""

    def on_validation(self, row: Row) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass
class WatcherGroup:
    """Passes every call to several watchers."""

    watchers: tuple[Watcher, ...]

    def on_step(self, row: Row, num_steps: int) -> None:
        """Report a step to all watchers."""
        for watcher in self.watchers:
            watcher.on_step(row, num_steps)

    def on_validation(self, row: Row) -> None:
        """Report a validation to all watchers."""
        for watcher in self.watchers:
            watcher.on_validation(row)

    def close(self) -> None:
        """Close all watchers."""
        for watcher in self.watchers:
            watcher.close()


def make_watcher(run: Path) -> Watcher:
    """Return the watcher of a run: a progress bar or log lines, and TensorBoard events.

    A terminal and a notebook get a bar. Log lines are for batch jobs, whose output is a file.

    Parameters
    ----------
    run : Path
        The run's folder, for the events.
    """
    display: Watcher = LogWatcher()
    if in_notebook():
        display = NotebookBar(describe_step, describe_validation)
    elif sys.stderr.isatty():
        display = TerminalBar()
    return WatcherGroup((display, Events(run)))


def describe_step(row: Row, num_steps: int) -> str:
    """Return the losses and the speed of a step on one line."""
    return f"step {row['step']}/{num_steps}: {_describe_losses(row)}; {', '.join(_describe_speed(row))}"


def describe_validation(row: Row) -> str:
    """Return the losses of a validation on one line."""
    return f"step {row['step']}: validation {_describe_losses(row, 'val_')}"


def _describe_losses(row: Row, prefix: str = "") -> str:
    values = {name: row.get(f"{prefix}{name}") for name in loss_labels() if name != "loss"}
    parts = [
        f"{loss_labels()[name].words} {value:.4f}" for name, value in values.items() if value is not None
    ]
    parts += [
        f"{label_of(name.removeprefix(prefix)).words} {value:.4f}"
        for name, value in row.items()
        if name.startswith(prefix) and is_correlation(name) and value is not None
    ]
    return f"loss {row[f'{prefix}loss']:.4f}" + (f" ({', '.join(parts)})" if parts else "")


def _describe_speed(row: Row) -> list[str]:
    """Return the learning rate, speed and memory of a step as phrases. The remaining time is the last."""
    values = {name: value or 0.0 for name, value in row.items()}
    return [
        f"learning rate {values['learning_rate']:.2g}",
        f"{values['samples_per_second']:.1f} samples/s",
        f"{values['asvs_per_second']:,.0f} ASVs/s",
        f"padding {values['padding_fraction']:.0%}",
        f"duplicates {values['duplicate_fraction']:.0%}",
        f"data wait {values['data_wait_fraction']:.1%}",
        f"{values['memory_mib']:,.0f} MiB",
        f"{duration(values['seconds_left'])} left",
    ]


def duration(seconds: float) -> str:
    """Return a time in words: "45 s", "12 min" or "3 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
