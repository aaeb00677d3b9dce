"""How long `aamprep shard` takes, in units of opening the same file with biom-format.

A simulated table of 10,000 samples x 100,000 ASVs (about 3 million counts, ids of 100 to 150 bases) is
sharded by `aamprep shard`: the whole program, from its start through reading, validation and writing.
Against it stands `biom.load_table` on the same file: that one call alone, without Python's start and
imports, and it validates nothing. Both run in turn, several times; medians are compared. The aim is to shard
in no more than ten times what loading takes, so the ratio is 10 x load / shard: above 1, the aim is met.

Run it without arguments: `python benchmarks/shard.py`.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import Cost, run

NUM_SAMPLES, NUM_ASVS, ASVS_PER_SAMPLE = 10_000, 100_000, 285
ROUNDS = 5
AIM = 10
LOAD = """
import sys, time
import biom
start = time.perf_counter()
table = biom.load_table(sys.argv[1])
print(time.perf_counter() - start, table.nnz)
"""


def main() -> None:
    """Make the table, time both, and print the headline last."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = map(str, (NUM_SAMPLES, NUM_ASVS, ASVS_PER_SAMPLE))
        run([sys.executable, str(Path(__file__).with_name("big_table.py")), "table.biom", *size], folder)
        loads, shards = [], []
        for _ in range(ROUNDS):
            loads.append(run([sys.executable, "-c", LOAD, "table.biom"], folder))
            shards.append(run([_aamprep(), "shard", "--overwrite"], folder))
        _print(folder, loads, shards)


def _aamprep() -> str:
    return str(Path(sys.executable).with_name("aamprep"))


def _print(folder: Path, loads: list[Cost], shards: list[Cost]) -> None:
    seconds, num_counts = zip(*(map(float, one.output.split()[-2:]) for one in loads), strict=True)
    load, shard = median(seconds), median(one.seconds for one in shards)
    megabytes = (folder / "table.biom").stat().st_size / 1e6
    print(
        f"{NUM_SAMPLES:,} samples x {NUM_ASVS:,} ASVs, {num_counts[0]:,.0f} counts, {megabytes:.0f} MB; "
        f"medians of {ROUNDS} rounds"
    )
    print(f"biom.load_table  {load:6.2f} s  (the call alone)      {_peak(loads):6.0f} MB at its peak")
    print(f"aamprep shard    {shard:6.2f} s  (the whole program)   {_peak(shards):6.0f} MB at its peak")
    print(f"shard takes {shard / load:.1f} times what loading takes; the aim is {AIM} or less")
    print(f"ratio {AIM * load / shard:.1f}")


def _peak(costs: list[Cost]) -> float:
    return median(one.peak_bytes for one in costs) / 1e6


if __name__ == "__main__":
    main()
