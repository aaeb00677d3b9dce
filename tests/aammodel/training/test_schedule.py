"""Learning rates, checked against the schedulers of torch."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from aammodel.config.train import Schedule, TrainConfig
from aammodel.runs.progress import Progress
from aammodel.training.optimizer import LOWEST_FRACTION, learning_rate

RATE = 0.004


def of_torch(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], num_steps: int
) -> list[float]:
    """Return the learning rate of each step according to a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(schedule: Schedule, num_steps: int, warmup: int, **more: int) -> list[float]:
    """Return our learning rate of each step after the warm-up."""
    config = TrainConfig(learning_rate=RATE, schedule=schedule, warmup_steps=warmup, **more)
    rates = [learning_rate(step, num_steps, config) for step in range(num_steps)]
    if schedule != "one-cycle":
        assert rates[:warmup] == pytest.approx([RATE * (step + 1) / warmup for step in range(warmup)])
        return rates[warmup:]
    return rates


def test_cosine() -> None:
    expected = of_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, 190, eta_min=RATE * LOWEST_FRACTION), 190)
    assert ours("cosine", 200, 10) == pytest.approx(expected, rel=1e-9)


def test_cosine_restarts() -> None:
    expected = of_torch(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 30, eta_min=RATE * LOWEST_FRACTION), 190
    )
    assert ours("restarts", 200, 10, cycle_steps=30) == pytest.approx(expected, rel=1e-9)
    assert ours("restarts", 200, 10) == ours("restarts", 200, 10, cycle_steps=47)


@pytest.mark.parametrize("num_steps", [10, 100, 999])
def test_one_cycle(num_steps: int) -> None:
    expected = of_torch(lambda o: lr_scheduler.OneCycleLR(o, RATE, total_steps=num_steps + 1), num_steps + 1)
    shorter = of_torch(lambda o: lr_scheduler.OneCycleLR(o, RATE, total_steps=num_steps), num_steps - 1)
    assert ours("one-cycle", num_steps, 10)[:-1] == pytest.approx(shorter, rel=1e-9)
    assert ours("one-cycle", num_steps + 1, 10)[:-1] == pytest.approx(expected[:-1], rel=1e-9)


def test_constant() -> None:
    assert ours("constant", 200, 10) == [RATE] * 190


def test_plateau() -> None:
    """Torch counts from 0, so its patience of 2 is our 3."""
    losses = [5.0, 4.0, 4.5, 4.2, 4.0, 4.1, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 2.9, 3, 3, 3, 3, 3, 3, 3]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0.0)
    config = TrainConfig(learning_rate=RATE, schedule="plateau", plateau_patience=3)
    progress = Progress()
    for loss in losses:
        scheduler.step(loss)
        progress = progress.after_validation(loss, config.plateau_patience)
        rate = learning_rate(500, 1000, config, progress.reductions)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert progress.reductions == 5
    assert learning_rate(500, 1000, config, 50) == pytest.approx(RATE * LOWEST_FRACTION)


@pytest.mark.parametrize("schedule", ["cosine", "restarts", "plateau", "one-cycle", "constant"])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 17])
def test_short_runs_have_a_learning_rate_at_every_step(schedule: Schedule, num_steps: int) -> None:
    config = TrainConfig(schedule=schedule)
    for step in range(num_steps):
        rate = learning_rate(step, num_steps, config)
        assert math.isfinite(rate)
        assert 0 < rate <= config.learning_rate
