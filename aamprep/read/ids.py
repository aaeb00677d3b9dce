"""Ids and column names that text files can hold: they are written to tables with one row per line."""

import re
from collections.abc import Iterable

from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters of ASCII and Latin-1 (tab and line ends among them), and the line ends of Unicode."""


def has_control(name: str) -> bool:
    """Return whether a name contains a tab, a line end or another control character."""
    return not name.isprintable() and _CONTROL.search(name) is not None


def without_control(name: str) -> str:
    """Return a name with `_` in place of each control character."""
    return _CONTROL.sub("_", name)


def refuse_control(names: Iterable[str], where: str) -> None:
    """Raise RefusedError if any name contains a control character, with the first such name."""
    bad = [name for name in names if has_control(name)]
    if bad:
        raise RefusedError(rules.ID_CONTROL, where, f"{bad[0][:200]!a}; {len(bad):,} such names")
