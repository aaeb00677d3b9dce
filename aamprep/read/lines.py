"""Lines of text files, one at a time: a list of all lines can take 50 times the memory of the text."""

import re
from collections.abc import Iterator

from aamprep.read.maxima import MOST_ENTRIES
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules

_REST_OF_LINE = re.compile(r"\S[^\r\n]*+")
_LINE_END = re.compile(r"\r\n?|\n")


class Lines:
    """Lines of a text that end with a line feed, a carriage return, or both.

    Parameters
    ----------
    text : str
    """

    def __init__(self, text: str) -> None:
        self._text, self._position = text, 0
        self.number = 0
        """Number of the last line, counted from 1."""

    def next_line(self) -> str | None:
        """Return the next line without its end. None at the end of the text."""
        start = self._position
        if start >= len(self._text):
            return None
        end = _LINE_END.search(self._text, start)
        self.number += 1
        self._position = end.end() if end else len(self._text)
        return self._text[start : end.start() if end else None]

    def skip_blank(self) -> None:
        """Skip the lines that are empty or hold blanks only."""
        text, start = self._text, self._position
        found = _REST_OF_LINE.search(text, start)
        position = found.start() if found else len(text)
        if position > start:
            self.number += count_ends(text, start, position)
            self._position = last_line(text, start, position) if found else position


def filled_lines(text: str, where: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, each with its number, counted from 1.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for the error.

    Raises
    ------
    RefusedError
        If there are more than `MOST_ENTRIES` such lines.
    """
    number, end = 1, 0
    for count, found in enumerate(_REST_OF_LINE.finditer(text)):
        start = found.start()
        if count == MOST_ENTRIES:
            raise RefusedError(rules.FILE_TOO_MANY, where, f"more than {MOST_ENTRIES:,} lines")
        if start == end + 1 and text[end] == "\n":
            number += 1
        elif start > end:
            number += count_ends(text, end, start)
            start = last_line(text, end, start)
        end = found.end()
        yield number, text[start:end]


def count_ends(text: str, start: int, end: int) -> int:
    """Return the number of line ends in a part of a text."""
    ends = text.count("\n", start, end) + text.count("\r", start, end)
    return ends - text.count("\r\n", start, end)


def last_line(text: str, start: int, end: int) -> int:
    """Return where the last line of a part of a text starts."""
    last = max(text.rfind("\n", start, end), text.rfind("\r", start, end))
    return last + 1 if last >= 0 else start
