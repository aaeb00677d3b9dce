"""Ids that a line of text can hold, so that other programs read back the ids that were written."""

import re
from collections.abc import Iterable

from aam_schemas.common.text import shorten

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters of ASCII and Latin-1 (tab and line ends among them), and the line ends of Unicode."""


def has_control(name: str) -> bool:
    """Return whether a name contains a tab, a line end or another control character."""
    return not name.isprintable() and _CONTROL.search(name) is not None


def without_control(name: str) -> str:
    """Return a name with `_` in place of each control character."""
    return _CONTROL.sub("_", name)


def lost_in_text(ids: Iterable[str], *, comments: bool = False) -> str:
    """Return why the first id that text cannot hold would not be read back. Empty if text can hold all.

    Parameters
    ----------
    ids : iterable of str
    comments : bool
        Whether readers of the file take a row that begins with `#` for a comment, as QIIME 2 does for
        metadata.
    """
    for name in ids:
        shown = f"the id {shorten(repr(name), 80)}"
        if has_control(name):
            return f"{shown} has a control character"
        if name != name.strip():
            return f"{shown} has blanks at its ends, which readers of text remove"
        if comments and name.startswith("#"):
            return f"{shown} begins with '#', which QIIME 2 reads as a comment"
    return ""
