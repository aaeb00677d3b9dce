"""Write a random tree over the ASVs of a table as Newick.

    python benchmarks/helpers/big_tree.py TABLE FILE

Pairs of lineages are joined in random order until one is left. Branch lengths are exponential.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

MEAN_LENGTH = 0.05


def write_big_tree(table: Path, path: Path) -> None:
    """Write a tree whose tips are the ASVs of a BIOM 2.1 table; the same table gives the same tree."""
    with h5py.File(table) as file:
        names = [name.decode() for name in file["observation/ids"][:]]
    rng = np.random.default_rng(0)
    while len(names) > 1:
        lengths = rng.exponential(MEAN_LENGTH, len(names))
        order = rng.permutation(len(names)).tolist()
        branches = [f"{names[index]}:{lengths[index]:.4f}" for index in order]
        joined = [f"({left},{right})" for left, right in zip(branches[::2], branches[1::2], strict=False)]
        names = joined + ([names[order[-1]]] if len(names) % 2 else [])
    path.write_text(names[0] + ";\n")


if __name__ == "__main__":
    write_big_tree(Path(sys.argv[1]), Path(sys.argv[2]))
