"""Rooting a tree at its midpoint: halfway between the two tips that are farthest apart (Farris 1972)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aamprep.arrays import Floats, Integers
from aamprep.read.types import Tree


@dataclass(frozen=True)
class Rooted:
    """A tree whose root is the last node."""

    parent: Integers
    """Node number of each parent; -1 at the root."""
    length: Floats
    """Length of the branch above each node; NaN where there is none. The root's is not written."""
    names: tuple[str, ...]


def root_at_midpoint(tree: Tree) -> Rooted:
    """Root a tree halfway between its two farthest tips.

    Parameters
    ----------
    tree : Tree
        With two tips or more. Branches that are missing or negative count as 0, and are 0 afterwards. What
        stands above the first fork is left out: turned round, it would be a tip.
    """
    fork = int(np.argmax(tree.num_children != 1))  # above it every node has one child
    old_parent = np.maximum(tree.parent[fork:] - fork, -1)
    length = np.where(tree.length > 0, tree.length, 0.0)[fork:]
    length[0] = 0.0
    node, above = _middle(old_parent, length)
    up = int(old_parent[node])
    parent, lengths = _turned(old_parent, length, node)
    root = len(parent)
    # The branch above `node` is cut in two by the new root.
    return Rooted(
        parent=np.concatenate([_set(parent, (node, root), (up, root)), [-1]]),
        length=np.concatenate([_set(lengths, (node, above), (up, length[node] - above)), [0]]),
        names=(*tree.names[fork:], ""),
    )


def as_newick(tree: Rooted) -> str:
    """Write a tree as newick, every name in quotes."""
    children: list[list[int]] = [[] for _ in tree.parent]
    for node, parent in enumerate(tree.parent.tolist()):
        if parent >= 0:
            children[parent].append(node)
    parts: list[str] = []
    # A node is met twice: before its children, then after them.
    waiting = [(len(tree.parent) - 1, False)]
    while waiting:
        node, is_done = waiting.pop()
        if children[node] and not is_done:
            parts.append("(")
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(children[node])]
            continue
        if is_done:
            parts[-1] = ")"  # in place of the comma after the last child
        parts += [_label(tree, node), ","]
    return "".join(parts[:-1]) + ";\n"


def _label(tree: Rooted, node: int) -> str:
    name = tree.names[node].replace("'", "''")
    quoted = f"'{name}'" if name else ""
    has_length = tree.parent[node] >= 0 and not np.isnan(tree.length[node])
    return f"{quoted}:{float(tree.length[node])!r}" if has_length else quoted


def _middle(parent: Integers, length: Floats) -> tuple[int, float]:
    """Find the branch that holds the midpoint: the node below it, and how far above that node it lies."""
    parents, lengths = parent.tolist(), length.tolist()
    highest = [(0.0, node) for node in range(len(parents))]
    longest, half, start = -1.0, 0.0, 0
    for node in range(len(parents) - 1, 0, -1):  # children come after their parents
        height, tip = highest[node]
        arm, up = height + lengths[node], parents[node]
        other, other_tip = highest[up]
        if other_tip != up and arm + other > longest:
            longest = arm + other
            half, start = longest / 2, tip if arm >= other else other_tip
        if other_tip == up or arm > other:
            highest[up] = (arm, tip)
    node, climbed = start, 0.0
    while parents[parents[node]] >= 0 and climbed + lengths[node] < half:
        climbed += lengths[node]
        node = parents[node]
    return node, min(half - climbed, lengths[node])


def _turned(parent: Integers, length: Floats, node: int) -> tuple[Integers, Floats]:
    """Turn round every branch between a node and the root."""
    parent, length = parent.copy(), length.copy()
    below, here, above_here = node, int(parent[node]), float(length[node])
    while here >= 0:
        up, above = int(parent[here]), float(length[here])
        parent[here], length[here] = below, above_here
        below, here, above_here = here, up, above
    return parent, length


def _set(values: npt.NDArray[np.generic], *changes: tuple[int, float]) -> npt.NDArray[np.generic]:
    for place, value in changes:
        values[place] = value
    return values
