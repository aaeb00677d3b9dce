"""Explain why ids do not match: changes that editors, spreadsheets and pipelines make to them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import is_sequence
from aamprep.study import id_forms as forms
from aamprep.study.id_forms import Forms

_LONGEST = 2000
"""Number of characters above which an id is not compared."""
_MOST_CHARACTERS = 1 << 25
"""Number of characters of the ids that are compared, plus 50 for each id: half a million short ids."""


@dataclass(frozen=True)
class Change:
    """A change of ids that a program makes."""

    condition: str
    """Condition under which ids would match."""
    here: Forms
    there: Forms
    """Forms of ids of the table and of the other file that would be equal."""
    needs: Callable[[str], bool] = bool
    """Return whether this change can affect a character. It is tried only if an id has such a character."""


def _both(condition: str, form: Forms, needs: Callable[[str], bool] = bool) -> Change:
    return Change(condition, form, form, needs)


def _is_special(character: str) -> bool:
    return not character.isascii()


_R = "R's make.names had not changed"
_R_DOES = "(X before digits, dots for other characters)"
_DATES = "a spreadsheet had not made dates"
SPELLINGS: tuple[Change, ...] = (
    _both("accents were written alike (Unicode NFC)", forms.composed, _is_special),
    _both("invisible characters were removed", forms.visible, _is_special),
    _both("quotes around ids were removed", forms.unquoted, forms.QUOTES.__contains__),
    _both("dashes, quotes and letters that look alike were the same", forms.look_alike, _is_special),
    _both("UTF-8 had not been read in another encoding", forms.decoded, _is_special),
    _both("escapes such as %20 and &amp; were resolved", forms.unescaped, "%&".__contains__),
    Change(f"{_R} the table's ids {_R_DOES}", forms.without_x, forms.r_names),
    Change(f"{_R} the other ids {_R_DOES}", forms.r_names, forms.without_x),
    _both("annotations such as ;size=1 were removed", forms.without_annotation, ";".__contains__),
    _both("blanks were ignored", forms.no_blanks, str.isspace),
    _both("case were ignored", forms.no_case),
    _both("accents were ignored", forms.unaccented, _is_special),
)
"""Changes after which an id says as much as before, the most specific first."""

_CHANGES: tuple[Change, ...] = (
    *SPELLINGS,
    _both("numbers had not lost their zeros, as they do in spreadsheets", forms.number, str.isdigit),
    _both("leading zeros were ignored", forms.without_zeros, "0".__contains__),
    Change(f"{_DATES} of the table's ids", forms.date_of, forms.pair_of, str.isdigit),
    Change(f"{_DATES} of the other ids", forms.pair_of, forms.date_of, str.isdigit),
    _both("text from the first blank, | or ; on were removed", forms.cut),
    _both("dots, dashes, underscores and blanks were ignored", forms.no_punctuation),
    Change("the prefix were taken off the table's ids", forms.without_prefix, forms.same),
    Change("the prefix were taken off the other ids", forms.same, forms.without_prefix),
    Change("the suffix were taken off the table's ids", forms.without_suffix, forms.same),
    Change("the suffix were taken off the other ids", forms.same, forms.without_suffix),
    Change("the letters were taken off the table's ids", forms.without_letters, forms.same, str.isdigit),
    Change("the letters were taken off the other ids", forms.same, forms.without_letters, str.isdigit),
    _both("only the hashes within ids counted", forms.hash_in, str.isdigit),
    _both("only letters and digits counted, in either case", forms.letters_and_digits),
)
"""All common changes of ids, the most specific first.

If two changes explain the same number of ids, the first is reported.
"""


@dataclass(frozen=True)
class Reason:
    """Why ids do not match."""

    number: int = 0
    """Number of ids that it explains."""
    text: str = ""
    """Such as `2 would match if case were ignored: 's1' is 'S1' there`. Empty if no reason is known."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def best_of(reasons: Iterable[Reason]) -> Reason:
    """Return the reason that explains most ids, the first of several."""
    return max(reasons, key=lambda reason: reason.number)


def mismatch_hint(here: Sequence[str], there: Sequence[str]) -> str:
    """Return the change that explains most of the ids that do not match, as text.

    Parameters
    ----------
    here, there : sequence of str
        Ids of the table and of the other file. Ids in both are left out.

    Returns
    -------
    str
        Such as `802 would match if case were ignored: 's1' is 'S1' there`. Empty if no change explains any.
    """
    return str(nearest(here, there))


def nearest(here: Sequence[str], there: Sequence[str], changes: Sequence[Change] = _CHANGES) -> Reason:
    """Return the change that explains most of the ids that do not match. See `mismatch_hint`."""
    both = {*here}.intersection(there)
    # Sequences are compared in one spelling already. Without them, large trees take no time here.
    here = _first([name for name in here if name not in both and _is_short(name) and not is_sequence(name)])
    there = _first([name for name in there if name not in both]) if here else []
    best: list[tuple[str, str]] = []
    best_change = ""
    characters = set[str]().union(*here, *there)
    for change in changes:
        if len(best) == min(len(here), len(there)):
            break
        pairs = _pairs(here, there, change) if any(map(change.needs, characters)) else []
        if len(pairs) > len(best):
            best, best_change = pairs, change.condition
    if not best:
        return Reason()
    return Reason(len(best), f"{len(best):,} would match if {best_change}: {_example(*best[0])}")


def _example(ours: str, theirs: str) -> str:
    """Return a pair of ids as text. Those that look alike are shown with code points."""
    seen = [forms.look_alike(forms.visible(name)[0]) for name in (ours, theirs)]
    shown = ascii if seen[0] == seen[1] else repr
    return f"{shorten(shown(ours))} is {shorten(shown(theirs))} there"


def _is_short(name: str) -> bool:
    return len(name) <= _LONGEST


def _first(ids: Sequence[str]) -> list[str]:
    """Return the first ids, as many as can be compared quickly. All of them, for almost all studies."""
    chosen, number = [], 0
    for name in ids:
        number += len(name) + 50
        if number > _MOST_CHARACTERS:
            break
        if _is_short(name):
            chosen.append(name)
    return chosen


def _pairs(here: Sequence[str], there: Sequence[str], change: Change) -> list[tuple[str, str]]:
    """Match ids by their forms. Every id there is matched once, so that chance matches do not add up."""
    candidates = {form: name for name in reversed(there) for form in change.there(name) if form}
    pairs: dict[str, str] = {}
    for name in here:
        match = next((candidates[form] for form in change.here(name) if form in candidates), None)
        if match is not None:
            pairs.setdefault(match, name)
    return [(ours, theirs) for theirs, ours in pairs.items()]
