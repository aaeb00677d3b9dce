"""Trees of any size as Newick text."""

from collections.abc import Callable


def balanced(size: int, tip: Callable[[int], str]) -> str:
    """Return a tree with two children at each node."""
    nodes = [tip(number) for number in range(size)]
    while len(nodes) > 2:
        pairs = [f"({a},{b}):0.1" for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
        nodes = pairs + nodes[2 * len(pairs) :]
    return f"({','.join(nodes)});"


def ladder(size: int) -> str:
    """Return a tree in which each branch splits off one tip."""
    return "(" * size + "t0:1" + "".join(f",t{number}:1):1" for number in range(1, size + 1)) + ";"


def star(size: int, tip: Callable[[int], str]) -> str:
    """Return a tree whose root has all tips as children."""
    return f"({','.join(map(tip, range(size)))});"
