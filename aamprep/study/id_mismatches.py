"""Explain why ids do not match: changes that editors, spreadsheets and pipelines make to them."""

import re
from collections.abc import Callable, Sequence
from itertools import islice

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import is_sequence

_NUMBER = re.compile(r"[+-]?(\d++(\.\d*+)?|\.\d++)(e[+-]?\d++)?", re.IGNORECASE)

_LONGEST = 2000
"""Number of characters above which an id is not compared."""
_MOST_CHARACTERS = 1 << 25
"""Number of characters of the ids that are compared, plus 50 for each id: half a million short ids."""
_MOST_PREFIXES = 4
"""Number of separators of an id at which a prefix can end."""


def mismatch_hint(here: Sequence[str], there: Sequence[str]) -> str:
    """Return the single change that explains most of the ids that do not match.

    Parameters
    ----------
    here, there : sequence of str
        Ids of the table and of the other file, without a match.

    Returns
    -------
    str
        Such as `802 would match if case were ignored: 's1' is 'S1' there`. Empty if no change explains any.
    """
    # Sequences are compared in one spelling already. Without them, large trees take no time here.
    here = _first([name for name in here if len(name) <= _LONGEST and not is_sequence(name)])
    there = _first(there) if here else []
    best: list[tuple[str, str]] = []
    best_change = ""
    for change, form_here, form_there in _CHANGES if here else ():
        pairs = _pairs(here, there, form_here, form_there)
        if len(pairs) > len(best):
            best, best_change = pairs, change
    if not best:
        return ""
    ours, theirs = best[0]
    example = f"{shorten(repr(ours))} is {shorten(repr(theirs))} there"
    return f"{len(best):,} would match if {best_change}: {example}"


def _first(ids: Sequence[str]) -> list[str]:
    """Return the first ids, as many as can be compared quickly. All of them, for almost all studies."""
    chosen, number = [], 0
    for name in ids:
        number += len(name) + 50
        if number > _MOST_CHARACTERS:
            break
        if len(name) <= _LONGEST:
            chosen.append(name)
    return chosen


Forms = Callable[[str], list[str]]
"""Returns the forms of an id to compare. There may be none or several."""


def _pairs(
    here: Sequence[str], there: Sequence[str], form_here: Forms, form_there: Forms
) -> list[tuple[str, str]]:
    """Match ids by their forms. Every id there is matched once, so that chance matches do not add up."""
    candidates = {form: name for name in reversed(there) for form in form_there(name) if form}
    pairs: dict[str, str] = {}
    for name in here:
        match = next((candidates[form] for form in form_here(name) if form in candidates), None)
        if match is not None:
            pairs.setdefault(match, name)
    return [(ours, theirs) for theirs, ours in pairs.items()]


def _same(text: str) -> list[str]:
    return [text]


def _no_case(text: str) -> list[str]:
    return [text.casefold()]


def _no_blanks(text: str) -> list[str]:
    return ["".join(text.split())]


def _no_punctuation(text: str) -> list[str]:
    return [re.sub(r"[\s._-]", "", text)]


def _letters_and_digits(text: str) -> list[str]:
    return [re.sub(r"[\W_]", "", text).casefold()]


def _without_prefix(text: str) -> list[str]:
    separators = islice(re.finditer(r"[._-]", text), _MOST_PREFIXES)
    return [text[match.end() :] for match in separators]


def _number(text: str) -> list[str]:
    return [repr(float(text))] if _NUMBER.fullmatch(text) else []


_CHANGES: tuple[tuple[str, Forms, Forms], ...] = (
    ("case were ignored", _no_case, _no_case),
    ("blanks were ignored", _no_blanks, _no_blanks),
    ("numbers had not lost their zeros, as they do in spreadsheets", _number, _number),
    ("dots, dashes, underscores and blanks were ignored", _no_punctuation, _no_punctuation),
    ("the prefix were taken off the table's ids", _without_prefix, _same),
    ("the prefix were taken off the other ids", _same, _without_prefix),
    ("only letters and digits counted, in either case", _letters_and_digits, _letters_and_digits),
)
"""Common changes of ids, the simplest first: conditions, and the forms of both ids that would be equal.

If two changes explain the same number of ids, the first is reported.
"""
