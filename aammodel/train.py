"""Training: take steps, validate, keep checkpoints, and stop at the first number that is not finite."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import FrameType

import torch

from aammodel.batch import Batch
from aammodel.checkpoint import Progress, remove_old_checkpoints, save_best, save_checkpoint
from aammodel.hashing import hash64
from aammodel.loss import distance_loss_sum, mean_or_none, nucleotide_loss_sum, num_masked_bases, num_pairs
from aammodel.metrics import append_metrics
from aammodel.model import AamModel
from aammodel.offence import stop_at_non_finite
from aammodel.schedule import learning_rate
from aammodel.stream import BatchStream, load
from aammodel.train_config import TrainConfig
from aammodel.watch import Watcher

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Losses:
    """Sums of both losses, and what they are means over."""

    nucleotide: float = 0.0
    num_bases: int = 0
    distance: float = 0.0
    num_pairs: int = 0

    def named(self, config: TrainConfig, prefix: str = "") -> dict[str, float | None]:
        """Give the mean losses by name; None where there is nothing to be a mean of."""
        nucleotide = mean_or_none(self.nucleotide, self.num_bases)
        distance = mean_or_none(self.distance, self.num_pairs)
        total = config.nucleotide_weight * (nucleotide or 0.0) + config.unifrac_weight * (distance or 0.0)
        return {
            f"{prefix}loss": total,
            f"{prefix}nucleotide_loss": nucleotide,
            f"{prefix}unifrac_loss": distance,
        }


@dataclass
class Trainer:
    """One run: a model, its optimiser, its data, its folder."""

    run: Path
    config: TrainConfig
    model: AamModel
    optimizer: torch.optim.Optimizer
    train_stream: BatchStream
    validation: list[Batch]
    """Batches of the validation samples, whose hidden bases are always the same."""
    watcher: Watcher
    progress: Progress
    num_steps: int
    device: torch.device
    model_config: dict[str, object]
    stop_signal: int = 0
    """The signal that asks the run to stop; 0 while none does."""

    def fit(self) -> None:
        """Train until the last step, or until validation stops getting better, or a signal comes."""
        with self._stoppable():
            batches = self._batches()
            if self.progress.step == 0:
                self._validate()
            while self.progress.step < self.num_steps and not self._is_over():
                self._step(self._micro_batches(batches))
                self._after_step()
            self.progress = replace(self.progress, is_finished=not self.stop_signal)
            self._save()

    def _batches(self) -> Iterator[Batch]:
        on_gpu = self.device.type == "cuda"
        workers = (2 if on_gpu else 0) if self.config.num_workers is None else self.config.num_workers
        return load(replace(self.train_stream, start_batch=self.progress.batches), workers, pin_memory=on_gpu)

    def _micro_batches(self, batches: Iterator[Batch]) -> list[Batch]:
        """Take the micro-batches of a step: fewer at the end of an epoch."""
        per_epoch = self.train_stream.batches_per_epoch
        left = per_epoch - self.progress.batches % per_epoch
        return [batch.to(self.device) for batch in islice(batches, min(self.config.accumulate, left))]

    def _step(self, batches: list[Batch]) -> None:
        started = time.perf_counter()
        step = self.progress.step
        torch.manual_seed(int(hash64(self.config.seed, step, values=torch.tensor([0]).numpy())[0]) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.num_steps, self.config)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._backward(batches)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        stop_at_non_finite(
            self.model, batches, [losses.nucleotide, losses.distance, norm.item()], step, self.run
        )
        self.optimizer.step()
        self.progress = replace(self.progress, step=step + 1, batches=self.progress.batches + len(batches))
        self._report_step(batches, losses, norm.item(), time.perf_counter() - started)

    def _backward(self, batches: list[Batch]) -> Losses:
        """Add up the gradient of the mean losses over all micro-batches (exact, not a mean of means)."""
        total = Losses(num_bases=sum(map(num_masked_bases, batches)), num_pairs=sum(map(num_pairs, batches)))
        for batch in batches:
            output = self.model(batch)
            nucleotide, distance = nucleotide_loss_sum(output, batch), distance_loss_sum(output, batch)
            loss = self.config.nucleotide_weight * nucleotide / max(total.num_bases, 1)
            loss = loss + self.config.unifrac_weight * distance / max(total.num_pairs, 1)
            loss.backward()
            total.nucleotide += nucleotide.item()
            total.distance += distance.item()
        return total

    def _report_step(self, batches: list[Batch], losses: Losses, norm: float, seconds: float) -> None:
        num_samples = sum(batch.num_samples for batch in batches)
        num_slots = sum(batch.is_real.numel() for batch in batches)
        num_real = sum(int(batch.is_real.sum()) for batch in batches)
        row: dict[str, float | int | None] = {
            "step": self.progress.step,
            "epoch": self.progress.batches / self.train_stream.batches_per_epoch,
            **losses.named(self.config),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "samples_per_second": num_samples / seconds,
            "padding_share": 1 - num_real / num_slots,
            "distinct_share": sum(len(batch.tokens) for batch in batches) / num_real,
        }
        append_metrics(self.run, row)
        self.watcher.on_step(row, self.num_steps)

    def _after_step(self) -> None:
        step = self.progress.step
        default = min(self.train_stream.steps_per_epoch, 100)
        if step % (self.config.validate_every or default) == 0 or step == self.num_steps:
            self._validate()
        if step % self.config.checkpoint_every == 0:
            self._save()

    @torch.no_grad()
    def _validate(self) -> None:
        """Measure the validation losses; the best weights so far are kept."""
        if not self.validation:
            save_best(self.run, self.model, self.model_config)
            return
        self.model.eval()
        losses = Losses()
        for batch in (one.to(self.device) for one in self.validation):
            output = self.model(batch)
            losses.nucleotide += nucleotide_loss_sum(output, batch).item()
            losses.distance += distance_loss_sum(output, batch).item()
            losses.num_bases += num_masked_bases(batch)
            losses.num_pairs += num_pairs(batch)
        row = {"step": self.progress.step, **losses.named(self.config, "val_")}
        append_metrics(self.run, row)
        self._keep_if_best(row["val_loss"] or 0.0)
        self.watcher.on_validation(row)

    def _keep_if_best(self, loss: float) -> None:
        progress = self.progress
        if progress.best_loss is None or loss < progress.best_loss:
            self.progress = replace(
                progress, best_loss=loss, best_step=progress.step, validations_since_best=0
            )
            save_best(self.run, self.model, self.model_config)
        else:
            self.progress = replace(progress, validations_since_best=progress.validations_since_best + 1)

    def _is_over(self) -> bool:
        return self.stop_signal != 0 or self.progress.validations_since_best >= self.config.patience

    def _save(self) -> None:
        save_checkpoint(self.run, self.progress, self.model, self.optimizer)
        remove_old_checkpoints(self.run, self.config.keep_checkpoints)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let Ctrl-C and a scheduler's SIGTERM end the run after the current step, with a checkpoint."""

        def stop(number: int, _: FrameType | None) -> None:
            self.stop_signal = number

        before = {one: signal.signal(one, stop) for one in STOP_SIGNALS}
        try:
            yield
        finally:
            self.watcher.close()
            for one, handler in before.items():
                signal.signal(one, handler)


def make_optimizer(model: AamModel, config: TrainConfig) -> torch.optim.AdamW:
    """Make AdamW (Loshchilov and Hutter 2019), which shrinks matrices but neither biases nor norms."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
