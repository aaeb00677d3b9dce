"""Root a tree at its midpoint: halfway between the two tips that are farthest apart (Farris 1972)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aamprep.arrays import Float64Array, Int64Array
from aamprep.read.types import Tree


@dataclass(frozen=True)
class Rooted:
    """A tree whose root is the last node."""

    parent: Int64Array
    """Node number of the parent of each node, -1 for the root. Shape (nodes,)."""
    length: Float64Array
    """Length of the branch above each node, NaN if unknown. That of the root is ignored. Shape (nodes,)."""
    names: tuple[str, ...]
    """Name of each node, empty if it has none."""


def root_at_midpoint(tree: Tree) -> Rooted:
    """Root a tree halfway between its two farthest tips.

    Parameters
    ----------
    tree : Tree
        Tree with at least two tips. Missing and negative lengths are set to 0. Nodes above the first fork are
        removed, since they would become a tip.

    Returns
    -------
    Rooted
    """
    # Every node above the fork has one child.
    fork = int(np.argmax(tree.num_children != 1))
    old_parent = np.maximum(tree.parent[fork:] - fork, -1)
    length = np.where(tree.length > 0, tree.length, 0.0)[fork:]
    length[0] = 0.0
    node, above = _find_midpoint(old_parent, length)
    up = int(old_parent[node])
    parent, lengths = _reverse_path(old_parent, length, node)
    root = len(parent)
    # The new root divides the branch above `node` into two.
    return Rooted(
        parent=np.concatenate([_with_values(parent, (node, root), (up, root)), [-1]]),
        length=np.concatenate([_with_values(lengths, (node, above), (up, length[node] - above)), [0]]),
        names=(*tree.names[fork:], ""),
    )


def to_newick(tree: Rooted) -> str:
    """Return a tree as Newick, with all names in quotes."""
    children: list[list[int]] = [[] for _ in tree.parent]
    for node, parent in enumerate(tree.parent.tolist()):
        if parent >= 0:
            children[parent].append(node)
    parts: list[str] = []
    # Every node is visited twice: before and after its children.
    waiting = [(len(tree.parent) - 1, False)]
    while waiting:
        node, is_done = waiting.pop()
        if children[node] and not is_done:
            parts.append("(")
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(children[node])]
            continue
        if is_done:
            parts[-1] = ")"  # replaces the comma after the last child
        parts += [_label(tree, node), ","]
    return "".join(parts[:-1]) + ";\n"


def _label(tree: Rooted, node: int) -> str:
    name = tree.names[node].replace("'", "''")
    quoted = f"'{name}'" if name else ""
    has_length = tree.parent[node] >= 0 and not np.isnan(tree.length[node])
    return f"{quoted}:{float(tree.length[node])!r}" if has_length else quoted


def _find_midpoint(parent: Int64Array, length: Float64Array) -> tuple[int, float]:
    """Return the node below the midpoint, and the distance of the midpoint above this node."""
    parents, lengths = parent.tolist(), length.tolist()
    # Height and number of the highest tip below each node. A node whose children are not visited has itself.
    highest = [(0.0, node) for node in range(len(parents))]
    longest, half, farthest_tip = -1.0, 0.0, 0
    # In reverse order, since parents precede their children.
    for node in range(len(parents) - 1, 0, -1):
        height, tip = highest[node]
        arm, up = height + lengths[node], parents[node]
        other, other_tip = highest[up]
        if other_tip != up and arm + other > longest:
            longest = arm + other
            half, farthest_tip = longest / 2, tip if arm >= other else other_tip
        if other_tip == up or arm > other:
            highest[up] = (arm, tip)
    # The midpoint is on the longer arm: climb from its tip.
    node, climbed = farthest_tip, 0.0
    while parents[parents[node]] >= 0 and climbed + lengths[node] < half:
        climbed += lengths[node]
        node = parents[node]
    return node, min(half - climbed, lengths[node])


def _reverse_path(parent: Int64Array, length: Float64Array, node: int) -> tuple[Int64Array, Float64Array]:
    """Reverse all branches between a node and the root, so that they point to the new root."""
    parent, length = parent.copy(), length.copy()
    below, here, above_here = node, int(parent[node]), float(length[node])
    while here >= 0:
        up, above = int(parent[here]), float(length[here])
        parent[here], length[here] = below, above_here
        below, here, above_here = here, up, above
    return parent, length


def _with_values(values: npt.NDArray[np.generic], *changes: tuple[int, float]) -> npt.NDArray[np.generic]:
    for index, value in changes:
        values[index] = value
    return values
