"""Branches: the tree pruned to the ASVs, and which branches each sample covers.

With these lists the exact UniFrac distance of any two samples needs no tree and no N x N matrix.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aam_schemas.vocabulary import fold, is_sequence
from aamprep.arrays import Integers
from aamprep.read.types import Tree

if TYPE_CHECKING:
    import scipy.sparse as sp  # elsewhere imported where it is needed: without a tree, nothing waits for it


@dataclass(frozen=True)
class Branches:
    """A tree pruned to ASVs: a row per branch, parents before children; row 0 is the root."""

    length: npt.NDArray[np.float64]
    """0 at the root."""
    parent: Integers
    """Row of the parent; -1 at the root."""
    asv: Integers
    """The ASV at each tip; -1 inside."""


def find_tips(tree: Tree, names: list[tuple[str, ...]]) -> Integers:
    """Find each ASV's tip.

    Parameters
    ----------
    tree : Tree
    names : list of tuple of str, one per ASV
        What the tip may be called, in order of preference.

    Returns
    -------
    ndarray of int64, shape (ASVs,)
        Node numbers; -1 where the tree lacks the ASV.
    """
    # Sequences have one spelling; what is written exactly so comes first.
    tips = {fold(name): node for name, node in tree.tips.items() if is_sequence(name)} | tree.tips
    return np.array(
        [next((tips[name] for name in all_names if name in tips), -1) for all_names in names], dtype=np.int64
    )


def prune(tree: Tree, tip_of_asv: Integers) -> Branches:
    """Prune a tree to the ASVs that it has.

    Nodes with one child are merged into one branch, but the path up to the original root stays, since UniFrac
    counts it. A length that is missing or negative counts as 0.

    Parameters
    ----------
    tree : Tree
    tip_of_asv : ndarray of int64, shape (ASVs,)
        Node number of each ASV's tip; -1 where the tree lacks it.
    """
    asv_of_node = np.full(len(tree.parent), -1, dtype=np.int64)
    present = np.flatnonzero(tip_of_asv >= 0)
    asv_of_node[tip_of_asv[present]] = present
    kept = _with_ancestors(tree.parent, tip_of_asv[present])
    num_children = np.bincount(tree.parent[kept[kept > 0]], minlength=len(tree.parent))
    length = np.maximum(np.nan_to_num(tree.length), 0.0)

    rows: list[tuple[float, int, int]] = [(0.0, -1, -1)]
    row_of: dict[int, int] = {0: 0}
    merged_length: dict[int, float] = {}
    if length[0] > 0:  # a branch above the root is shared by all: it becomes the root's only child
        rows.append((float(length[0]), 0, -1))
        row_of[0] = 1
    for node in kept[kept > 0].tolist():
        above = int(tree.parent[node])
        total = float(length[node]) + merged_length.get(above, 0.0)
        if num_children[node] == 1:
            merged_length[node], row_of[node] = total, row_of[above]
        else:
            rows.append((total, row_of[above], int(asv_of_node[node])))
            row_of[node] = len(rows) - 1
    columns = zip(*rows, strict=True)
    lengths, parents, asvs = (np.array(column) for column in columns)
    return Branches(length=lengths, parent=parents, asv=asvs)


def cover(branches: Branches, num_asvs: int) -> "sp.csr_matrix":
    """Tell which branches lie on the path from the root to each ASV.

    Returns
    -------
    scipy.sparse.csr_matrix of float64, shape (ASVs, branches)
        1 where a branch lies above the ASV, and for the root, whose length is 0.
    """
    import scipy.sparse as sp

    tips = np.flatnonzero(branches.asv >= 0)
    asv, branch, node = [], [], tips
    while len(node):
        asv.append(branches.asv[tips])
        branch.append(node)
        above = branches.parent[node]
        tips, node = tips[above >= 0], above[above >= 0]
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *asv])
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *branch])
    shape = (num_asvs, len(branches.length))
    return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def reads_under(
    above: "sp.csr_matrix", indptr: Integers, asv: Integers, count: npt.NDArray[np.float64]
) -> "sp.csr_matrix":
    """Count each sample's reads under each branch.

    Parameters
    ----------
    above : csr_matrix, shape (ASVs, branches)
        From `cover`.
    indptr, asv, count : ndarray
        The samples, in sparse form.

    Returns
    -------
    scipy.sparse.csr_matrix of float64, shape (samples, branches)
        Sorted by branch.
    """
    import scipy.sparse as sp

    samples = sp.csr_matrix((count, asv, indptr), shape=(len(indptr) - 1, above.shape[0]))
    reads = samples @ above
    reads.sort_indices()
    return reads


def _with_ancestors(parent: Integers, tips: Integers) -> Integers:
    """List the tips and all nodes above them, the root included, parents first."""
    keep = np.zeros(len(parent), dtype=bool)
    keep[0] = True
    node = np.unique(tips)
    while len(node):
        keep[node] = True
        node = np.unique(parent[node])
        node = node[(node >= 0) & ~keep[node]]
    return np.flatnonzero(keep)
