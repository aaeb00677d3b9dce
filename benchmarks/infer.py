"""Measure how long it takes to embed a study, beside a plain transformer: `python benchmarks/infer.py`.

The plain transformer (`helpers/plain_transformer.py`) has the same sizes. It runs in evaluation mode without
gradients: `nn.TransformerEncoder`, every real ASV of every sample encoded again in chunks of 256, a
key-padding mask, logits at every position. Its time is proportional to the number of real ASVs, so it embeds
16 samples, drawn with a fixed seed, and its time is scaled up.

Ours (`aammodel.evaluation.embed`) embeds the whole study from its shards: first each distinct ASV once, then
the samples. It is measured twice: with the default model, and like for like, with the architecture of the
plain transformer (one position per base, no network over bases) and the same weights.

The studies are published ones (AAM_REAL_DATA, or ../shared/data beside the checkout) and a simulated one,
with a token limit of 512 (256 for homes-10333). Each method runs in a process of its own, and the plain one
runs before and after ours.

`--quick` takes two studies, and `--only STUDY` takes one. On a busy machine, use `--threads 1`: it counts
processor time.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from helpers.child_processes import children
from helpers.embedding_methods import embeddings
from helpers.workloads import SIMULATED, WORKLOADS, Workload

METHODS = ("ours", "like for like", "plain")


def main() -> None:
    """Measure, and print the headline last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two studies instead of four")
    parser.add_argument("--only", choices=[workload.name for workload in WORKLOADS], help="only this study")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    options = parser.parse_args()
    workloads = (WORKLOADS[0], SIMULATED) if options.quick else WORKLOADS
    chosen = [workload for workload in workloads if options.only in (None, workload.name)]
    with tempfile.TemporaryDirectory() as work:
        ratios = [measure(workload.shard(Path(work)), workload, options.threads) for workload in chosen]
    for index, name in enumerate(METHODS[:-1]):
        of_studies = [ratio[index] for ratio in ratios]
        print(f"{name:14} {median(of_studies):6.1f} times faster, median of the studies")
    print(f"ratio {median(ratio[0] for ratio in ratios):.1f}")


def measure(shards: Path, workload: Workload, threads: int) -> tuple[float, float]:
    """Time every method on a study; return how many times faster ours is, by default and like for like."""
    with children(embeddings, list(METHODS), shards, threads) as methods:
        facts = methods["plain"].facts
        before = methods["plain"].ask()
        ours, alike = methods["ours"].ask(), methods["like for like"].ask()
        after = methods["plain"].ask()
    plain = (before["seconds"] + after["seconds"]) / 2
    fraction = facts["distinct"] / facts["real"]
    print(
        f"{workload.name}: {facts['samples']} samples, {facts['real']} real ASVs, {facts['distinct']} "
        f"distinct ({fraction:.2f})"
    )
    print(f"  plain          {plain:8.1f} s (from {before['fraction']:.1%} of it)   {_memory(after)}")
    for name, answer in (("ours", ours), ("like for like", alike)):
        print(
            f"  {name:14} {answer['seconds']:8.1f} s {plain / answer['seconds']:6.1f} x   {_memory(answer)}",
            flush=True,
        )
    return plain / ours["seconds"], plain / alike["seconds"]


def _memory(answer: dict[str, float]) -> str:
    return f"{answer['peak_bytes'] / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
