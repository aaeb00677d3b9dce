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
"""Steps between two looks."""


@dataclass(frozen=True)
class Way:
    """What is not as by default."""

    steps: int = 240
    model: dict[str, object] = field(default_factory=dict)
    train: dict[str, float] = field(default_factory=dict)


WAYS = {
    "default": Way(),
    "every ASV read": Way(120, train={"asv_encode_fraction": 1.0}),
    "a quarter of the ASVs read": Way(200, train={"asv_encode_fraction": 0.25}),
    "a position a base": Way(160, {"bases_per_position": 1}),
    "feed-forward half as wide": Way(model={"feed_forward": 2}),
    "without windows": Way(model={"kmers": False}),
    "without the transformer over ASVs": Way(model={"sample_layers": 0}),
}
HEADLINE = ("default", "every ASV read")


@dataclass(frozen=True)
class Point:
    """What a model is worth after so many minutes."""

    minutes: float
    step: int
    r: float
    accuracy: float


class Looks:
    """Watches a run: holds it against samples that it never sees, and stops the clock meanwhile."""

    def __init__(self, trainer: Trainer, unseen: ShardSet) -> None:
        self.trainer, self.unseen = trainer, unseen
        self.points: list[Point] = []
        self.start = time.process_time()

    def on_step(self, row: Row, num_steps: int) -> None:
        """Look every so many steps."""
        if row["step"] % EVERY and row["step"] != num_steps:
            return
        stopped = time.process_time()
        found = evaluate(self.trainer.model, self.unseen, "train", SAMPLES)
        minutes = (stopped - self.start) / 60
        accuracy = found.nucleotides.accuracy or 0.0
        self.points.append(Point(minutes, row["step"], found.predictions[0].r, accuracy))
        self.start += time.process_time() - stopped

    def on_validation(self, row: Row) -> None:
        """Nothing: all samples are trained on."""

    def close(self) -> None:
        """Nothing is open."""


def main() -> None:
    """Train every way that is asked for; draw, and print the headline last."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--all", action="store_true")
    arguments.add_argument("--output", type=Path, default=Path("curves.png"))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        sets = hold_out(STUDIES[0], "chosen-on", Path(work))
        unseen = open_shards(sets.unseen)
        found = {}
        for name in WAYS if given.all else HEADLINE:
            found[name] = points_of(WAYS[name], sets.learned, unseen, Path(work) / "run")
            told(name, found[name])
    draw(found, given.output)
    ours, full = (found[name] for name in HEADLINE)
    both = min(max(one.r for one in points) for points in (ours, full))
    print(f"ratio {minutes_to(both, full) / minutes_to(both, ours):.1f}")


def minutes_to(r: float, points: list[Point]) -> float:
    """Give the first minute at which a way was seen to be so good."""
    return next(one.minutes for one in points if one.r >= r)


def points_of(way: Way, shards: Path, unseen: ShardSet, run: Path) -> list[Point]:
    """Train one way."""
    plan = make_plan(shards, way.model, TrainConfig(max_steps=way.steps, device="cpu", **way.train))  # type: ignore[arg-type]
    begin_run(plan, run, overwrite=True)
    trainer = make_trainer(plan, run, resume=False)
    looks = Looks(trainer, unseen)
    trainer.watcher = looks
    trainer.fit()
    return looks.points


def told(name: str, points: list[Point]) -> None:
    """Print the points of one curve."""
    each = (f"{one.minutes:.1f} min: {one.r:.3f}, {one.accuracy:.3f}" for one in points)
    print(f"{name}: {'; '.join(each)}", flush=True)


def draw(found: dict[str, list[Point]], path: Path) -> None:
    """Draw both measures against minutes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, points in found.items():
        minutes = [one.minutes for one in points]
        left.plot(minutes, [one.r for one in points], marker="o", markersize=3, label=name)
        right.plot(minutes, [one.accuracy for one in points], marker="o", markersize=3)
    left.set_ylabel("Pearson r of unweighted UniFrac, held-out pairs")
    right.set_ylabel("hidden bases guessed right")
    for axes in (left, right):
        axes.set_xlabel("minutes of one thread")
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
