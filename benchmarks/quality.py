"""Measure how well distances of unseen samples are predicted: `python benchmarks/quality.py`.

The studies are crc-udca2, rarefied to 5,000 reads, and ibd-2538, rarefied to 2,000. In each, 200 samples are
held out, and the model is trained on the others. Prediction uses no tree. No setting was chosen on the
"fresh" samples. Settings were chosen on the "chosen-on" samples. Training takes the defaults, two targets
and 300 steps, about 5 minutes on a core. Pearson r is computed over all 19,900 pairs of the 200 samples.

The headline is (1 - r of Jaccard) / (1 - r of the model), for unweighted UniFrac.

    python benchmarks/quality.py          # crc-udca2, fresh samples, one seed
    python benchmarks/quality.py --all    # both studies, both sets of samples, three seeds: an hour
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

from helpers.held_out_samples import STUDIES, Study, hold_out

TARGETS = ("unweighted_unifrac", "weighted_normalized_unifrac")


def main() -> None:
    """Train and evaluate each combination, and print the headline last."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--all", action="store_true")
    arguments.add_argument("--steps", type=int, default=300)
    arguments.add_argument("--work", type=Path, default=Path("quality-work"))
    given = arguments.parse_args()
    studies = STUDIES if given.all else STUDIES[:1]
    print(f"{'study':<10} {'samples':<10} seed minutes  {'target':<28} {'model':>6}  baselines")
    ratios = [
        measure(study, which, seed, given.steps, given.work)
        for study in studies
        for which in (("fresh", "chosen-on") if given.all else ("fresh",))
        for seed in range(3 if given.all else 1)
    ]
    print(f"ratio {median(ratios):.2f}")


def measure(study: Study, which: str, seed: int, steps: int, work: Path) -> float:
    """Train a model, print its figures, and return its ratio."""
    sets = hold_out(study, which, work / study.name)
    run = work / f"run-{study.name}-{which}-{seed}-{steps}"
    start = time.perf_counter()
    if not (run / "report.html").exists():
        options = ["--max-steps", steps, "--seed", seed, "--output", run, "--overwrite"]
        call("aammodel", "pretrain", sets.train, *options, *(f"--target={target}" for target in TARGETS))
    minutes = (time.perf_counter() - start) / 60
    output = work / f"evaluation-{run.name}"
    found = call(
        "aammodel",
        "evaluate",
        run,
        sets.unseen,
        "--split",
        "train",
        "--output",
        output,
        "--overwrite",
        "--json",
    )
    for target in TARGETS:
        print_line(
            f"{study.name:<10} {which:<10} {seed:>4} {minutes:>7.1f}", target, found["targets"][target]
        )
    bases = found["nucleotides"]
    print(f"{'':<34} masked bases predicted correctly {bases['accuracy']:.3f}, loss {bases['loss']:.3f}")
    figures = found["targets"][TARGETS[0]]
    return float((1 - figures["baseline_r"]["jaccard"]) / (1 - figures["r"]))


def print_line(run: str, target: str, figures: dict[str, Any]) -> None:
    """Print the figures of a target."""
    baselines = ", ".join(f"{name} {r:.3f}" for name, r in figures["baseline_r"].items())
    print(f"{run}  {target:<28} {figures['r']:>6.3f}  {baselines}", flush=True)


def call(*command: object) -> dict[str, Any]:
    """Run a command, and return the JSON that it prints with `--json`."""
    ran = subprocess.run(
        list(map(str, command)), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return json.loads(ran.stdout) if "--json" in command else {}


if __name__ == "__main__":
    main()
