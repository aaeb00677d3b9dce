"""How long it takes to embed all samples of a study, in units of the usual way with models of the same sizes.

The usual way (`plain.py`, in evaluation mode, without gradients): `nn.TransformerEncoder`, every real ASV of
every sample encoded again, in chunks of 256, with a key-padding mask, logits at every position. Its time
follows the number of real ASVs: it embeds 16 samples, drawn by a fixed seed, and is scaled. Ours
(`aammodel.evaluation.embed`) embeds the whole study from its shards: each distinct ASV once, then the
samples. Beside our default model stands, told apart, the usual model with the same weights (a position a
base, no network over bases): like for like.

Real studies (AAM_REAL_DATA, or ../shared/data beside the checkout) and a simulated one, a token limit of 512
(256 for homes-10333). Each way runs in a process of its own; the usual one before and after ours.

Run it without arguments: `python benchmarks/infer.py`. `--quick` takes two studies, `--only STUDY` one. On a
busy machine `--threads 1` tells more: it counts processor time.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from children import children
from embeds import embeddings
from workload import SIMULATED, WORKLOADS, Workload

WAYS = ("ours", "like for like", "plain")


def main() -> None:
    """Measure, and print the headline last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two studies instead of four")
    parser.add_argument("--only", choices=[one.name for one in WORKLOADS], help="one study alone")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    options = parser.parse_args()
    workloads = (WORKLOADS[0], SIMULATED) if options.quick else WORKLOADS
    chosen = [one for one in workloads if options.only in (None, one.name)]
    with tempfile.TemporaryDirectory() as work:
        ratios = [measure(one.shard(Path(work)), one, options.threads) for one in chosen]
    for place, name in enumerate(WAYS[:-1]):
        several = [one[place] for one in ratios]
        print(f"{name:14} {median(several):6.1f} times faster, median of the studies")
    print(f"ratio {median(one[0] for one in ratios):.1f}")


def measure(shards: Path, workload: Workload, threads: int) -> tuple[float, float]:
    """Time every way on one study: how many times faster ours is, and ours like for like."""
    with children(embeddings, list(WAYS), shards, threads) as ways:
        facts = ways["plain"].facts
        before = ways["plain"].ask()
        ours, alike = ways["ours"].ask(), ways["like for like"].ask()
        after = ways["plain"].ask()
    plain = (before["seconds"] + after["seconds"]) / 2
    share = facts["distinct"] / facts["real"]
    print(
        f"{workload.name}: {facts['samples']} samples, {facts['real']} real ASVs, {facts['distinct']} "
        f"distinct ({share:.2f})"
    )
    print(f"  plain          {plain:8.1f} s (from {before['share']:.1%} of it)   {_memory(after)}")
    for name, one in (("ours", ours), ("like for like", alike)):
        print(
            f"  {name:14} {one['seconds']:8.1f} s {plain / one['seconds']:6.1f} x   {_memory(one)}",
            flush=True,
        )
    return plain / ours["seconds"], plain / alike["seconds"]


def _memory(answer: dict[str, float]) -> str:
    return f"{answer['peak_bytes'] / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
