"""The study: tables whose feature ids are resolved to sequences, and what goes with them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aam_schemas.manifest import InputFile
from aam_schemas.vocabulary import first_invalid_position, fold, is_sequence
from aamprep.arrays import Integers
from aamprep.read import read_distances, read_metadata, read_sequences, read_table, read_taxonomy, read_tree
from aamprep.read.source import InputPath, Limits
from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Finding, Findings
from aamprep.study.id_mismatches import near_misses
from aamprep.tree.branches import find_tips


@dataclass(frozen=True)
class Paths:
    """The files of a study, by role; None where there is none."""

    tables: Sequence[InputPath]
    rep_seqs: InputPath | None = None
    tree: InputPath | None = None
    metadata: InputPath | None = None
    taxonomy: InputPath | None = None
    distances: InputPath | None = None


@dataclass(frozen=True)
class Asvs:
    """The distinct sequences of all tables, sorted, and what they are called."""

    sequences: tuple[str, ...]
    """Upper case, T for U, sorted."""
    ids: tuple[tuple[str, ...], ...]
    """Feature ids of each, in order of appearance; the first is its name."""
    taxa: tuple[str, ...] | None
    """Taxon of each (empty where unknown), where a taxonomy is given."""

    @property
    def sequence_length(self) -> int:
        """Tokens per ASV, L: START and the bases of the longest one."""
        return 1 + max((len(sequence) for sequence in self.sequences), default=0)

    @property
    def lengths(self) -> Integers:
        """Bases of each ASV, shape (ASVs,)."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)


@dataclass(frozen=True)
class Study:
    """Everything that was read, resolved."""

    tables: tuple[CountTable, ...]
    asv_of_feature: tuple[Integers, ...]
    """For each table, the position in `asvs` of each feature; -1 where it has no valid sequence."""
    asvs: Asvs
    tree: Tree | None
    tip_of_asv: Integers
    """Node of each ASV in the tree; -1 where it has none."""
    without_sequence: tuple[tuple[str, str, Finding], ...]
    """Study, id and finding of each feature that has no valid sequence: its reads are left out."""
    rep_seqs: Sequences | None
    metadata: Metadata | None
    distances: Distances | None
    inputs: tuple[InputFile, ...]


def read_study(
    paths: Paths, findings: Findings, limits: Limits | None = None, isolate: bool = True
) -> Study | None:
    """Read all files of a study and resolve feature ids to sequences.

    Parameters
    ----------
    paths : Paths
    findings : Findings
        Takes what is wrong.
    limits : Limits, optional
        What a file may ask for.
    isolate : bool
        Read tables in a child process.

    Returns
    -------
    Study or None
        None where a table, or a file named for a role, cannot be used at all; the findings say why.
    """
    tables = [read_table(path, findings, limits=limits, isolate=isolate) for path in paths.tables]
    beside = _read_beside(paths, findings, limits)
    usable = [table for table in tables if table is not None and _has_something(table, findings)]
    if beside is None or len(usable) < len(tables):
        return None
    resolved = [
        [_resolve(feature_id, beside.sequences, table) for feature_id in table.feature_ids]
        for table in usable
    ]
    if not _any_sequence(usable, resolved, beside.sequences, findings):
        return None
    asvs, asv_of_feature = unite(usable, resolved, beside.taxonomy)
    tip_of_asv = locate(asvs, beside.tree, findings)
    if tip_of_asv is None:
        return None
    return Study(
        tables=tuple(usable),
        asv_of_feature=asv_of_feature,
        asvs=asvs,
        tree=beside.tree,
        tip_of_asv=tip_of_asv,
        without_sequence=tuple(
            (table.study, feature_id, one)
            for table, features in zip(usable, resolved, strict=True)
            for feature_id, one in zip(table.feature_ids, features, strict=True)
            if isinstance(one, Finding)
        ),
        rep_seqs=beside.sequences,
        metadata=beside.metadata,
        distances=beside.distances,
        inputs=tuple(one.source for one in [*usable, *beside.all()] if one is not None),
    )


@dataclass(frozen=True)
class _Beside:
    """What lies beside the tables."""

    sequences: Sequences | None
    tree: Tree | None
    metadata: Metadata | None
    taxonomy: Taxonomy | None
    distances: Distances | None

    def all(self) -> list[Sequences | Tree | Metadata | Taxonomy | Distances | None]:
        return [self.sequences, self.tree, self.metadata, self.taxonomy, self.distances]


def _read_beside(paths: Paths, findings: Findings, limits: Limits | None) -> _Beside | None:
    """Read what lies beside the tables; None where a file that was given cannot be used."""
    given = [paths.rep_seqs, paths.tree, paths.metadata, paths.taxonomy, paths.distances]
    beside = _Beside(
        read_sequences(paths.rep_seqs, findings, limits=limits) if paths.rep_seqs else None,
        read_tree(paths.tree, findings, limits=limits) if paths.tree else None,
        read_metadata(paths.metadata, findings, limits=limits) if paths.metadata else None,
        read_taxonomy(paths.taxonomy, findings, limits=limits) if paths.taxonomy else None,
        read_distances(paths.distances, findings, limits=limits) if paths.distances else None,
    )
    read = beside.all()
    return None if any(path and one is None for path, one in zip(given, read, strict=True)) else beside


