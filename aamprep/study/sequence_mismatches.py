"""Explain why names of sequences do not match: hashes for sequences, other lengths, the other strand."""

import hashlib
from collections.abc import Iterable, Mapping

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import SHORTEST_SEQUENCE_ID, fold, is_sequence, reverse_complement
from aamprep.study.id_forms import hash_in
from aamprep.study.id_mismatches import Reason, best_of, nearest


def name_hint(sequences: Mapping[str, str], others: Iterable[str]) -> str:
    """Return why none of the names of sequences is in another file. Empty if there is no explanation.

    Parameters
    ----------
    sequences : mapping of str to str
        Sequences of the table in upper case, with T for U, by name.
    others : iterable of str
        Names in the other file.
    """
    others = list(others)
    changed = nearest(list(sequences), others)
    return str(best_of([changed, named_by_hash(others, sequences), _named_by_sequence(sequences, others)]))


def _named_by_sequence(sequences: Mapping[str, str], others: Iterable[str]) -> Reason:
    """Return how many sequences are names in another file: as they are, turned round, shorter or longer."""
    names = {fold(name) for name in others if is_sequence(name)}
    ours = set(sequences.values())
    if not names:
        return Reason()
    shortest = min(map(len, (*ours, *names)))
    starts = {name[:shortest] for name in names} if shortest >= SHORTEST_SEQUENCE_ID else set()
    numbers = {
        "ASVs were named by their sequences": len(ours & names),
        "sequences were turned round (reverse complement)": sum(reverse_complement(s) in names for s in ours),
        f"sequences were trimmed to their first {shortest} bases": sum(s[:shortest] in starts for s in ours),
    }
    return best_of(_reason(number, change) for change, number in numbers.items())


def _reason(number: int, change: str) -> Reason:
    return Reason(number, f"{number:,} would match if {change}" if number else "")


def named_by_hash(ids: Iterable[str], sequences: Mapping[str, str]) -> Reason:
    """Return how many ids are hashes of sequences with other names.

    Parameters
    ----------
    ids : iterable of str
    sequences : mapping of str to str
        Sequences by their other names.
    """
    wanted = {found: name for name in ids for found in hash_in(name)}
    for kind in ("md5", "sha1", "sha256") if wanted else ():
        digests = ((name, _digest(kind, sequence)) for name, sequence in sequences.items())
        found = [(wanted[digest], name) for name, digest in digests if digest in wanted]
        if found:
            hashed, name = (shorten(repr(each)) for each in found[0])
            change = f"sequences were named by their {kind.upper()}: {hashed} is that of {name}"
            return _reason(len(found), change)
    return Reason()


def _digest(kind: str, sequence: str) -> str:
    return hashlib.new(kind, fold(sequence).encode(), usedforsecurity=False).hexdigest()
