"""The sequence of each feature: its id, or an entry of rep-seqs. If a table has none, the reason."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aam_schemas.common.text import shorten
from aam_schemas.vocabulary import SHORTEST_SEQUENCE_ID, first_invalid_position, fold, is_sequence
from aamprep.read.maxima import MOST_BASES
from aamprep.read.types import CountTable, Sequences
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.study.id_forms import hash_in
from aamprep.study.id_mismatches import best_of, nearest
from aamprep.study.sequence_mismatches import named_by_hash
from aamprep.study.transposed import Names, why_transposed

_UNREADABLE = (rules.FASTA_FORMAT, rules.FASTA_ID_EMPTY, rules.FASTA_ID_DUPLICATE, rules.FASTA_SEQUENCE_EMPTY)
"""Rules because of which rep-seqs can be left without any sequence."""

_TAXON = re.compile(r"([^;]*;\s*)?([a-z]{1,2}|d_\d+)__", re.IGNORECASE)
_GAPS = "-.~"
_AMINO_ACIDS = "EFILPQ"
"""Amino acids whose letters stand for no nucleotides."""
_NO_LETTERS = str.maketrans("", "", _GAPS + "*")


@dataclass(frozen=True)
class NoSequence:
    """Reason why a feature has no valid sequence."""

    rule: Rule
    noun: str
    """Noun for the feature in findings: feature or ASV."""
    value: str = ""
    invalid: str = ""
    """Characters of the sequence that are no nucleotides, each once."""


_MISSING = NoSequence(rules.NO_SEQUENCE, "feature")
_NO_BASES = NoSequence(rules.NOT_A_NUCLEOTIDE, "ASV", "no bases")


def resolve(feature_id: str, sequences: Sequences | None) -> str | NoSequence:
    """Return the sequence of a feature in upper case with T for U, or why there is no valid one."""
    if sequences is not None and feature_id in sequences.by_id:
        return _valid_sequence(sequences.by_id[feature_id])
    # Gaps of an alignment and a stop sign do not make a name of a sequence.
    is_written_out = is_sequence(feature_id) or is_sequence(feature_id.translate(_NO_LETTERS))
    return _valid_sequence(feature_id) if is_written_out else _MISSING


def _valid_sequence(sequence: str) -> str | NoSequence:
    position = first_invalid_position(sequence)
    if position is not None:
        gap = ", a gap of an alignment" if sequence[position] in _GAPS else ""
        value = f"{sequence[position]!a} at base {position + 1}{gap}"
        invalid = "".join(sorted(letter for letter in set(sequence) if first_invalid_position(letter) == 0))
        return NoSequence(rules.NOT_A_NUCLEOTIDE, "ASV", value, invalid)
    if len(sequence) > MOST_BASES:
        return NoSequence(rules.SEQUENCE_TOO_LONG, "ASV", f"{len(sequence):,} bases")
    return fold(sequence) if sequence else _NO_BASES


def check_sequences(
    tables: Sequence[CountTable],
    resolved: Sequence[Sequence[str | NoSequence]],
    sequences: Sequences | None,
    names: Names,
    findings: Findings,
) -> bool:
    """Return whether the sequences of every table can be used, and report the features without one.

    If no feature of a table has a sequence, there is one finding about the table, with the first cause that
    applies: rep-seqs that could not be read, characters that are no nucleotides, samples and features
    exchanged, other ids.

    Parameters
    ----------
    tables : sequence of CountTable
    resolved : sequence of sequence of (str or NoSequence)
        Result of `resolve` for each feature of each table.
    sequences : Sequences, optional
        Rep-seqs.
    names : Names
        Ids in all files beside the tables.
    findings : Findings

    Returns
    -------
    bool
        False if no table has a sequence, or a table was made with other features.
    """
    fits = True
    for table, features in zip(tables, resolved, strict=True):
        some = any(isinstance(result, str) for result in features)
        if some or any(isinstance(result, NoSequence) and result is not _MISSING for result in features):
            _report_features(table, features, sequences, not some, findings)
        else:
            fits = False
            _report_table(table, sequences, names, findings)
    return fits and any(isinstance(result, str) for features in resolved for result in features)


def _report_features(
    table: CountTable,
    features: Sequence[str | NoSequence],
    sequences: Sequences | None,
    all_fail: bool,
    findings: Findings,
) -> None:
    """Report each feature without a sequence. If all of them are invalid, report these as one."""
    reasons = [
        (name, result)
        for name, result in zip(table.feature_ids, features, strict=True)
        if isinstance(result, NoSequence)
    ]
    invalid = [(name, why) for name, why in reasons if why.invalid]
    if all_fail and len(invalid) > 1:
        is_beside = sequences is not None and invalid[0][0] in sequences.by_id
        where = sequences.source.name if sequences is not None and is_beside else table.path
        findings.add(rules.NOT_A_NUCLEOTIDE, where, _about_all(invalid))
        reasons = [(name, why) for name, why in reasons if not why.invalid]
    for name, why in reasons:
        findings.add(why.rule, f"{table.path}: {why.noun} {name}", why.value)


def _about_all(invalid: Sequence[tuple[str, NoSequence]]) -> str:
    """Return what the sequences of a table hold in place of nucleotides, and what that means."""
    numbers = Counter(letter for _, why in invalid for letter in why.invalid)
    letters = [letter for letter, _ in numbers.most_common(6)]
    held = ", ".join(map(ascii, letters[:-1])) + (" or " if letters[1:] else "") + ascii(letters[-1])
    meaning = Counter(_meaning(why.invalid) for _, why in invalid).most_common(1)[0][0]
    name, why = invalid[0]
    example = f"ASV {shorten(name)} has {why.value.split(',')[0]}"
    return f"all {len(invalid):,} sequences hold {held}: {meaning}; {example}"


def _meaning(invalid: str) -> str:
    """Return what characters say that are no nucleotides, and what to do about them."""
    letters = set(invalid.upper())
    if len(letters.intersection(_AMINO_ACIDS)) > 1:
        return "these are proteins; give the nucleotide sequences"
    if letters.intersection(_GAPS):
        return "this is an alignment; take its gaps out"
    if any(letter.isdigit() for letter in letters):
        return "these are numbers of positions, as GenBank writes them; take them out"
    if "*" in letters:
        return "this is a stop sign at the end; take it out"
    if letters & {"?", "X"}:
        return "this is an unknown or masked base; write N for it"
    return "these are no nucleotides"


def _report_table(table: CountTable, sequences: Sequences | None, names: Names, findings: Findings) -> None:
    """Report why no feature of a table has a sequence."""
    if sequences is not None and not sequences.by_id and {*_UNREADABLE} & {*findings.counts()}:
        return
    if reason := why_transposed(table, names):
        findings.add(rules.TRANSPOSED, table.path, reason)
        return
    ids = table.feature_ids
    value = f"{len(ids):,} ids, such as {shorten(ids[0])!r}"
    if sequences is not None and 2 * sum(map(_is_taxon, ids)) <= len(ids):
        reasons = [nearest(ids, list(sequences.by_id)), named_by_hash(ids, sequences.by_id)]
        hint = str(best_of(reasons)) or f"its ids are such as {shorten(next(iter(sequences.by_id), ''))!r}"
        findings.add(rules.OTHER_REP_SEQS, sequences.source.name, f"none of {table.path}: {value}; {hint}")
        return
    given = f"none of them is in {sequences.source.name}" if sequences else "no rep-seqs were given"
    has_hashes = 2 * sum(map(looks_like_hash, ids)) > len(ids)
    rule = rules.HASH_IDS if has_hashes else rules.OTHER_IDS
    findings.add(rule, table.path, f"{value}; {given}{_short_or_exchanged(table, has_hashes)}")


def _is_taxon(feature_id: str) -> bool:
    return _TAXON.match(feature_id) is not None


def _short_or_exchanged(table: CountTable, has_hashes: bool) -> str:
    """Return what else there is to say about ids that are no sequences."""
    ids = table.feature_ids
    if all(first_invalid_position(name) is None for name in ids):
        return f"; ids of fewer than {SHORTEST_SEQUENCE_ID} bases are read as names"
    if not has_hashes and 2 * sum(map(looks_like_hash, table.sample_ids)) > len(table.sample_ids):
        return "; the sample ids look like hashes of sequences: if they are, the table is transposed"
    return ""


def looks_like_hash(feature_id: str) -> bool:
    """Return whether a feature id holds an MD5, SHA-1 or SHA-256 hash, as QIIME 2 writes them."""
    return bool(hash_in(feature_id))
