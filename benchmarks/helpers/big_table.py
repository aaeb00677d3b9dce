"""Write a large simulated table as BIOM 2.1.

    python benchmarks/helpers/big_table.py FILE SAMPLES ASVS ASVS_PER_SAMPLE

Prevalence is skewed as in real studies: a few ASVs are in most samples, and most ASVs are in few samples.
Abundance follows prevalence. The ids are sequences of 100 to 150 bases.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from aamprep.read.biom.write import write_biom

SAMPLES_AT_ONCE = 5000
SHORTEST, LONGEST = 100, 150
SKEW = 0.9
"""Exponent of the power law from an ASV's rank to its prevalence."""


def write_big_table(path: Path, num_samples: int, num_asvs: int, asvs_per_sample: int) -> None:
    """Write a table of the given size; the same arguments give the same counts.

    Parameters
    ----------
    path : Path
    num_samples, num_asvs : int
    asvs_per_sample : int
        Median number of draws of an ASV; some ASVs are drawn twice.
    """
    rng = np.random.default_rng(0)
    sequences = _sequences(num_asvs, rng)
    # An ASV's rank must not follow from its column in the table.
    columns = rng.permutation(num_asvs)
    numbers = range(num_samples)
    parts = [
        _samples(numbers[first : first + SAMPLES_AT_ONCE], num_samples, columns, asvs_per_sample)
        for first in range(0, num_samples, SAMPLES_AT_ONCE)
    ]
    ids = tuple(f"study.sample.{number:07d}" for number in numbers)
    write_biom(path, ids, sequences, sp.vstack(parts, format="csr"))


def _sequences(number: int, rng: np.random.Generator) -> tuple[str, ...]:
    letters = rng.choice(np.frombuffer(b"ACGT", dtype=np.uint8), size=(number, LONGEST))
    lengths = rng.integers(SHORTEST, LONGEST + 1, size=number)
    return tuple(row[:length].tobytes().decode() for row, length in zip(letters, lengths, strict=True))


def _samples(
    numbers: range, num_samples: int, columns: npt.NDArray[np.int64], asvs_per_sample: int
) -> sp.csr_matrix:
    """Draw some samples; sample i holds each ASV of rank i modulo the samples, so that every ASV occurs."""
    rng = np.random.default_rng([1, numbers.start])
    num_asvs, rank = len(columns), np.arange(len(columns))
    chance = (rank + 10.0) ** -SKEW
    richness = rng.lognormal(np.log(asvs_per_sample), 0.5, size=len(numbers)).astype(np.int64) + 1
    drawn = np.searchsorted(np.cumsum(chance) / chance.sum(), rng.random(richness.sum()))
    fixed = rank[(rank % num_samples >= numbers.start) & (rank % num_samples < numbers.stop)]
    row = np.concatenate([np.repeat(np.arange(len(numbers)), richness), fixed % num_samples - numbers.start])
    asv = np.concatenate([np.minimum(drawn, num_asvs - 1), fixed])
    cell = np.unique(row * num_asvs + asv)
    row, asv = np.divmod(cell, num_asvs)
    reads = 1 + rng.lognormal(0.3 * np.log(chance[asv] / chance[-1]), 1.5).astype(np.int64)
    counts = sp.csr_matrix((reads.astype(np.float64), (row, columns[asv])), shape=(len(numbers), num_asvs))
    counts.sort_indices()
    return counts


if __name__ == "__main__":
    write_big_table(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
