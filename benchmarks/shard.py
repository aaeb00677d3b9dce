"""Measure how long `aamprep shard` takes, beside biom-format: `python benchmarks/shard.py`.

The table is simulated: 10,000 samples x 100,000 ASVs (about 3 million counts, ids of 100 to 150 bases). The
time of `aamprep shard` is that of the whole program: start, reading, validation and writing. The time of
`biom.load_table` is that of this one call, which validates nothing, without the start of Python and its
imports. Both run in turn, several times, and medians are compared.

The aim is that sharding takes at most ten times as long as loading. The ratio is 10 x load / shard: above 1,
the aim is met.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from helpers.command_cost import Cost, run
from helpers.paths import HELPERS

NUM_SAMPLES, NUM_ASVS, ASVS_PER_SAMPLE = 10_000, 100_000, 285
ROUNDS = 5
AIM = 10
LOAD = """
import sys, time
import biom
start, cpu = time.perf_counter(), time.process_time()
table = biom.load_table(sys.argv[1])
print(time.perf_counter() - start, time.process_time() - cpu, table.nnz)
"""


def main() -> None:
    """Make the table, time both, and print the headline last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = map(str, (NUM_SAMPLES, NUM_ASVS, ASVS_PER_SAMPLE))
        run([sys.executable, str(HELPERS / "big_table.py"), "table.biom", *size], folder)
        loads, shards = [], []
        for _ in range(ROUNDS):
            loads.append(run([sys.executable, "-c", LOAD, "table.biom"], folder))
            shards.append(run([_aamprep(), "shard", "--overwrite"], folder))
        _print(folder, loads, shards)


def _aamprep() -> str:
    return str(Path(sys.executable).with_name("aamprep"))


def _print(folder: Path, loads: list[Cost], shards: list[Cost]) -> None:
    calls = [tuple(map(float, load.output.split()[-3:])) for load in loads]
    load, load_cpu, num_counts = (median(column) for column in zip(*calls, strict=True))
    shard = median(cost.seconds for cost in shards)
    shard_cpu = median(cost.cpu_seconds for cost in shards)
    megabytes = (folder / "table.biom").stat().st_size / 1e6
    print(f"{NUM_SAMPLES:,} samples x {NUM_ASVS:,} ASVs, {num_counts:,.0f} counts, {megabytes:.0f} MB")
    print(f"medians of {ROUNDS} rounds       time   processor   peak memory")
    print(f"biom.load_table (call)  {load:6.2f} s   {load_cpu:6.2f} s   {_peak(loads):8.0f} MB")
    print(f"aamprep shard (whole)   {shard:6.2f} s   {shard_cpu:6.2f} s   {_peak(shards):8.0f} MB")
    print(f"shard takes {shard / load:.1f} times what loading takes; the aim is {AIM} or less")
    print(f"in processor time, which a busy machine changes less, {shard_cpu / load_cpu:.1f} times")
    print(f"ratio {AIM * load / shard:.1f}")


def _peak(costs: list[Cost]) -> float:
    return median(cost.peak_bytes for cost in costs) / 1e6


if __name__ == "__main__":
    main()
