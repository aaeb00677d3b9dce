"""Newick trees, parsed in one pass without recursion.

Grammar: https://phylipweb.github.io/phylip/newicktree.html, with quoted names and [comments]. In contrast to
the grammar, an underscore in a name is not read as a blank. Feature ids contain underscores and have to match
the ids of the table exactly.
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
# A name without quotes may contain single blanks, since many programs write them.
_TOKEN = re.compile(
    r"([(,);])\s*"
    r"(?:'((?:[^']|'')*)'|([^\s()\[\],:;']+(?:[ ]+[^\s()\[\],:;']+)*))?\s*"
    r"(?::\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*)?"
    r"|(\S)"
)
"""A parenthesis, comma or semicolon with the name and length that follow it; or an unexpected character."""


def parse_newick(
    text: str, where: str, findings: Findings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], tuple[str, ...]]:
    """Parse a Newick tree.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for findings.
    findings : Findings

    Returns
    -------
    parent : ndarray of int64, shape (nodes,)
        Node number of the parent of each node, -1 for the root. The root is node 0, and parents precede their
        children.
    length : ndarray of float64, shape (nodes,)
        Length of the branch above each node, NaN if none is given.
    names : tuple of str
        Names of tips and inner nodes without quotes. Support values are names of inner nodes.

    Raises
    ------
    RefusedError
        If the text is not valid Newick, with line and column, or a branch length is infinite.
    """
    # With a leading comma, the root is parsed like any other child. Comments are replaced by blanks, which
    # keeps the positions of all other characters.
    source = "," + _COMMENT.sub(lambda m: " " * len(m[0]) if m[0][0] == "[" else m[0], text)
    nodes = _Nodes()
    problem = nodes.parse(source)
    if problem is not None:
        token, reason = problem
        raise RefusedError(rules.NEWICK_SYNTAX, f"{where}, {_location(source, token)}", reason)
    parent = np.array(nodes.parent, dtype=np.int64)
    length = np.array([float(value) if value else np.nan for value in nodes.length])
    _check_tree(parent, length, nodes.name, where, findings)
    return parent, length, tuple(nodes.name)


class _Nodes:
    """A tree under construction. Parents precede their children."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.name: list[str] = []
        self.length: list[str] = []
        self.open_node = -1
        """Inner node whose children are being read, -1 outside of all parentheses."""
        self.expects_child = False
        """Whether a parenthesis or comma came last, so that a child must follow. It may be an unnamed tip."""

    def parse(self, source: str) -> tuple[int, str] | None:
        """Parse a text. Return the index of the first invalid token and the reason, or None."""
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
        """Begin a child: after a parenthesis the first of a new inner node, after a comma the next."""
        if mark == "(":
            if not self.expects_child:
                return "'(' where a comma is needed"
            self.open_node = self._add("", "")
        elif self.expects_child:
            self._add("", "")  # Nothing before the comma is a tip without a name.
        if mark == "," and self.open_node < 0 and self.parent:
            return "',' outside of all parentheses"
        self.expects_child = not (name or length)
        if not self.expects_child:
            self._add(name, length)
        return None

    def _close(self, name: str, length: str) -> str | None:
        """End an inner node. Its name and length follow the parenthesis."""
        if self.open_node < 0:
            return "')' without '('"
        if self.expects_child:
            self._add("", "")
        self.expects_child = False
        node = self.open_node
        self.name[node], self.length[node], self.open_node = name, length, self.parent[node]
        return None

    def _end(self, number: int, is_last: bool) -> tuple[int, str] | None:
        if self.open_node >= 0:
            return number, "';' before all parentheses are closed"
        if self.expects_child:
            return number, "there is no tree before ';'"
        return None if is_last else (number, "more text, or another tree, after ';'")

    def _add(self, name: str, length: str) -> int:
        self.parent.append(self.open_node)
        self.name.append(name)
        self.length.append(length)
        return len(self.parent) - 1


def _location(source: str, token: int) -> str:
    """Return the line and column of a token in the file, counted from 1."""
    match = next(islice(_TOKEN.finditer(source), token, None), None)
    position = match.start() if match else len(source)
    line_start = source.rfind("\n", 0, position) + 1
    column = position - line_start + (line_start > 0)  # The first line begins with the added comma.
    return f"line {source.count(chr(10), 0, position) + 1}, column {max(column, 1)}"


def _check_tree(
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
    duplicates = [(name, number) for name, number in tips.items() if number > 1]
    findings.add_each(
        rules.NEWICK_TIP_DUPLICATE, ((f"{where}: tip {name}", f"{n} times") for name, n in duplicates)
    )
    if num_children[0] > 2:
        findings.add(rules.NEWICK_UNROOTED, where, f"{num_children[0]:,} children of the root")
    infinite = np.flatnonzero(np.isinf(length))
    if len(infinite):
        raise RefusedError(rules.NEWICK_LENGTH_INFINITE, where, _describe_branches(infinite, length, names))
    is_branch = np.arange(len(parent)) > 0
    for rule, affected in (
        (rules.NEWICK_LENGTH_MISSING, np.isnan(length) & is_branch),
        (rules.NEWICK_LENGTH_NEGATIVE, length < 0),
    ):
        if affected.any():
            findings.add(rule, where, _describe_branches(np.flatnonzero(affected), length, names))


def _describe_branches(nodes: npt.NDArray[np.intp], length: npt.NDArray[np.float64], names: list[str]) -> str:
    """Return the number of branches and the name of the first."""
    first = int(nodes[0])
    name = f"above {names[first]!r}" if names[first] else f"above node {first}"
    return f"{len(nodes):,} branches, the first {name}: {length[first]:g}"
