"""Measure how long a training step takes, beside a plain transformer: `python benchmarks/step.py`.

The plain transformer (`helpers/plain_transformer.py`) has the same sizes and trains on the same batch:
`nn.TransformerEncoder`, norms first, dropout of 0.1 everywhere, activation checkpointing over each stack,
every real ASV of every sample encoded again in chunks of 256, a key-padding mask, logits at every position.

Ours is measured in four settings: the default (three bases per position, a tenth of the ASVs encoded, no
dropout), the default with all ASVs encoded, and twice like for like. Like for like means the architecture of
the plain transformer (one position per base, no network over bases, all ASVs encoded) with the same weights,
once with the same dropout, and once with no dropout on either side.

The studies are published ones (AAM_REAL_DATA, or ../shared/data beside the checkout) and a simulated one,
with a token limit of 512 (256 for homes-10333) and batches of 16. Each method runs in a process of its own,
and they take turns. A step of the plain transformer takes about a minute. It takes one step after a small
warm-up, with the first 4 of the 16 samples. Its time is proportional to the number of real ASVs and is scaled
up by them. Ours takes three whole steps, and the median counts (one step if it takes more than ten seconds).

"Efficiency" is the speed of the operations that a step cannot do without, as a fraction of the machine's
speed in products of square matrices, which is measured beside each step.

`--all` adds batches of 6, `--quick` takes two studies, and `--only STUDY` takes one. On a busy machine, use
`--threads 1`: it counts processor time.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from helpers.child_processes import Answer, Child, children
from helpers.training_methods import steps
from helpers.workloads import SIMULATED, WORKLOADS, Workload

LONG_SECONDS = 10.0
PLAIN, PLAIN_WITHOUT_DROPOUT, OURS = "plain", "plain, no dropout", "ours"
OPPONENT = {
    OURS: PLAIN,
    "ours, all ASVs encoded": PLAIN,
    "like for like, same dropout": PLAIN,
    "like for like, no dropout": PLAIN_WITHOUT_DROPOUT,
}
"""Our methods, and the plain method with which each is compared."""


@dataclass(frozen=True)
class Timed:
    """The steps of a method on a batch."""

    steps: list[Answer]

    @property
    def seconds(self) -> float:
        """Seconds of the median step."""
        return median(step["seconds"] for step in self.steps)

    @property
    def efficiency(self) -> float:
        """Efficiency of the median step."""
        return median(step["efficiency"] for step in self.steps)

    @property
    def peak_bytes(self) -> int:
        """The largest memory of any stage of a step."""
        return max(max(step["peak_bytes"].values()) for step in self.steps)

    def stages(self) -> str:
        """Return the time and memory of each stage of the last step in words."""
        last = self.steps[-1]
        return ", ".join(
            f"{name} {last['stages'][name]:.2f} s {last['peak_bytes'][name] / 1e9:.2f} GB"
            for name in last["stages"]
        )


def main() -> None:
    """Measure, and print the headline last."""
    options = _options()
    workloads = (WORKLOADS[0], SIMULATED) if options.quick else WORKLOADS
    workloads = [workload for workload in workloads if options.only in (None, workload.name)]
    ratios: dict[str, list[float]] = {name: [] for name in OPPONENT}
    with tempfile.TemporaryDirectory() as work:
        for batch_size in (6, 16) if options.all else (16,):
            for workload in workloads:
                timed = measure(workload.shard(Path(work)), workload, batch_size, options.threads)
                for name, opponent in OPPONENT.items():
                    if batch_size == 16:
                        ratios[name].append(timed[opponent].seconds / timed[name].seconds)
    print("\nmedian over the studies at batch 16, times faster than the plain transformer")
    for name, values in ratios.items():
        print(f"  {name:32} {median(values):6.1f}   ({', '.join(f'{value:.1f}' for value in values)})")
    print(f"ratio {median(ratios[OURS]):.1f}")


def measure(shards: Path, workload: Workload, batch_size: int, threads: int) -> dict[str, Timed]:
    """Time every method on a batch, in turn, and print the figures."""
    names = [*OPPONENT, PLAIN, PLAIN_WITHOUT_DROPOUT]
    with children(steps, names, shards, batch_size, threads) as methods:
        _print_facts(workload, methods)
        taken: dict[str, list[Answer]] = {name: [] for name in names}
        for opponent in (PLAIN, PLAIN_WITHOUT_DROPOUT, None):
            for name in OPPONENT:
                if not taken[name] or taken[name][0]["seconds"] < LONG_SECONDS:
                    taken[name].append(methods[name].ask())
            if opponent:
                taken[opponent].append(methods[opponent].ask())
    timed = {name: Timed(answers) for name, answers in taken.items()}
    for name, method in timed.items():
        times = f"{timed[OPPONENT[name]].seconds / method.seconds:6.1f} x" if name in OPPONENT else " " * 8
        print(
            f"  {name:32} {method.seconds:7.2f} s {times}  {method.peak_bytes / 1e9:5.2f} GB  "
            f"efficiency {method.efficiency:4.0%}   {method.stages()}",
            flush=True,
        )
    return timed


def _print_facts(workload: Workload, methods: dict[str, Child]) -> None:
    facts = methods[OURS].facts
    fraction = facts["distinct"] / facts["real"]
    print(
        f"{workload.name}, batch {facts['samples']}, token limit {workload.token_limit}: "
        f"{facts['real']} real ASVs, {facts['distinct']} distinct ({fraction:.2f}), {facts['read']} encoded, "
        f"{facts['tokens']} tokens each",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="batches of 6, too")
    parser.add_argument("--quick", action="store_true", help="two studies instead of four")
    parser.add_argument("--only", choices=[workload.name for workload in WORKLOADS], help="only this study")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
