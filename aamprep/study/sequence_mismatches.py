"""Explain why names of sequences do not match: hashes for sequences, other lengths, the other strand."""

import hashlib
from collections.abc import Iterable, Mapping

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import SHORTEST_SEQUENCE_ID, fold, is_sequence, reverse_complement
from aamprep.study.id_forms import hash_in
from aamprep.study.id_mismatches import mismatch_hint


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
    hint = named_by_hash(others, sequences) or _named_by_sequence(sequences, others)
    return hint or mismatch_hint(list(sequences), others)


def _named_by_sequence(sequences: Mapping[str, str], others: Iterable[str]) -> str:
    """Return how many sequences are names in another file: as they are, shorter, longer or turned round."""
    names = {fold(name) for name in others if is_sequence(name)}
    ours = set(sequences.values())
    if not names:
        return ""
    if number := len(ours & names):
        return f"{number:,} would match if ASVs were named by their sequences"
    if number := sum(reverse_complement(sequence) in names for sequence in ours):
        return f"{number:,} would match if sequences were turned round (reverse complement)"
    shortest = min(map(len, (*ours, *names)))
    starts = {name[:shortest] for name in names}
    number = sum(sequence[:shortest] in starts for sequence in ours)
    if not number or shortest < SHORTEST_SEQUENCE_ID:
        return ""
    return f"{number:,} would match if sequences were trimmed to their first {shortest} bases"


def named_by_hash(ids: Iterable[str], sequences: Mapping[str, str]) -> str:
    """Return how many ids are hashes of sequences with other names, as text. Empty if there are none.

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
            condition = f"if sequences were named by their {kind.upper()}"
            return f"{len(found):,} would match {condition}: {hashed} is that of {name}"
    return ""


def _digest(kind: str, sequence: str) -> str:
    return hashlib.new(kind, fold(sequence).encode(), usedforsecurity=False).hexdigest()
