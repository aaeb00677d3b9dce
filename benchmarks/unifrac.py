"""Measure how long UniFrac of 1,000 samples takes, beside scikit-bio: `python benchmarks/unifrac.py`.

A study is simulated and sharded. Ours reads the branch lists from the shards and computes the whole matrix.
scikit-bio gets the counts and the tree in memory. Its default engine is measured on 128 samples, and ours
again on the same samples. Its engine "fast" (it needs numba: pip install 'aamprep[bench]') is measured on all
samples. Methods that compile are warmed up once. The figures are medians of three runs. At the end, the
script measures the memory of batches with their distances, for this set and for one with 50 times as many
samples.

    python benchmarks/unifrac.py          # the headline: ours in float64 against "fast", 1,000 samples
    python benchmarks/unifrac.py --all    # weighted UniFrac, too
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from skbio import TreeNode
from skbio.diversity import beta_diversity

from aammodel.data.shards import open_shards
from aammodel.distances.metrics import METRICS
from aammodel.distances.sparse import Arithmetic
from aammodel.workflows.distance_matrix import AllPairs
from helpers.big_shards import write_big_shards
from helpers.paths import HELPERS

NUM_SAMPLES, NUM_ASVS, NUM_OF_DEFAULT = 1000, 20_000, 128
TIMES = 50


def main() -> None:
    """Print the times and the memory, and the headline last."""
    if not find_spec("numba"):
        # Without it the engine "fast" is the default one, which takes minutes.
        raise SystemExit("numba is not installed: pip install 'aamprep[bench]'")
    with tempfile.TemporaryDirectory() as folder:
        study = simulate(Path(folder))
        shards = study / "shards"
        counts, names, tree = for_scikit_bio(study)
        print(f"{len(counts):,} samples, {len(names):,} ASVs, {2 * len(names):,} branches")
        some = counts[:NUM_OF_DEFAULT]
        default = seconds(lambda: scikit_bio(some, names, tree, "unweighted_unifrac"), times=1)
        own = seconds(lambda: ours(shards, "unweighted_unifrac", NUM_OF_DEFAULT))
        print_comparison(f"default engine, {NUM_OF_DEFAULT} samples", default, own)
        metrics = (
            ("unweighted_unifrac", "weighted_unifrac") if "--all" in sys.argv else ("unweighted_unifrac",)
        )
        ratios = [against_fast(shards, counts, names, tree, metric) for metric in metrics]
        memory_of_batches(shards, Path(folder))
        print(f"ratio {ratios[0]:.1f}")


def memory_of_batches(shards: Path, folder: Path) -> None:
    """Stream batches with their distances from a set and a larger one, each in a process of its own."""
    for times in (1, TIMES):
        larger = write_big_shards(shards, folder / f"times-{times}", times)
        command = [sys.executable, HELPERS / "streaming_process.py", folder / f"times-{times}"]
        ran = subprocess.run([*command, "700", "unweighted_unifrac"], check=True, capture_output=True)
        print(
            f"  batches of 32 with their distances, {larger.num_samples:,} samples: "
            f"{json.loads(ran.stdout)['megabytes']:.0f} MB "
            f"(a matrix of all pairs: {larger.num_samples**2 * 4 / 1e6:,.0f} MB)",
            flush=True,
        )


def against_fast(shards: Path, counts: np.ndarray, names: list[str], tree: TreeNode, metric: str) -> float:
    """Time engine "fast" and ours on all samples, compare their results, and return the ratio."""
    scikit_bio(counts[:4], names, tree, metric, engine="fast")  # compiles
    fast = seconds(lambda: scikit_bio(counts, names, tree, metric, engine="fast"))
    single = seconds(lambda: ours(shards, metric, len(counts), np.float32))
    double = seconds(lambda: ours(shards, metric, len(counts)))
    print_comparison(f"{metric}, engine fast, {len(counts):,} samples; ours in float64", fast, double)
    print_comparison(f"{metric}, engine fast, {len(counts):,} samples; ours in float32", fast, single)
    apart = np.abs(
        ours(shards, metric, len(counts), np.float32) - scikit_bio(counts, names, tree, metric, "fast")
    )
    print(f"  largest difference {apart.max():.1e}")
    return fast / double


def simulate(folder: Path) -> Path:
    """Simulate and shard a study."""
    study = folder / "study"
    size = ("--samples", str(NUM_SAMPLES), "--asvs", str(NUM_ASVS))
    subprocess.run(["aamprep", "simulate", study, *size], check=True, capture_output=True)
    command = ["aamprep", "shard", study / "table.biom", "--output", study / "shards"]
    subprocess.run(command, check=True, capture_output=True)
    return study


def for_scikit_bio(study: Path) -> tuple[np.ndarray, list[str], TreeNode]:
    """Return the counts of all samples in the order of the shards, their ASVs, and the tree."""
    samples = pl.concat(pl.read_parquet(file) for file in files_in_order(study / "shards"))
    asvs = pl.read_parquet(study / "shards" / "asvs.parquet")["asv_id"].to_list()
    counts = np.zeros((len(samples), len(asvs)), dtype=np.int64)
    for row, sample in enumerate(samples.iter_rows(named=True)):
        counts[row, sample["asv"] + sample["dropped_asv"]] = sample["count"] + sample["dropped_count"]
    tree = next(study.glob("*tree*.nwk")).read_text()
    return counts, asvs, TreeNode.read(io.StringIO(tree), convert_underscores=False)


def files_in_order(shards: Path) -> list[Path]:
    """Return the files of samples in the order of the manifest."""
    return [shards / file.name for file in open_shards(shards).manifest.files if file.split]


def scikit_bio(
    counts: np.ndarray, names: list[str], tree: TreeNode, metric: str, engine: str | None = None
) -> np.ndarray:
    """Compute all pairs with scikit-bio."""
    return beta_diversity(metric, counts, taxa=names, tree=tree, engine=engine, validate=False).data


def ours(shards: Path, metric: str, num_samples: int, dtype: type = np.float64) -> np.ndarray:
    """Read the first samples from the shards and compute all pairs."""
    pairs = AllPairs(open_shards(shards), metric, None, Arithmetic(dtype))
    matrix = np.empty((pairs.num_samples, pairs.num_samples))
    if num_samples == pairs.num_samples:
        pairs.fill(matrix, lambda fraction: None)
        return matrix
    samples = pairs.read(pairs.blocks()[0])[:num_samples]
    return METRICS[metric].between(samples, samples, pairs.shards.metric_inputs, pairs.arithmetic)


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the median time of some calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def print_comparison(label: str, theirs: float, own: float) -> None:
    """Print the times of scikit-bio and ours, and their ratio."""
    print(f"  {label}: {theirs:.2f} s; ours {own:.2f} s; {theirs / own:.1f} times", flush=True)


if __name__ == "__main__":
    main()
