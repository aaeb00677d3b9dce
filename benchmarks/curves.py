"""Measure how fast the quality on held-out samples grows during training: `python benchmarks/curves.py`.

The script compares settings that compute less per step. Each setting trains on crc-udca2 without the 200
samples on which settings were chosen, with one thread, to the end of its own cosine schedule. At intervals,
the model is evaluated on 100 of these samples: Pearson r of unweighted UniFrac over all pairs, and the
fraction of masked bases that it predicts correctly. Time is processor time without evaluation. The script
draws the curves to a PNG file and prints their points.

The headline compares encoding every ASV with the default: the ratio of the minutes that each takes to reach
an r that both reach.

    python benchmarks/curves.py          # the default and every ASV encoded: a quarter of an hour on a core
    python benchmarks/curves.py --all    # all settings: most of an hour
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aammodel.config.train import TrainConfig
from aammodel.data.shards import ShardSet, open_shards
from aammodel.evaluation.evaluate import evaluate
from aammodel.runs.metrics_log import Row
from aammodel.training.setup import make_plan, make_trainer
from aammodel.training.trainer import Trainer
from aammodel.workflows.pretrain import begin_run
from helpers.held_out_samples import STUDIES, hold_out

SAMPLES = 100
EVERY = 40
"""Steps between two evaluations."""


@dataclass(frozen=True)
class Setting:
    """Settings of a curve that differ from the defaults."""

    steps: int = 240
    model: dict[str, object] = field(default_factory=dict)
    train: dict[str, float] = field(default_factory=dict)


SETTINGS = {
    "default": Setting(),
    "every ASV encoded": Setting(120, train={"asv_encode_fraction": 1.0}),
    "a quarter of the ASVs encoded": Setting(200, train={"asv_encode_fraction": 0.25}),
    "one position per base": Setting(160, {"bases_per_position": 1}),
    "feed-forward half as wide": Setting(model={"feed_forward": 2}),
    "without k-mers": Setting(model={"kmers": False}),
    "without the transformer over ASVs": Setting(model={"sample_layers": 0}),
}
HEADLINE = ("default", "every ASV encoded")


@dataclass(frozen=True)
class Point:
    """The quality of a model after some minutes."""

    minutes: float
    step: int
    r: float
    accuracy: float


class Evaluations:
    """Evaluates a run on unseen samples at intervals, and stops the clock meanwhile."""

    def __init__(self, trainer: Trainer, unseen: ShardSet) -> None:
        self.trainer, self.unseen = trainer, unseen
        self.points: list[Point] = []
        self.start = time.process_time()

    def on_step(self, row: Row, num_steps: int) -> None:
        """Evaluate every `EVERY` steps."""
        if row["step"] % EVERY and row["step"] != num_steps:
            return
        stopped = time.process_time()
        found = evaluate(self.trainer.model, self.unseen, "train", SAMPLES)
        minutes = (stopped - self.start) / 60
        accuracy = found.nucleotides.accuracy or 0.0
        self.points.append(Point(minutes, row["step"], found.predictions[0].r, accuracy))
        self.start += time.process_time() - stopped

    def on_validation(self, row: Row) -> None:
        """Do nothing: all samples are trained on."""

    def close(self) -> None:
        """Do nothing: nothing is open."""


def main() -> None:
    """Train with each setting, draw the curves, and print the headline last."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--all", action="store_true")
    arguments.add_argument("--output", type=Path, default=Path("curves.png"))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        sets = hold_out(STUDIES[0], "chosen-on", Path(work))
        unseen = open_shards(sets.unseen)
        found = {}
        for name in SETTINGS if given.all else HEADLINE:
            found[name] = points_of(SETTINGS[name], sets.train, unseen, Path(work) / "run")
            print_points(name, found[name])
    draw(found, given.output)
    ours, full = (found[name] for name in HEADLINE)
    both = min(max(point.r for point in points) for points in (ours, full))
    print(f"ratio {minutes_to(both, full) / minutes_to(both, ours):.1f}")


def minutes_to(r: float, points: list[Point]) -> float:
    """Return the first minute at which the model reached r."""
    return next(point.minutes for point in points if point.r >= r)


def points_of(setting: Setting, shards: Path, unseen: ShardSet, run: Path) -> list[Point]:
    """Train with a setting, and return the points of its curve."""
    train = TrainConfig(max_steps=setting.steps, device="cpu", **setting.train)  # type: ignore[arg-type]
    plan = make_plan(shards, setting.model, train)
    with begin_run(plan, run, overwrite=True):
        pass
    trainer = make_trainer(plan, run, resume=False)
    evaluations = Evaluations(trainer, unseen)
    trainer.watcher = evaluations
    trainer.fit()
    return evaluations.points


def print_points(name: str, points: list[Point]) -> None:
    """Print the points of a curve."""
    each = (f"{point.minutes:.1f} min: {point.r:.3f}, {point.accuracy:.3f}" for point in points)
    print(f"{name}: {'; '.join(each)}", flush=True)


def draw(found: dict[str, list[Point]], path: Path) -> None:
    """Draw both measures against minutes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, points in found.items():
        minutes = [point.minutes for point in points]
        left.plot(minutes, [point.r for point in points], marker="o", markersize=3, label=name)
        right.plot(minutes, [point.accuracy for point in points], marker="o", markersize=3)
    left.set_ylabel("Pearson r of unweighted UniFrac, held-out pairs")
    right.set_ylabel("fraction of masked bases predicted correctly")
    for axes in (left, right):
        axes.set_xlabel("minutes of one thread")
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
