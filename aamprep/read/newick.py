"""Newick trees, parsed in one pass without recursion.

Grammar: https://phylipweb.github.io/phylip/newicktree.html, with quoted names and [comments]. In contrast to
the grammar, an underscore in a name is not read as a blank. Feature ids contain underscores and have to match
the ids of the table exactly.
"""

import re
from array import array
from collections import Counter
from itertools import compress

import numpy as np
import numpy.typing as npt

from aamprep.read.ids import refuse_control
from aamprep.read.lines import count_ends, last_line
from aamprep.read.maxima import MOST_ENTRIES
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

# Possessive quantifiers (`*+`) never go back. So the pattern passes once over the text, whatever it is.
_GAP = r"(?:\s++|\[[^\]]*+\])*+"
"""Blanks and comments."""
# A name without quotes may contain blanks, since many programs write them.
_TOKEN = re.compile(
    rf"([(,);]){_GAP}"
    rf"(?:'((?:[^']++|'')*+)'|([^\s()\[\],:;']++(?:[^\S\t\r\n]++[^\s()\[\],:;']++)*+))?{_GAP}"
    rf"(?::{_GAP}([-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?){_GAP})?"
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
        If the text is not valid Newick, with line and column, a branch length is infinite, or a name contains
        control characters.
    """
    # With a leading comma, the root is parsed like any other child.
    source = "," + text
    most_nodes = source.count(",") + source.count("(")
    if most_nodes > MOST_ENTRIES:
        value = f"{most_nodes:,} nodes; at most {MOST_ENTRIES:,} are read"
        raise RefusedError(rules.FILE_TOO_MANY, where, value)
    nodes = _Nodes()
    problem = nodes.parse(source)
    if problem is not None:
        position, reason = problem
        if word := _LENGTH_WORD.match(source, position):
            location = f"{where}, {_location(source, position)}"
            raise RefusedError(rules.NEWICK_LENGTH_WORD, location, repr(word[1]))
        raise RefusedError(rules.NEWICK_SYNTAX, f"{where}, {_location(source, position)}", reason)
    parent = np.frombuffer(nodes.parent, dtype=np.int32).astype(np.int64)
    length = np.frombuffer(nodes.length, dtype=np.float64).copy()
    refuse_control(nodes.name, where)
    _check_tree(parent, length, nodes.name, where, findings)
    return parent, length, tuple(nodes.name)


_LENGTH_WORD = re.compile(r":\s*+(na|nan|null)(?=\s*[,)\[;])", re.IGNORECASE)


class _Nodes:
    """A tree under construction. Parents precede their children."""

    def __init__(self) -> None:
        self.parent = array("i")
        self.name: list[str] = []
        self.length = array("d")
        self.open_node = -1
        """Inner node whose children are being read, -1 outside of all parentheses."""
        self.expects_child = False
        """Whether a parenthesis or comma came last, so that a child must follow. It may be an unnamed tip."""

    def parse(self, source: str) -> tuple[int, str] | None:
        """Parse a text. Return the position of the first invalid token and the reason, or None."""
        for token in _TOKEN.finditer(source):
            mark, quoted, plain, length, stray = token.groups("")
            if stray:
                return token.start(), f"unexpected {stray!r}"
            if mark == ";":
                return self._end(
                    token.start(), token.end() == len(source) and not (quoted or plain or length)
                )
            name = plain or quoted.replace("''", "'")
            problem = self._close(name, length) if mark == ")" else self._open(mark, name, length)
            if problem:
                return token.start(), problem
        return len(source), "the text ends without ';'"

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
        self.name[node], self.length[node], self.open_node = name, _number(length), self.parent[node]
        return None

    def _end(self, position: int, is_last: bool) -> tuple[int, str] | None:
        if self.open_node >= 0:
            return position, "';' before all parentheses are closed"
        if self.expects_child:
            return position, "there is no tree before ';'"
        return None if is_last else (position, "more text, or another tree, after ';'")

    def _add(self, name: str, length: str) -> int:
        self.parent.append(self.open_node)
        self.name.append(name)
        self.length.append(_number(length))
        return len(self.parent) - 1


def _number(text: str) -> float:
    return float(text) if text else np.nan


def _location(source: str, position: int) -> str:
    """Return the line and column of a position in the file, counted from 1."""
    line_start = last_line(source, 0, position)
    column = position - line_start + (line_start > 0)  # The first line begins with the added comma.
    return f"line {count_ends(source, 0, position) + 1}, column {max(column, 1)}"


def _check_tree(
    parent: npt.NDArray[np.int64],
    length: npt.NDArray[np.float64],
    names: list[str],
    where: str,
    findings: Findings,
) -> None:
    num_children = np.bincount(parent[1:], minlength=len(parent))
    tips = list(compress(names, num_children == 0))
    if unnamed := tips.count(""):
        findings.add(rules.NEWICK_TIP_UNNAMED, where, f"{unnamed:,} tips")
    findings.add_each(
        rules.NEWICK_TIP_DUPLICATE,
        ((f"{where}: tip {name}", f"{number} times") for name, number in _duplicates(tips).items() if name),
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


def _duplicates(names: list[str]) -> dict[str, int]:
    """Return the names that occur several times, and how often. A hash of each name is all that is kept."""
    hashes = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
    in_order = np.sort(hashes)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    candidates = compress(names, np.isin(hashes, repeated)) if len(repeated) else ()
    return {name: number for name, number in Counter(candidates).items() if number > 1}
