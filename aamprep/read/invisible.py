"""Characters that no editor shows, in ids and in text: two names that look alike can differ in them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from aamprep.read.lines import count_ends
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_RANGES = (
    (0xA0, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x180E, 0x180E), (0x2000, 0x200F),
    (0x202A, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB),
)  # fmt: skip
HIDDEN = "".join(chr(code) for first, last in _RANGES for code in range(first, last + 1))
"""No-break and other odd blanks, soft hyphen, joiners, direction marks and byte order marks."""
_CONTROL = "".join(map(chr, [0x0B, 0x0C, *range(0x1C, 0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))
_MARK = re.compile("(?<=[\r\n])\ufeff+")
_NAMES = {"\ufeff": "BYTE ORDER MARK"}
_AROUND = 12
"""Characters that are shown on both sides."""


def without_marks(text: str) -> str:
    """Return a text without byte order marks at the start of its lines: `cat a.tsv b.tsv` leaves them."""
    return _MARK.sub("", text) if "\ufeff" in text else text


def report_in_text(text: str, where: str, findings: Findings) -> None:
    """Add a finding for each invisible character of a text, with its first line."""
    # Names with control characters have an error of their own.
    wanted = HIDDEN if rules.ID_CONTROL in findings.counts() else HIDDEN + _CONTROL
    # To look for one character after the other is faster than a regular expression.
    present = [c for c in wanted if (c.isascii() or not text.isascii()) and c in text]
    for start, character in sorted((text.find(character), character) for character in present):
        line = count_ends(text, 0, start) + 1
        value = f"{_name(character)} in {_around(text, start)!a}; {text.count(character):,} of them"
        findings.add(rules.INVISIBLE, f"{where}, line {line}", value)


def report_in_ids(ids: Iterable[str], where: str, findings: Findings) -> None:
    """Add a finding for each invisible character of ids, with the first such id."""
    numbers: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in ids:
        for character in () if name.isascii() else set(name).intersection(HIDDEN):
            numbers[character] += 1
            first.setdefault(character, name)
    for character, name in first.items():
        value = f"{_name(character)} in {name[:200]!a}; {numbers[character]:,} such ids"
        findings.add(rules.INVISIBLE, where, value)


def _name(character: str) -> str:
    name = _NAMES.get(character, unicodedata.name(character, "control character"))
    return f"U+{ord(character):04X} ({name.lower()})"


def _around(text: str, position: int) -> str:
    """Return the part of a line around a position, without tabs and line ends."""
    before = re.split("[\t\r\n]", text[max(position - _AROUND, 0) : position])[-1]
    after = re.split("[\t\r\n]", text[position : position + 1 + _AROUND])[0]
    return before + after
