"""A study: tables with their feature ids resolved to sequences, and the files that accompany them."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from aam_schemas.common.text import shorten
from aam_schemas.manifest import InputFile
from aamprep.arrays import Int64Array
from aamprep.read.files import read_files
from aamprep.read.source import InputPath, Limits
from aamprep.read.types import CountTable, Distances, Metadata, Sequences, Taxonomy, Tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.study.feature_sequences import NoSequence, check_sequences, resolve
from aamprep.study.sequence_mismatches import name_hint
from aamprep.study.transposed import Names, describes_features
from aamprep.tree.branches import find_tips

_BESIDE = ("rep-seqs", "tree", "metadata", "taxonomy", "distances")
"""Roles of the files that accompany tables."""


@dataclass(frozen=True)
class Paths:
    """Files of a study by role. None if there is no such file."""

    tables: Sequence[InputPath]
    rep_seqs: InputPath | None = None
    tree: InputPath | None = None
    metadata: InputPath | None = None
    taxonomy: InputPath | None = None
    distances: InputPath | None = None


@dataclass(frozen=True)
class Asvs:
    """Distinct sequences of all tables."""

    sequences: tuple[str, ...]
    """Sequences in upper case, with T for U, sorted."""
    ids: tuple[tuple[str, ...], ...]
    """Feature ids of each sequence, in order of appearance. The first is the name of the ASV."""
    taxa: tuple[str, ...] | None
    """Taxon of each sequence, empty if unknown. None without a taxonomy."""

    def by_name(self) -> dict[str, str]:
        """Return the sequences by the names of the ASVs."""
        return {ids[0]: sequence for ids, sequence in zip(self.ids, self.sequences, strict=True)}

    @property
    def sequence_length(self) -> int:
        """Number of tokens per ASV, L: START and the bases of the longest sequence."""
        return 1 + max((len(sequence) for sequence in self.sequences), default=0)

    @property
    def lengths(self) -> Int64Array:
        """Number of bases of each ASV, shape (ASVs,)."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)


@dataclass(frozen=True)
class Study:
    """All input data, with feature ids resolved to ASVs."""

    tables: tuple[CountTable, ...]
    asv_of_feature: tuple[Int64Array, ...]
    """Index into `asvs` of each feature, for each table. -1 if the feature has no valid sequence."""
    asvs: Asvs
    tree: Tree | None
    tip_of_asv: Int64Array
    """Node number of the tip of each ASV, shape (ASVs,). -1 if the tree lacks it, or there is no tree."""
    without_sequence: tuple[tuple[str, str, NoSequence], ...]
    """Study, id and reason of each feature without a valid sequence. Its reads are excluded."""
    rep_seqs: Sequences | None
    metadata: Metadata | None
    distances: Distances | None
    inputs: tuple[InputFile, ...]


def read_study(
    paths: Paths, findings: Findings, limits: Limits | None = None, isolate: bool = True
) -> Study | None:
    """Read all files of a study, and resolve feature ids to sequences.

    Parameters
    ----------
    paths : Paths
    findings : Findings
        Receives the problems of the files.
    limits : Limits, optional
        Limits on the resources that a file may require.
    isolate : bool
        Whether to read files in a child process.

    Returns
    -------
    Study or None
        None if one of the files cannot be used at all. The findings give the reason.
    """
    beside = {role: path for role in _BESIDE if (path := getattr(paths, role.replace("-", "_"))) is not None}
    files = [*(("table", path) for path in paths.tables), *beside.items()]
    products = [opened.product for opened in read_files(files, findings, limits, isolate)]
    tables, others = products[: len(paths.tables)], products[len(paths.tables) :]
    usable = [table for table in tables if table is not None and _is_not_empty(table, findings)]
    if None in others or len(usable) < len(tables):
        return None
    by_role = dict(zip(beside, others, strict=True))
    rep_seqs, tree, metadata, taxonomy, distances = (by_role.get(role) for role in _BESIDE)
    resolved = [[resolve(feature_id, rep_seqs) for feature_id in table.feature_ids] for table in usable]
    names = _names(rep_seqs, tree, metadata, taxonomy, distances)
    if not check_sequences(usable, resolved, rep_seqs, names, findings):
        return None
    asvs, asv_of_feature = collect_asvs(usable, resolved, taxonomy)
    _check_taxonomy(asvs, taxonomy, findings)
    samples = {sample_id for table in usable for sample_id in table.sample_ids}
    tip_of_asv = match_tips(asvs, tree, findings, samples)
    if tip_of_asv is None:
        return None
    return Study(
        tables=tuple(usable),
        asv_of_feature=asv_of_feature,
        asvs=asvs,
        tree=tree,
        tip_of_asv=tip_of_asv,
        without_sequence=tuple(
            (table.study, feature_id, sequence)
            for table, features in zip(usable, resolved, strict=True)
            for feature_id, sequence in zip(table.feature_ids, features, strict=True)
            if isinstance(sequence, NoSequence)
        ),
        rep_seqs=rep_seqs,
        metadata=metadata,
        distances=distances,
        inputs=tuple(item.source for item in [*usable, *others]),
    )


