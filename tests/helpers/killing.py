"""Training runs in separate processes that are killed at a given point, as by a scheduler or a power cut."""

import os
import signal
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from aam_schemas.common.files import Files
from aammodel.runs.metrics_log import Row
from aammodel.training.console import WatcherGroup
from aammodel.training.setup import make_trainer
from aammodel.training.trainer import Trainer
from aammodel.workflows.pretrain import begin_run
from aammodel.workflows.resume import read_plan
from tests.helpers.processes import CONTEXT, hear_signals

_SECONDS = 120


@dataclass(frozen=True)
class End:
    """Point at which a run receives a signal."""

    at: Literal["micro-batch", "metrics", "validation", "writing"]
    """Before a micro-batch is processed, after the metrics of a step or validation are written, or at one of
    the changes on disk that write a checkpoint or the best weights."""
    step: int
    """Number of the step, from 1. For "writing", number of the change on disk."""
    part: int = 1
    """Number of the micro-batch in the step, from 1."""
    signal: int = signal.SIGKILL

    def send(self) -> None:
        """Send the signal to this process."""
        os.kill(os.getpid(), self.signal)


class KillsWatcher:
    """Watcher without output that ends the run after a line of metrics is written."""

    def __init__(self, end: End) -> None:
        self.end = end

    def on_step(self, row: Row, num_steps: int) -> None:
        if (self.end.at, self.end.step) == ("metrics", row["step"]):
            self.end.send()

    def on_validation(self, row: Row) -> None:
        if (self.end.at, self.end.step) == ("validation", row["step"]):
            self.end.send()

    def close(self) -> None:
        pass


class KillsFiles(Files):
    """File system calls that end the run at the n-th change on disk, halfway through a write or removal."""

    def __init__(self, end: End) -> None:
        self.end, self.done = end, 0
        for name in ("make_folder", "make_file", "write", "flush", "rename", "exchange", "remove"):
            setattr(self, name, partial(self._step, name))

    def _step(self, name: str, path: Path, *others: Path | bytes) -> bool | None:
        self.done += 1
        if self.done == self.end.step:
            if name == "write" and isinstance(others[0], bytes):
                path.write_bytes(others[0][: len(others[0]) // 2])
            if name == "remove" and path.is_dir():
                next(path.iterdir()).unlink()
            self.end.send()
        return getattr(super(), name)(path, *others)


def train_until(run: Path, end: End, anew: bool = True, watched: bool = False) -> int:
    """Train a run in a new process until a signal ends it, and return the exit code of the process.

    With `watched`, the run also shows its progress, as `aammodel` does.
    """
    process = CONTEXT.Process(target=_train, args=(run, end, anew, watched))
    process.start()
    process.join(_SECONDS)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def _train(run: Path, end: End, anew: bool, watched: bool) -> None:
    hear_signals()
    plan = read_plan(run).plan
    if anew:
        with begin_run(plan, run, overwrite=True):
            pass
    trainer = make_trainer(plan, run, resume=not anew)
    killer = KillsWatcher(end)
    trainer.watcher = WatcherGroup((trainer.watcher, killer)) if watched else killer
    if end.at == "writing":
        trainer.folder = replace(trainer.folder, files=KillsFiles(end))
    if end.at == "micro-batch":
        _end_in_a_step(trainer, end)
    trainer.fit()
    sys.exit(128 + trainer.stop_signal if trainer.stop_signal else 0)


def _end_in_a_step(trainer: Trainer, end: End) -> None:
    seen = 0

    def count(model: nn.Module, _: object) -> None:
        nonlocal seen
        if model.training and trainer.progress.step == end.step - 1:
            seen += 1
            if seen == end.part:
                end.send()

    trainer.model.register_forward_pre_hook(count)
