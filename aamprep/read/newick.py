"""Newick trees, read in one pass without recursion.

Grammar: https://phylipweb.github.io/phylip/newicktree.html, with quoted names and [comments].
Names are taken literally: an underscore stays an underscore, in quotes or not, since feature ids hold
underscores and the table's ids are matched character by character.
"""

import re
from collections import Counter
from itertools import islice

import numpy as np
import numpy.typing as npt

from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_COMMENT = re.compile(r"'(?:[^']|'')*'|\[[^\]]*\]")
_TOKEN = re.compile(
    r"([(,);])\s*"
    r"(?:'((?:[^']|'')*)'|([^\s()\[\],:;']+(?:[ ]+[^\s()\[\],:;']+)*))?\s*"
    r"(?::\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*)?"
    r"|(\S)"
)
"""A bracket, comma or semicolon with the name and length that follow it; or a character out of place."""


def parse_newick(
    text: str, where: str, findings: Findings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], tuple[str, ...]]:
    """Parse one newick tree.

    Returns
    -------
    parent : ndarray of int64, shape (nodes,)
        Node number of each parent, -1 at the root, which is node 0; parents come before children.
    length : ndarray of float64, shape (nodes,)
        Length of the branch above each node; NaN where none is given.
    names : tuple of str
        Names of tips and inner nodes, quotes removed; support values are names, too.

    Raises
    ------
    RefusedError
        If the text is not newick; names line and column.
    """
    # A comma before the whole makes the root a child like any other; blanks keep the positions of comments.
    source = "," + _COMMENT.sub(lambda m: " " * len(m[0]) if m[0][0] == "[" else m[0], text)
    nodes = _Nodes()
    problem = nodes.grow(source)
    if problem is not None:
        token, words = problem
        raise RefusedError(rules.NEWICK_SYNTAX, f"{where}, {_place(source, token)}", words)
    parent = np.array(nodes.parent, dtype=np.int64)
    length = np.array([float(value) if value else np.nan for value in nodes.length])
    _check(parent, length, nodes.name, where, findings)
    return parent, length, tuple(nodes.name)


class _Nodes:
    """A tree as it grows, parents before children."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.name: list[str] = []
        self.length: list[str] = []
        self.inside = -1
        """The inner node whose children are being read."""
        self.child_due = False
        """Whether the text so far asks for one more child."""

    def grow(self, source: str) -> tuple[int, str] | None:
        """Read a whole text; give the number of the token that does not fit and why, or None."""
        tokens = _TOKEN.findall(source)
        for number, (mark, quoted, plain, length, stray) in enumerate(tokens):
            if stray:
                return number, f"unexpected {stray!r}"
            if mark == ";":
                return self._end(number, number == len(tokens) - 1 and not (quoted or plain or length))
            name = plain or quoted.replace("''", "'")
            problem = self._close(name, length) if mark == ")" else self._open(mark, name, length)
            if problem:
                return number, problem
        return len(tokens), "the text ends without ';'"

    def _open(self, mark: str, name: str, length: str) -> str | None:
        """Begin a child: after a bracket the first one of a new inner node, after a comma the next one."""
        if mark == "(":
            if not self.child_due:
                return "'(' where a comma is needed"
            self.inside = self._add("", "")
        elif self.child_due:
            self._add("", "")  # nothing before the comma: a tip without a name
        if mark == "," and self.inside < 0 and self.parent:
            return "',' outside of all brackets"
        self.child_due = not (name or length)
        if not self.child_due:
            self._add(name, length)
        return None

    def _close(self, name: str, length: str) -> str | None:
        """End an inner node, whose name and length follow its bracket."""
        if self.inside < 0:
            return "')' without '('"
        if self.child_due:
            self._add("", "")
        self.child_due = False
        node = self.inside
        self.name[node], self.length[node], self.inside = name, length, self.parent[node]
        return None

    def _end(self, number: int, is_last: bool) -> tuple[int, str] | None:
        if self.inside >= 0:
            return number, "';' before all brackets are closed"
        if self.child_due:
            return number, "there is no tree before ';'"
        return None if is_last else (number, "more text, or another tree, after ';'")

    def _add(self, name: str, length: str) -> int:
        self.parent.append(self.inside)
        self.name.append(name)
        self.length.append(length)
        return len(self.parent) - 1


def _place(source: str, token: int) -> str:
    """Line and column of a token, as the user sees them."""
    match = next(islice(_TOKEN.finditer(source), token, None), None)
    position = match.start() if match else len(source)
    line_start = source.rfind("\n", 0, position) + 1
    column = position - line_start + (line_start > 0)  # the first line begins with our own comma
    return f"line {source.count(chr(10), 0, position) + 1}, column {max(column, 1)}"


def _check(
    parent: npt.NDArray[np.int64],
    length: npt.NDArray[np.float64],
    names: list[str],
    where: str,
    findings: Findings,
) -> None:
    num_children = np.bincount(parent[1:], minlength=len(parent))
    tips = Counter(names[tip] for tip in np.flatnonzero(num_children == 0))
    if unnamed := tips.pop("", 0):
        findings.add(rules.NEWICK_TIP_UNNAMED, where, f"{unnamed:,} tips")
    twice = [(name, number) for name, number in tips.items() if number > 1]
    findings.add_each(
        rules.NEWICK_TIP_DUPLICATE, ((f"{where}: tip {name}", f"{n} times") for name, n in twice)
    )
    if num_children[0] > 2:
        findings.add(rules.NEWICK_UNROOTED, where, f"{num_children[0]:,} children of the root")
    infinite = np.flatnonzero(np.isinf(length))
    if len(infinite):
        raise RefusedError(rules.NEWICK_LENGTH_INFINITE, where, _branches(infinite, length, names))
    is_branch = np.arange(len(parent)) > 0
    for rule, bad in (
        (rules.NEWICK_LENGTH_MISSING, np.isnan(length) & is_branch),
        (rules.NEWICK_LENGTH_NEGATIVE, length < 0),
    ):
        if bad.any():
            findings.add(rule, where, _branches(np.flatnonzero(bad), length, names))


def _branches(nodes: npt.NDArray[np.intp], length: npt.NDArray[np.float64], names: list[str]) -> str:
    """Count branches and name the first."""
    first = int(nodes[0])
    name = f"above {names[first]!r}" if names[first] else f"above node {first}"
    return f"{len(nodes):,} branches, the first {name}: {length[first]:g}"
