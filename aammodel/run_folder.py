"""What a run writes while it trains: lines of metrics, checkpoints, the best weights."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from aammodel.checkpoint import (
    Progress,
    model_file,
    model_tensors,
    optimizer_tensors,
    remove_checkpoints,
    save_best,
    save_checkpoint,
)
from aammodel.metrics import METRICS_FILE, Row, append_metrics
from schemas.files import Files


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run."""

    path: Path
    model_config: dict[str, object]
    keep: int
    """Checkpoints kept: so many of the last ones, and the best."""
    is_written: bool = True
    """False on every rank but the main one: nothing is written there."""
    files: Files = field(default_factory=Files)
    """The calls that change the disk."""

    def append(self, row: Row) -> None:
        """Add a line of metrics."""
        if self.is_written:
            append_metrics(self.path, row)

    def save_best(self, model: nn.Module) -> None:
        """Write the best weights so far."""
        weights = model_tensors(model)
        if self.is_written:
            save_best(self.path, weights, self.model_config, self.files)

    def save_checkpoint(self, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint, then remove those that are neither among the last nor the best."""
        weights, moments = model_tensors(model), optimizer_tensors(model, optimizer)
        if self.is_written:
            # A checkpoint on the disk means that the lines before it are there, too.
            self.files.flush(self.path / METRICS_FILE)
            content = model_file(weights, self.model_config)
            save_checkpoint(self.path, progress, content, moments, self.files)
            remove_checkpoints(self.path, self.keep, progress.best_step, self.files)
