"""What to train with: the learning rate at which the loss falls, and the largest batch that fits."""

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from aammodel.batch import Batch
from aammodel.objectives.sums import LossSums
from aammodel.training.precision import MOST_SKIPPED
from aammodel.training.setup import Plan, make_trainer
from aammodel.training.throughput import forget_peak, peak_bytes
from aammodel.training.trainer import Trainer

LOWEST_RATE, HIGHEST_RATE = 1e-5, 1.0
SMOOTHING = 0.8
"""Weight of what came before in the running mean of the losses."""
DIVERGED = 3.0
"""So many times the lowest smoothed loss end the test."""
SHARE_OF_LOWEST = 0.1
"""The suggestion: this share of the rate at which the loss is lowest, where it is about to rise."""

BATCH_STEPS = 8
"""The largest batch is found to within one part of so many."""
SAMPLES_TO_CHOOSE_FROM = 4
"""The batch tried holds the largest of so many times as many samples."""


@dataclass(frozen=True)
class Curve:
    """Losses at rising learning rates."""

    rates: list[float]
    losses: list[float]
    """At each step, before its update."""

    @property
    def smooth(self) -> list[float]:
        """The running mean of the losses, without the weight of a beginning at 0."""
        means, mean = [], 0.0
        for step, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**step))
        return means

    @property
    def suggested(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest (after Smith 2017)."""
        return SHARE_OF_LOWEST * self.rates[int(np.argmin(self.smooth))]


def range_test(trainer: Trainer, num_steps: int) -> Curve:
    """Train while the learning rate rises from step to step, until the loss does.

    After Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Parameters
    ----------
    trainer : Trainer
        Of a run that has not begun; its weights are not of use afterwards.
    num_steps : int
        Most steps.
    """
    batches, curve = iter(trainer.train_stream), Curve([], [])
    for rate in np.geomspace(LOWEST_RATE, HIGHEST_RATE, num_steps).tolist():
        losses, norm = _backward(trainer, batches)
        loss = losses.named()["loss"]
        if loss is None or not math.isfinite(loss) or not math.isfinite(norm):
            break
        curve.rates.append(rate)
        curve.losses.append(loss)
        if curve.smooth[-1] > DIVERGED * min(curve.smooth):
            break
        trainer.stepper.update(rate)
    return curve


def _backward(trainer: Trainer, batches: Iterator[Batch]) -> tuple[LossSums, float]:
    """Compute losses and gradient of the next step; where float16 overflows it is skipped, as in training."""
    stepper, number = trainer.stepper, trainer.train_stream.batches_per_step
    for _ in range(MOST_SKIPPED):
        losses, norm = stepper.backward([batch.to(trainer.device) for batch in islice(batches, number)])
        if not stepper.precision.is_overflow(norm) or not all(map(math.isfinite, losses.numbers())):
            break
        stepper.update(0.0)
    return losses, norm


def draw(curve: Curve, path: Path) -> None:
    """Draw the losses against the rates, with the suggestion."""
    figure = Figure(figsize=(6, 3.5))
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, color="#cbd5e1", label="loss of each step")
    axes.plot(curve.rates, curve.smooth, color="#1f6f8b", label="running mean")
    axes.axvline(curve.suggested, color="#c2410c", linestyle="--", label=f"suggested: {curve.suggested:.1e}")
    lowest, first = min(curve.smooth), curve.losses[0]
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0.9 * lowest, 1.5 * first))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """Find the largest number that fits, to within one part of eight; 0 if 1 does not.

    Parameters
    ----------
    fits : callable
        Whether a number fits; if one does not, no larger one does.
    most : int
        Larger ones are not tried.
    """
    if not fits(1):
        return 0
    good = 1
    while good < most and fits(min(2 * good, most)):
        good = min(2 * good, most)
    if good == most:
        return good
    bad, step = min(2 * good, most + 1), max(1, good // BATCH_STEPS)
    while bad - good > step:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


@dataclass
class BatchTrial:
    """Tries batches of the largest samples, and knows what memory each took."""

    plan: Plan
    budget_bytes: float
    """Most memory that a step may take: of the whole process on a CPU, of the device on a GPU."""
    peaks: dict[int, int] = field(default_factory=dict)
    """Bytes at the peak, by samples in the batch."""

    def fits(self, batch_size: int) -> bool:
        """Take one step, unless the steps before foretell that the budget would not do."""
        if self._foretold(batch_size) > self.budget_bytes:
            return False
        gc.collect()
        try:
            self.peaks[batch_size] = self._peak_of_a_step(batch_size)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return False
        return self.peaks[batch_size] <= self.budget_bytes

    def _foretold(self, batch_size: int) -> float:
        """Draw a line through the two largest batches so far; with fewer, nothing is known."""
        if len(self.peaks) < 2:
            return 0.0
        (one, low), (other, high) = sorted(self.peaks.items())[-2:]
        return high + max(0.0, (high - low) / (other - one)) * (batch_size - other)

    def _peak_of_a_step(self, batch_size: int) -> int:
        train = replace(self.plan.train, batch_size=batch_size, accumulate=1, validation_samples=1)
        trainer = make_trainer(replace(self.plan, train=train), Path("run"), resume=False)
        stream = trainer.train_stream
        pool = list(islice(stream.samples(), SAMPLES_TO_CHOOSE_FROM * batch_size))
        largest = sorted(pool, key=lambda sample: len(sample.asv), reverse=True)[:batch_size]
        forget_peak(trainer.device)
        trainer.stepper.backward([stream.collator(largest).to(trainer.device)])
        trainer.stepper.update(0.0)
        return peak_bytes(trainer.device)
