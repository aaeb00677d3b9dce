"""Explain why ids do not match: changes that editors, spreadsheets and pipelines make to them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import fold, is_sequence
from aamprep.study import id_forms as forms
from aamprep.study.id_forms import Forms

_LONGEST = 2000
"""Number of characters above which an id is not compared."""
_MOST_CHARACTERS = 1 << 25
"""Number of characters of the ids that are compared, plus 50 for each id: half a million short ids."""

_R = "R's make.names had not changed"
Change = tuple[str, Forms, Forms]
"""Condition, and the forms of both ids that would be equal."""

SPELLINGS: tuple[Change, ...] = (
    ("accents were written alike (Unicode NFC)", forms.composed, forms.composed),
    ("invisible characters were removed", forms.visible, forms.visible),
    ("quotes around ids were removed", forms.unquoted, forms.unquoted),
    ("dashes, quotes and letters that look alike were the same", forms.look_alike, forms.look_alike),
    (f"{_R} the table's ids (X before digits, dots for other characters)", forms.without_x, forms.r_names),
    (f"{_R} the other ids (X before digits, dots for other characters)", forms.r_names, forms.without_x),
    ("annotations such as ;size=1 were removed", forms.without_annotation, forms.without_annotation),
    ("blanks were ignored", forms.no_blanks, forms.no_blanks),
    ("case were ignored", forms.no_case, forms.no_case),
)
"""Changes after which an id says as much as before, the most specific first."""

_CHANGES: tuple[Change, ...] = (
    *SPELLINGS,
    ("numbers had not lost their zeros, as they do in spreadsheets", forms.number, forms.number),
    ("text from the first blank, | or ; on were removed", forms.cut, forms.cut),
    ("dots, dashes, underscores and blanks were ignored", forms.no_punctuation, forms.no_punctuation),
    ("the prefix were taken off the table's ids", forms.without_prefix, forms.same),
    ("the prefix were taken off the other ids", forms.same, forms.without_prefix),
    ("the suffix were taken off the table's ids", forms.without_suffix, forms.same),
    ("the suffix were taken off the other ids", forms.same, forms.without_suffix),
    ("only the hashes within ids counted", forms.hash_in, forms.hash_in),
    ("only letters and digits counted, in either case", forms.letters_and_digits, forms.letters_and_digits),
)
"""All common changes of ids, the most specific first.

If two changes explain the same number of ids, the first is reported.
"""


@dataclass(frozen=True)
class Nearest:
    """The single change that explains most of the ids that do not match."""

    number: int = 0
    """Number of ids that it explains."""
    text: str = ""
    """Such as `if case were ignored: 's1' is 'S1' there`. Empty if no change explains any."""

    def __str__(self) -> str:
        """Return the number of ids and the change as text. Empty if there is no change."""
        return f"{self.number:,} would match {self.text}" if self.number else ""


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


def named_by_hash(ids: Iterable[str], sequences: Mapping[str, str]) -> str:
    """Return how many ids are hashes of sequences with other names, as text. Empty if there are none.

    Parameters
    ----------
    ids : iterable of str
    sequences : mapping of str to str
        Sequences by their other names.
    """
    wanted = {found: name for name in ids for found in forms.hash_in(name)}
    for kind in ("md5", "sha1", "sha256") if wanted else ():
        digests = ((name, _digest(kind, sequence)) for name, sequence in sequences.items())
        found = [(wanted[digest], name) for name, digest in digests if digest in wanted]
        if found:
            hashed, name = (shorten(repr(each)) for each in found[0])
            condition = f"if sequences were named by their {kind.upper()}"
            return f"{len(found):,} would match {condition}: {hashed} is that of {name}"
    return ""


def _digest(kind: str, sequence: str) -> str:
    return hashlib.new(kind, fold(sequence).encode(), usedforsecurity=False).hexdigest()


def nearest(here: Sequence[str], there: Sequence[str], changes: Sequence[Change] = _CHANGES) -> Nearest:
    """Return the change that explains most of the ids that do not match. See `mismatch_hint`."""
    both = {*here}.intersection(there)
    # Sequences are compared in one spelling already. Without them, large trees take no time here.
    here = _first([name for name in here if name not in both and _is_short(name) and not is_sequence(name)])
    there = _first([name for name in there if name not in both]) if here else []
    best: list[tuple[str, str]] = []
    best_change = ""
    for change, form_here, form_there in changes:
        if len(best) == min(len(here), len(there)):
            break
        pairs = _pairs(here, there, form_here, form_there)
        if len(pairs) > len(best):
            best, best_change = pairs, change
    return Nearest(len(best), f"if {best_change}: {_example(*best[0])}") if best else Nearest()


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
