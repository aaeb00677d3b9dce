"""Find a learning rate at which the loss falls, and the largest batch that fits into memory."""

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
from aammodel.training.precision import MAX_SKIPPED_STEPS
from aammodel.training.setup import Plan, make_trainer
from aammodel.training.throughput import peak_bytes, reset_peak
from aammodel.training.trainer import Trainer

LOWEST_RATE, HIGHEST_RATE = 1e-5, 1.0
"""Range of learning rates that are tested."""
SMOOTHING = 0.8
"""Weight of the earlier losses in the exponential running mean."""
DIVERGED = 3.0
"""The test ends when the smoothed loss exceeds its minimum by this factor."""
FRACTION_OF_LOWEST = 0.1
"""The suggested rate is this fraction of the rate with the lowest loss. At that rate itself, the loss is
about to rise."""

BATCH_STEPS = 8
"""The search for the largest batch ends at a precision of one part in this number."""
SAMPLES_TO_CHOOSE_FROM = 4
"""A trial batch consists of the samples with the most ASVs among this multiple of its size."""


@dataclass(frozen=True)
class Curve:
    """Losses of a test in which the learning rate rises."""

    rates: list[float]
    losses: list[float]
    """Loss of each step, before the weights are updated at its rate."""

    @property
    def smooth(self) -> list[float]:
        """Running mean of the losses, corrected for its start at 0 as in Adam (Kingma and Ba 2015)."""
        means, mean = [], 0.0
        for step, loss in enumerate(self.losses, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            means.append(mean / (1 - SMOOTHING**step))
        return means

    @property
    def suggested(self) -> float:
        """A tenth of the learning rate at which the smoothed loss is lowest, after Smith (2017)."""
        return FRACTION_OF_LOWEST * self.rates[int(np.argmin(self.smooth))]


def range_test(trainer: Trainer, num_steps: int) -> Curve:
    """Train with a learning rate that rises at each step, until the loss diverges.

    The method is that of Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Parameters
    ----------
    trainer : Trainer
        Trainer of a run that has not begun. Its weights are changed, so do not use it afterwards.
    num_steps : int
        Maximum number of steps.

    Returns
    -------
    Curve
        Empty if the loss of the first step is non-finite.
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
    """Compute the losses and gradient of the next step. Steps that overflow in float16 are skipped."""
    stepper, number = trainer.stepper, trainer.train_stream.batches_per_step
    for _ in range(MAX_SKIPPED_STEPS):
        losses, norm = stepper.backward([batch.to(trainer.device) for batch in islice(batches, number)])
        if not stepper.precision.is_overflow(norm) or not all(map(math.isfinite, losses.numbers())):
            break
        stepper.update(0.0)
    return losses, norm


def draw(curve: Curve, path: Path) -> None:
    """Plot the losses against the learning rates, with the suggested rate, into a PNG file."""
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
    """Return the largest number that fits, to within an eighth, or 0 if 1 does not fit.

    Parameters
    ----------
    fits : callable
        Return whether a number fits. If a number does not fit, no larger number may fit.
    most : int
        Largest number to try.

    Returns
    -------
    int
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
    """Trial steps with batches of the largest samples, and the memory that each needed."""

    plan: Plan
    budget_bytes: float
    """Largest memory that a step may use: that of the process on a CPU, that of the device on a GPU."""
    peaks: dict[int, int] = field(default_factory=dict)
    """Peak memory in bytes, by batch size."""

    def fits(self, batch_size: int) -> bool:
        """Return whether a step with this batch size stays within the budget.

        The step is computed, unless earlier trials predict that it exceeds the budget.
        """
        if self._predict_peak(batch_size) > self.budget_bytes:
            return False
        # Memory of the trial before must not count.
        gc.collect()
        try:
            self.peaks[batch_size] = self._peak_of_a_step(batch_size)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return False
        return self.peaks[batch_size] <= self.budget_bytes

    def _predict_peak(self, batch_size: int) -> float:
        """Extrapolate linearly from the two largest trials. With fewer trials, return 0."""
        if len(self.peaks) < 2:
            return 0.0
        (smaller, low), (larger, high) = sorted(self.peaks.items())[-2:]
        return high + max(0.0, (high - low) / (larger - smaller)) * (batch_size - larger)

    def _peak_of_a_step(self, batch_size: int) -> int:
        train = replace(self.plan.train, batch_size=batch_size, accumulate=1, validation_samples=1)
        trainer = make_trainer(replace(self.plan, train=train), Path("run"), resume=False)
        stream = trainer.train_stream
        pool = list(islice(stream.samples(), SAMPLES_TO_CHOOSE_FROM * batch_size))
        largest = sorted(pool, key=lambda sample: len(sample.asv), reverse=True)[:batch_size]
        reset_peak(trainer.device)
        trainer.stepper.backward([stream.collator(largest).to(trainer.device)])
        trainer.stepper.update(0.0)
        return peak_bytes(trainer.device)
