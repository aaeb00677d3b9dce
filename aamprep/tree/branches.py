"""The tree pruned to the ASVs, and the branches that each sample covers.

With the branch lists of two samples, their exact UniFrac distance can be computed without the tree and
without an N x N matrix.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aam_schemas.vocabulary import fold, is_sequence
from aamprep.arrays import Int64Array
from aamprep.read.types import Tree

if TYPE_CHECKING:
    # Functions import scipy when they need it, so that work without a tree does not wait for the import.
    import scipy.sparse as sp


MOST_PATH_BRANCHES = 1 << 25
MOST_PER_ASV = 128
"""The paths from the root to all ASVs are held in memory, 12 bytes a branch. They may have the first of these
numbers of branches in all, or the second for each ASV, whichever is more. Real trees have 20 to 70 branches
above an ASV. Where each branch splits off a single ASV, 8,000 ASVs reach the limit."""
MOST_LEVELS = 1 << 16
"""Largest number of branches on one path."""


@dataclass(frozen=True)
class Branches:
    """A tree pruned to ASVs, with a row for each branch. Row 0 is the root, and parents precede children."""

    length: npt.NDArray[np.float64]
    """Length of each branch, 0 for the root. Shape (branches,)."""
    parent: Int64Array
    """Row of the parent of each branch, -1 for the root. Shape (branches,)."""
    asv: Int64Array
    """ASV of each tip, -1 for inner branches. Shape (branches,)."""


def find_tips(tree: Tree, names: list[tuple[str, ...]]) -> Int64Array:
    """Find the tip of each ASV.

    Parameters
    ----------
    tree : Tree
    names : list of tuple of str, one per ASV
        Possible names of the tip, in order of preference.

    Returns
    -------
    ndarray of int64, shape (ASVs,)
        Node numbers, -1 if the tree lacks the ASV.
    """
    # Tips named by sequences match in either case and with U for T. An exact match has precedence.
    tips = {fold(name): node for name, node in tree.tips.items() if is_sequence(name)} | tree.tips
    return np.array(
        [next((tips[name] for name in all_names if name in tips), -1) for all_names in names], dtype=np.int64
    )


def prune(tree: Tree, tip_of_asv: Int64Array) -> Branches:
    """Prune a tree to the ASVs.

    A node with one child is merged with the branch of its child. The path up to the original root is kept,
    since UniFrac includes it. Missing and negative lengths count as 0.

    Parameters
    ----------
    tree : Tree
    tip_of_asv : ndarray of int64, shape (ASVs,)
        Node number of the tip of each ASV, -1 if the tree lacks it.
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
    # A branch above the root is shared by all ASVs. It becomes the only child of the root.
    if length[0] > 0:
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


def tree_problems(branches: Branches, num_asvs: int) -> list[tuple[int, str]]:
    """Return the first row that violates each property of a pruned tree, with a description."""
    length, parent, asv = branches.length, branches.parent, branches.asv
    row = np.arange(len(parent))
    if not len(row):
        return [(0, "there is no root")]
    is_inner = np.isin(row, parent)
    duplicate = np.ones(len(row), dtype=bool)
    duplicate[np.unique(asv, return_index=True)[1]] = False
    tests = {
        "its length is negative or non-finite": ~(np.isfinite(length) & (length >= 0)),
        "it is not the root, but has no parent": (parent < 0) & (row > 0),
        "it is the root, but has a parent or a length": (row == 0) & ((parent >= 0) | (length != 0)),
        "its parent does not come before it": parent >= row,
        "it is a tip without an ASV": ~is_inner & (asv < 0) & (row > 0),
        "it has an ASV, but is not a tip": is_inner & (asv >= 0),
        "its ASV is not a row of asvs.parquet": asv >= num_asvs,
        "its ASV already has another branch": duplicate & (asv >= 0),
    }
    return [(int(np.argmax(bad)), words) for words, bad in tests.items() if bad.any()]


def num_above(branches: Branches) -> Int64Array:
    """Return the number of branches on the path from the root to each branch, itself included."""
    found = [0] * len(branches.parent)
    for row, parent in enumerate(branches.parent.tolist()):
        found[row] = found[parent] + 1 if parent >= 0 else 1
    return np.array(found, dtype=np.int64)


def path_problem(branches: Branches) -> str:
    """Return why the paths from the root to the ASVs are too long for the memory, or an empty text."""
    sizes = num_above(branches)[branches.asv >= 0]
    total, longest = int(sizes.sum()), int(sizes.max(initial=0))
    if longest > MOST_LEVELS:
        return f"an ASV is {longest:,} branches from the root; at most {MOST_LEVELS:,} are read"
    most = max(MOST_PATH_BRANCHES, MOST_PER_ASV * len(sizes))
    if total > most:
        return f"the paths from the root to the ASVs have {total:,} branches; at most {most:,} are read"
    return ""


def branches_above(branches: Branches, num_asvs: int) -> "sp.csr_matrix":
    """Return the branches on the path from the root to each ASV.

    Returns
    -------
    scipy.sparse.csr_matrix of float64, shape (ASVs, branches)
        1 if a branch is above the ASV, and for the root, whose length is 0.
    """
    import scipy.sparse as sp

    tips = np.flatnonzero(branches.asv >= 0)
    sizes = np.zeros(num_asvs, dtype=np.int64)
    sizes[branches.asv[tips]] = num_above(branches)[tips]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    indices = np.empty(indptr[-1], dtype=np.int32)
    # All ASVs climb to their parents together until each is at the root. Rows are filled from their end.
    node, at = tips, indptr[branches.asv[tips] + 1] - 1
    while len(node):
        indices[at] = node
        above = branches.parent[node]
        node, at = above[above >= 0], at[above >= 0] - 1
    shape = (num_asvs, len(branches.length))
    return sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=shape)


def reads_under(
    above: "sp.csr_matrix", indptr: Int64Array, asv: Int64Array, count: npt.NDArray[np.float64]
) -> "sp.csr_matrix":
    """Return the number of reads of each sample under each branch.

    Parameters
    ----------
    above : csr_matrix, shape (ASVs, branches)
        Result of `branches_above`.
    indptr : ndarray of int64, shape (samples + 1,)
        Offsets of the samples in `asv` and `count`.
    asv : ndarray of int64, shape (entries,)
    count : ndarray of float64, shape (entries,)

    Returns
    -------
    scipy.sparse.csr_matrix of float64, shape (samples, branches)
        Sorted by branch within a sample.
    """
    import scipy.sparse as sp

    samples = sp.csr_matrix((count, asv, indptr), shape=(len(indptr) - 1, above.shape[0]))
    reads = samples @ above
    reads.sort_indices()
    return reads


def _with_ancestors(parent: Int64Array, tips: Int64Array) -> Int64Array:
    """Return the tips and all nodes above them up to the root, parents first."""
    keep = np.zeros(len(parent), dtype=bool)
    keep[0] = True
    node = np.unique(tips)
    while len(node):
        keep[node] = True
        node = np.unique(parent[node])
        node = node[(node >= 0) & ~keep[node]]
    return np.flatnonzero(keep)
