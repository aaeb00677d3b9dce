"""Runs that end at a given point, in processes of their own, as a scheduler or a power cut ends them."""

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
from aammodel.training.console import Several
from aammodel.training.setup import make_trainer
from aammodel.training.trainer import Trainer
from aammodel.workflows.pretrain import begin_run
from aammodel.workflows.resume import read_plan
from tests.helpers.processes import CONTEXT, hear_signals

_SECONDS = 120


@dataclass(frozen=True)
class End:
    """Where a run gets a signal."""

    at: Literal["micro-batch", "metrics", "validation", "writing"]
    """Before a micro-batch goes through the model; after the line of a step, or of a validation, was written;
    at a change of the disk that a checkpoint or the best weights make."""
    step: int
    """The step being taken, from 1; which change of the disk, for "writing"."""
    part: int = 1
    """Which micro-batch of the step."""
    signal: int = signal.SIGKILL

    def comes(self) -> None:
        """Send the signal to this very process."""
        os.kill(os.getpid(), self.signal)


class KillsWatcher:
    """Watches as little as can be, and ends the run after a line of metrics was written."""

    def __init__(self, end: End) -> None:
        self.end = end

    def on_step(self, row: Row, num_steps: int) -> None:
        if (self.end.at, self.end.step) == ("metrics", row["step"]):
            self.end.comes()

    def on_validation(self, row: Row) -> None:
        if (self.end.at, self.end.step) == ("validation", row["step"]):
            self.end.comes()

    def close(self) -> None:
        pass


class KillsFiles(Files):
    """Ends the run at the n-th change of the disk; where something is written or removed, half is done."""

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
            self.end.comes()
        return getattr(super(), name)(path, *others)


def train_until(run: Path, end: End, anew: bool = True, watched: bool = False) -> int:
    """Train a run in a process of its own until a signal ends it, and give that process's exit code.

    `watched` also shows it, as `aammodel` does.
    """
    process = CONTEXT.Process(target=_train, args=(run, end, anew, watched))
    process.start()
    process.join(_SECONDS)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def _train(run: Path, end: End, anew: bool, watched: bool) -> None:
    hear_signals()
    plan = read_plan(run).plan
    if anew:
        begin_run(plan, run, overwrite=True)
    trainer = make_trainer(plan, run, resume=not anew)
    killer = KillsWatcher(end)
    trainer.watcher = Several((trainer.watcher, killer)) if watched else killer
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
                end.comes()

    trainer.model.register_forward_pre_hook(count)
