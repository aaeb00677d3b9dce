"""Measure how much memory `aamprep shard` takes: `python benchmarks/shard_memory.py`.

The script shards simulated tables of 25,000 to 200,000 samples x 100,000 ASVs (about 80 ASVs a sample). It
watches the memory of all processes together: the program and the child process that reads the table. Samples
flow through in blocks. Only lists of their ids and a few figures per sample grow with their number.

The aim is a peak under 1.5 GB at 200,000 samples. The ratio is 1.5 GB / peak: above 1, the aim is met. The
script draws docs/memory.png.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

from helpers.command_cost import Cost, run
from helpers.paths import HELPERS, ROOT

mpl.use("Agg")  # needs no screen; chosen before pyplot is imported
from matplotlib import pyplot as plt

SAMPLES = (25_000, 50_000, 100_000, 200_000)
NUM_ASVS, ASVS_PER_SAMPLE = 100_000, 80
AIM_BYTES = 1.5e9
PLOT = ROOT / "docs" / "memory.png"


def main() -> None:
    """Measure each size, draw the curve, and print the headline last."""
    costs = {number: _shard(number) for number in SAMPLES}
    _draw(costs)
    largest = costs[SAMPLES[-1]].peak_bytes
    per_sample = (largest - costs[SAMPLES[0]].peak_bytes) / (SAMPLES[-1] - SAMPLES[0])
    print(f"each further sample takes {per_sample:,.0f} bytes; the curve is in {PLOT.name}")
    print(f"ratio {AIM_BYTES / largest:.1f}")


def _shard(num_samples: int) -> Cost:
    """Make a table of this size and shard it, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = map(str, (num_samples, NUM_ASVS, ASVS_PER_SAMPLE))
        run([sys.executable, str(HELPERS / "big_table.py"), "table.biom", *size], folder)
        cost = run([str(Path(sys.executable).with_name("aamprep")), "shard"], folder)
        megabytes = (folder / "table.biom").stat().st_size / 1e6
    print(
        f"{num_samples:7,} samples, {megabytes:4.0f} MB: {cost.seconds:5.1f} s, "
        f"{cost.peak_bytes / 1e6:5.0f} MB at its peak",
        flush=True,
    )
    return cost


def _draw(costs: dict[int, Cost]) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.5))
    axes.plot(list(costs), [cost.peak_bytes / 1e6 for cost in costs.values()], "o-", label="aamprep shard")
    axes.axhline(AIM_BYTES / 1e6, color="grey", linestyle="--", label="aim")
    axes.set(xlabel="samples", ylabel="peak memory, MB", xlim=(0, None), ylim=(0, None))
    axes.set_xticks(list(costs))
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.legend()
    figure.tight_layout()
    figure.savefig(PLOT, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
