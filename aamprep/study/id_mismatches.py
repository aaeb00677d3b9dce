"""Why ids that should match do not: what editors, spreadsheets and pipelines do to them."""

import re
from collections.abc import Callable, Sequence

from aam_schemas.vocabulary import is_sequence

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def near_misses(here: Sequence[str], there: Sequence[str]) -> str:
    """Say which single difference explains most of the ids that do not match.

    Returns
    -------
    str
        Such as `802 would match if case were ignored: 's1' is 'S1' there`; empty where nothing explains any.
    """
    # A tree has hundreds of thousands of tips; sequences were compared after folding, and have no other form.
    here = [one for one in here if not is_sequence(one)]
    best: list[tuple[str, str]] = []
    best_words = ""
    for words, form_here, form_there in _WAYS if here else ():
        pairs = _pairs(here, there, form_here, form_there)
        if len(pairs) > len(best):
            best, best_words = pairs, words
    if not best:
        return ""
    ours, theirs = best[0]
    return f"{len(best):,} would match if {best_words}: {ours!r} is {theirs!r} there"


Forms = Callable[[str], list[str]]


def _pairs(
    here: Sequence[str], there: Sequence[str], form_here: Forms, form_there: Forms
) -> list[tuple[str, str]]:
    """Match ids by their forms; each id there is matched once, so that accidents do not add up."""
    left = {form: one for one in reversed(there) for form in form_there(one) if form}
    pairs: dict[str, str] = {}
    for one in here:
        match = next((left[form] for form in form_here(one) if form in left), None)
        if match is not None:
            pairs.setdefault(match, one)
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
    return [text[match.end() :] for match in re.finditer(r"[._-]", text)]


def _number(text: str) -> list[str]:
    return [repr(float(text))] if _NUMBER.fullmatch(text) else []


_WAYS: tuple[tuple[str, Forms, Forms], ...] = (
    ("case were ignored", _no_case, _no_case),
    ("blanks were ignored", _no_blanks, _no_blanks),
    ("numbers had not lost their zeros, as they do in spreadsheets", _number, _number),
    ("dots, dashes, underscores and blanks were ignored", _no_punctuation, _no_punctuation),
    ("the prefix were taken off the table's ids", _without_prefix, _same),
    ("the prefix were taken off the other ids", _same, _without_prefix),
    ("only letters and digits counted, in either case", _letters_and_digits, _letters_and_digits),
)
"""What commonly befalls ids, the simplest first; among equals the simplest explanation stands."""
