"""Tables and files of any size for tests of growth."""

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from aamprep.read.biom.write import write_biom
from tests.helpers.growth import sequence_of


def entries(samples: int, asvs: int, per_sample: int = 3) -> sp.csr_matrix:
    """Return counts of as many ASVs in each sample, shape (samples, ASVs)."""
    row = np.repeat(np.arange(samples), per_sample)
    column = np.arange(samples * per_sample) % asvs
    return sp.csr_matrix((np.full(len(row), 500.0), (row, column)), (samples, asvs))


def write(
    folder: Path, counts: sp.csr_matrix, name: str = "t", first_sample: int = 0, first_asv: int = 0
) -> Path:
    """Write a table whose ids are numbers and sequences."""
    ids = tuple(f"s{first_sample + n}" for n in range(counts.shape[0]))
    features = tuple(sequence_of(first_asv + n) for n in range(counts.shape[1]))
    write_biom(folder / f"{name}.biom", ids, features, counts)
    return folder / f"{name}.biom"


def write_metadata(folder: Path, samples: int, columns: int, name: str = "s{}", cell: str = "{}") -> Path:
    """Write metadata with a row for each sample."""
    rows = [["id", *(f"c{n}" for n in range(columns))]]
    rows += ([name.format(row), *(cell.format(row + n) for n in range(columns))] for row in range(samples))
    (folder / "m.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return folder / "m.tsv"