def _resolve(feature_id: str, sequences: Sequences | None, table: CountTable) -> str | Finding:
    """Find a feature's sequence, folded; or say why it has no valid one."""
    if sequences is not None and feature_id in sequences.by_id:
        return _valid_sequence(sequences.by_id[feature_id], f"{table.path}: ASV {feature_id}")
    if is_sequence(feature_id):
        return fold(feature_id)
    return Finding(rules.NO_SEQUENCE, f"{table.path}: feature {feature_id}")


def _valid_sequence(sequence: str, where: str) -> str | Finding:
    position = first_invalid_position(sequence)
    if position is not None:
        return Finding(rules.NOT_A_NUCLEOTIDE, where, f"{sequence[position]!r} at base {position + 1}")
    return fold(sequence) if sequence else Finding(rules.NOT_A_NUCLEOTIDE, where, "no base")


def _has_something(table: CountTable, findings: Findings) -> bool:
    number = f"{len(table.feature_ids):,} features, {len(table.sample_ids):,} samples"
    if not table.feature_ids or not table.sample_ids:
        findings.add(rules.NO_FEATURES, table.path, number)
        return False
    return True


def _any_sequence(
    tables: list[CountTable],
    resolved: list[list[str | Finding]],
    sequences: Sequences | None,
    findings: Findings,
) -> bool:
    """Record each feature without a sequence; where no feature has one, say once what the ids are."""
    if any(isinstance(one, str) for features in resolved for one in features):
        findings.found.extend(one for features in resolved for one in features if isinstance(one, Finding))
        return True
    for table in tables:
        example = table.feature_ids[0]
        rule = rules.HASH_IDS if looks_like_hash(example) else rules.OTHER_IDS
        given = "no rep-seqs were given"
        if sequences:
            hint = near_misses(table.feature_ids, list(sequences.by_id))
            given = f"none of them is in {sequences.source.name}" + (hint and f"; {hint}")
        findings.add(rule, table.path, f"{len(table.feature_ids)} ids such as {example!r}; {given}")
    return False


def looks_like_hash(feature_id: str) -> bool:
    """Tell whether a feature id is an MD5, SHA-1 or SHA-256 in hexadecimal digits, as QIIME 2 writes them."""
    return len(feature_id) in (32, 40, 64) and all(
        letter in "0123456789abcdef" for letter in feature_id.lower()
    )


def locate(asvs: Asvs, tree: Tree | None, findings: Findings) -> Integers | None:
    """Find the tip of each ASV; -1 where the tree lacks it, or there is no tree.

    A name that several ASVs have (two studies may have an OTU1) names no tip: only their sequences can.

    Returns
    -------
    ndarray of int64, shape (ASVs,), or None
        None where the tree has none of the ASVs; the findings say so.
    """
    if tree is None:
        return np.full(len(asvs.sequences), -1, dtype=np.int64)
    number = Counter(one for ids in asvs.ids for one in ids)
    names = [
        (*(one for one in ids if number[one] == 1), sequence)
        for ids, sequence in zip(asvs.ids, asvs.sequences, strict=True)
    ]
    tip_of_asv = find_tips(tree, names)
    if not (tip_of_asv < 0).all():
        return tip_of_asv
    tip = next(iter(tree.tips), "")
    hint = near_misses([ids[0] for ids in asvs.ids], list(tree.tips))
    value = f"none of {len(tip_of_asv):,} ASVs; {hint or f'its tips are called such as {tip!r}'}"
    findings.add(rules.NO_ASV_IN_TREE, tree.source.name, value)
    return None


def unite(
    tables: Sequence[CountTable], resolved: Sequence[Sequence[str | Finding]], taxonomy: Taxonomy | None
) -> tuple[Asvs, tuple[Integers, ...]]:
    """Give numbers to the distinct sequences of all tables in sorted order."""
    ids: dict[str, dict[str, None]] = {}
    for table, sequences in zip(tables, resolved, strict=True):
        for feature_id, sequence in zip(table.feature_ids, sequences, strict=True):
            if isinstance(sequence, str):
                ids.setdefault(sequence, {})[feature_id] = None
    ordered = sorted(ids)
    number = {sequence: position for position, sequence in enumerate(ordered)}
    asv_of_feature = tuple(
        np.array([number[s] if isinstance(s, str) else -1 for s in sequences], dtype=np.int64)
        for sequences in resolved
    )
    all_ids = tuple(tuple(ids[sequence]) for sequence in ordered)
    taxa = None
    if taxonomy is not None:
        taxa = tuple(next((taxonomy.by_id[i] for i in names if i in taxonomy.by_id), "") for names in all_ids)
    return Asvs(sequences=tuple(ordered), ids=all_ids, taxa=taxa), asv_of_feature
