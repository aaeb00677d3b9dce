"""The training loop: take steps, validate, write checkpoints, and stop at the first non-finite value."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import FrameType

import torch

from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.data.stream import BatchStream
from aammodel.data.workers import STOP_SIGNALS, load_batches
from aammodel.distributed.ranks import Ranks
from aammodel.nn.model import AamModel
from aammodel.objectives.sums import LossSums
from aammodel.runs.checkpoint import RunFolder
from aammodel.runs.metrics_log import Row
from aammodel.runs.progress import Progress
from aammodel.training.best_metric import correlations, is_correlation, score_of
from aammodel.training.console import Watcher
from aammodel.training.finite import OnNonFinite, check_validation, check_weights, raise_non_finite
from aammodel.training.optimizer import learning_rate
from aammodel.training.precision import MAX_SKIPPED_STEPS
from aammodel.training.step import Stepper, seed_step
from aammodel.training.throughput import Amounts, Clock


@dataclass
class Trainer:
    """A run in training: its stepper, streams, folder and progress."""

    folder: RunFolder
    config: TrainConfig
    stepper: Stepper
    train_stream: BatchStream
    validation: list[Batch]
    """Batches of the validation samples, whose masked bases are always the same."""
    watcher: Watcher
    progress: Progress
    num_steps: int
    on_non_finite: OnNonFinite = raise_non_finite
    clock: Clock = field(default_factory=Clock)
    stop_signal: int = 0
    """The signal that asks the run to stop, received by any rank; 0 if there was none."""
    _signal: int = 0
    """The signal that this rank received; 0 if there was none."""

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def model(self) -> AamModel:
        """The model in training."""
        return self.stepper.model

    @property
    def ranks(self) -> Ranks:
        """The process itself, among those that train the model."""
        return self.stepper.ranks

    @property
    def device(self) -> torch.device:
        """The device on which the model computes."""
        return self.stepper.precision.device

    def fit(self) -> None:
        """Train until the last step, until the validation loss stops improving, or until a signal."""
        with self._stoppable():
            batches = self._batches()
            # A run that was stopped before its first step has already been validated.
            if self.progress.step == 0 and self.progress.best_loss is None:
                self._validate()
            while not self._is_over():
                self._step(self._micro_batches(batches))
                self._after_step()
            self.progress = replace(self.progress, is_finished=not self.stop_signal)
            self.save()
            # `torchrun` ends all ranks when one of them ends, so each waits until everything is written.
            self.ranks.wait()

    def _batches(self) -> Iterator[Batch]:
        # On a CPU, the model needs all cores. Pinned memory is copied to a GPU faster.
        on_gpu = self.device.type == "cuda"
        workers = (2 if on_gpu else 0) if self.config.num_workers is None else self.config.num_workers
        return load_batches(self.train_stream.from_batch(self.progress.batches), workers, pin_memory=on_gpu)

    def _micro_batches(self, batches: Iterator[Batch]) -> list[Batch]:
        """Return the micro-batches of a step. There are fewer at the end of an epoch."""
        per_epoch = self.train_stream.batches_per_epoch
        left = per_epoch - self.progress.batches % per_epoch
        with self.clock.waiting():
            taken = list(islice(batches, min(self.config.accumulate, left)))
        return [batch.to(self.device) for batch in taken]

    def _step(self, batches: list[Batch]) -> None:
        step = self.progress.step
        seed_step(self.config.seed, step, self.ranks.rank)
        losses, norm = self.stepper.backward(batches)
        is_skipped = self.stepper.precision.is_overflow(norm)
        self._stop_if_non_finite(batches, losses, norm, is_skipped)
        self.stepper.update(learning_rate(step, self.num_steps, self.config, self.progress.reductions))
        self.progress = self.progress.after_step(len(batches), is_skipped)
        self._report_step(batches, losses, norm)

    def _stop_if_non_finite(
        self, batches: list[Batch], losses: LossSums, norm: float, is_skipped: bool
    ) -> None:
        # Some overflows of float16 are expected, until the loss scale has been halved often enough.
        is_tolerated = is_skipped and self.progress.skipped_in_a_row + 1 < MAX_SKIPPED_STEPS
        numbers = losses.numbers() + ([] if is_tolerated else [norm])
        if not all(map(math.isfinite, numbers)):
            self.on_non_finite(self.stepper, batches, self.progress.step, self.run)

    def _report_step(self, batches: list[Batch], losses: LossSums, norm: float) -> None:
        num_samples = sum(batch.micro_batch_size for batch in batches)
        num_slots, num_real, num_distinct = self.ranks.sum(
            [
                sum(batch.is_real.numel() for batch in batches),
                sum(int(batch.is_real.sum()) for batch in batches),
                sum(len(batch.tokens) for batch in batches),
            ]
        )
        row: Row = {
            "step": self.progress.step,
            "epoch": self.progress.batches / self.train_stream.batches_per_epoch,
            **losses.named(),
            "learning_rate": self.stepper.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "skipped_steps": self.progress.skipped,
            **self.clock.step(
                Amounts(num_samples, num_slots, num_real, num_distinct),
                self.num_steps - self.progress.step,
                self.device,
            ),
        }
        self.folder.append(row)
        self.watcher.on_step(row, self.num_steps)

    def _after_step(self) -> None:
        step = self.progress.step
        default = min(self.train_stream.steps_per_epoch, 100)
        is_best = False
        if step % (self.config.validate_every or default) == 0 or step == self.num_steps:
            is_best = self._validate()
        if is_best or step % self.config.checkpoint_every == 0:
            self.save()

    def _validate(self) -> bool:
        """Compute the validation losses, and save the weights if they are the best so far.

        Returns
        -------
        bool
            Whether these weights are the best so far.
        """
        # Without validation samples, the latest weights are kept in place of the best ones.
        if not self.validation:
            self._save_best()
            return False
        losses = self.stepper.measure(self.validation)
        check_validation(losses, self.progress.step, self.run)
        metric, named = self.config.best_metric, losses.named("val_")
        if is_correlation(metric):
            found = correlations(self.stepper, self.validation)
            named |= {f"val_{name}": value for name, value in found.items()}
        row: Row = {"step": self.progress.step, **named, "seconds": self.clock.seconds()}
        self.folder.append(row)
        score = score_of(metric, named)
        self.progress = self.progress.after_validation(score, self.config.plateau_patience)
        is_best = self.progress.validations_since_best == 0
        if is_best:
            self._save_best()
        self.watcher.on_validation(row)
        return is_best

    def _is_over(self) -> bool:
        """Return whether training is over. All ranks decide alike, even if only one received a signal."""
        self.stop_signal = int(self.ranks.largest(self._signal))
        progress = self.progress
        is_done = progress.step >= self.num_steps or progress.validations_since_best >= self.config.patience
        return is_done or self.stop_signal != 0

    def _save_best(self) -> None:
        check_weights(self.model, self.progress.step, self.run)
        self.folder.save_best(self.model)

    def save(self) -> None:
        """Write a checkpoint. All ranks must call this together."""
        check_weights(self.model, self.progress.step, self.run)
        progress = replace(self.progress, scaling=self.stepper.precision.state())
        self.folder.save_checkpoint(progress, self.model, self.stepper.optimizer)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let Ctrl-C and the SIGTERM of a scheduler end the run after the current step, with a checkpoint."""

        # A signal can arrive in the middle of a step or of writing a file, so the handler only records it.
        def stop(number: int, _: FrameType | None) -> None:
            self._signal = number

        # Python lets only its main thread handle signals. In another thread, the run cannot be stopped.
        is_main_thread = threading.current_thread() is threading.main_thread()
        # `nohup` lets a run ignore that its terminal is closed.
        heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        signals = heard if is_main_thread else []
        before = {number: signal.signal(number, stop) for number in signals}
        try:
            yield
        finally:
            self.watcher.close()
            for number, handler in before.items():
                signal.signal(number, handler)