def _is_not_empty(table: CountTable, findings: Findings) -> bool:
    number = f"{len(table.feature_ids):,} features, {len(table.sample_ids):,} samples"
    if not table.feature_ids or not table.sample_ids:
        findings.add(rules.NO_FEATURES, table.path, number)
        return False
    return True


def _names(
    rep_seqs: Sequences | None,
    tree: Tree | None,
    metadata: Metadata | None,
    taxonomy: Taxonomy | None,
    distances: Distances | None,
) -> Names:
    """Return the ids in the files beside the tables, by axis. Metadata of features say nothing of samples."""
    features = {
        "rep-seqs": rep_seqs and rep_seqs.by_id,
        "the tree": tree and tree.tips,
        "the taxonomy": taxonomy and taxonomy.by_id,
    }
    samples = {
        "the metadata": metadata and not describes_features(metadata) and frozenset(metadata.ids),
        "the distances": distances and frozenset(distances.ids),
    }
    return Names({k: v for k, v in features.items() if v}, {k: v for k, v in samples.items() if v})


def _check_taxonomy(asvs: Asvs, taxonomy: Taxonomy | None, findings: Findings) -> None:
    """Report a taxonomy that has none of the ASVs."""
    if taxonomy is None or not taxonomy.by_id or any(asvs.taxa or ()):
        return
    hint = name_hint(asvs.by_name(), taxonomy.by_id)
    hint = hint or f"its ids are such as {shorten(next(iter(taxonomy.by_id)))!r}"
    findings.add(rules.OTHER_TAXONOMY, taxonomy.source.name, f"none of {len(asvs.ids):,} ASVs; {hint}")


def match_tips(
    asvs: Asvs, tree: Tree | None, findings: Findings, samples: Collection[str] = ()
) -> Int64Array | None:
    """Find the tip of each ASV by its feature ids or its sequence.

    An id that several ASVs share is not used: two studies may each have an OTU1.

    Returns
    -------
    ndarray of int64, shape (ASVs,), or None
        Node numbers. -1 if the tree lacks the ASV, or there is no tree. None, with a finding, if the tree has
        none of the ASVs.
    """
    if tree is None:
        return np.full(len(asvs.sequences), -1, dtype=np.int64)
    num_asvs = Counter(feature_id for ids in asvs.ids for feature_id in ids)
    names = [
        (*(feature_id for feature_id in ids if num_asvs[feature_id] == 1), sequence)
        for ids, sequence in zip(asvs.ids, asvs.sequences, strict=True)
    ]
    tip_of_asv = find_tips(tree, names)
    if not (tip_of_asv < 0).all():
        return tip_of_asv
    tip = next(iter(tree.tips), "")
    number = sum(name in samples for name in tree.tips)
    hint = f"{number:,} of {len(tree.tips):,} tips are samples of the table" if number else ""
    hint = hint or name_hint(asvs.by_name(), tree.tips) or f"its tips have names such as {tip!r}"
    value = f"none of {len(tip_of_asv):,} ASVs; {hint}"
    findings.add(rules.NO_ASV_IN_TREE, tree.source.name, value)
    return None


def collect_asvs(
    tables: Sequence[CountTable], resolved: Sequence[Sequence[str | NoSequence]], taxonomy: Taxonomy | None
) -> tuple[Asvs, tuple[Int64Array, ...]]:
    """Collect the distinct sequences of all tables, and number them in sorted order.

    Parameters
    ----------
    tables : sequence of CountTable
    resolved : sequence of sequence of (str or NoSequence)
        Sequence of each feature of each table, or why it has none.
    taxonomy : Taxonomy, optional

    Returns
    -------
    asvs : Asvs
    asv_of_feature : tuple of ndarray of int64, shape (features,)
        ASV of each feature, for each table. -1 if the feature has no valid sequence.
    """
    # The inner dictionaries are ordered sets.
    ids: dict[str, dict[str, None]] = {}
    for table, sequences in zip(tables, resolved, strict=True):
        for feature_id, sequence in zip(table.feature_ids, sequences, strict=True):
            if isinstance(sequence, str):
                ids.setdefault(sequence, {})[feature_id] = None
    ordered = sorted(ids)
    number = {sequence: index for index, sequence in enumerate(ordered)}
    asv_of_feature = tuple(
        np.array([number[s] if isinstance(s, str) else -1 for s in sequences], dtype=np.int64)
        for sequences in resolved
    )
    all_ids = tuple(tuple(ids[sequence]) for sequence in ordered)
    taxa = None
    if taxonomy is not None:
        taxa = tuple(next((taxonomy.by_id[i] for i in names if i in taxonomy.by_id), "") for names in all_ids)
    return Asvs(sequences=tuple(ordered), ids=all_ids, taxa=taxa), asv_of_feature
