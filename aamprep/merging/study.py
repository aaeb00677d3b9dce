"""Merge shard sets: turn each set into tables again, and prepare these as one study.

Nothing is drawn or selected anew. Each sample keeps its split, its reads and the order of its ASVs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from aam_schemas.common.temporary import temporary_folder
from aam_schemas.manifest import Choices, InputFile, Manifest, write_manifest
from aam_schemas.shards import DISTANCES_FILE, METADATA_FILE, REJECTED, REJECTED_FILE, TREE_FILE
from aamprep.arrays import Int64Array
from aamprep.checks.study_checks import check_tree, fits_together
from aamprep.checks.summary import Summary
from aamprep.merging.choices import common_choices
from aamprep.merging.metadata import StoredMetadata, unite_metadata
from aamprep.prepare.pipeline import Previous, SamplePipeline
from aamprep.prepare.rejected import Rejected
from aamprep.read.biom.spool import TableWriter, load_arrays
from aamprep.read.types import CountTable, Metadata, Tree
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.shards.build import write_shards
from aamprep.shards.stored import StoredSet, entries
from aamprep.study.study import Asvs, Study, collect_asvs, match_tips


@dataclass(frozen=True)
class Merged:
    """Several shard sets as one study, ready to be written."""

    pipeline: SamplePipeline
    choices: Choices
    """Choices with which the samples of the sets were prepared."""

    def write(self, folder: Path, command: str) -> tuple[Manifest, Summary]:
        """Write the merged set with `write_shards`, and record the choices of the sets in its manifest."""
        manifest, summary = write_shards(self.pipeline, folder, command)
        manifest = replace(manifest, choices=self.choices)
        write_manifest(folder, manifest)
        return manifest, summary


def prepare_merge(
    sets: list[StoredSet], tree: Tree | None, token_limit: int | None, findings: Findings
) -> Merged | None:
    """Return shard sets as one study that is ready to be written.

    Parameters
    ----------
    sets : list of StoredSet
        Sets without errors in `aamprep.verification.verify`.
    tree : Tree, optional
        Tree with the ASVs of all sets.
    token_limit : int, optional
        Token limit of the merged set. By default, the smallest limit of the sets is used.
    findings : Findings
        Problems and differences between the sets are added here.

    Returns
    -------
    Merged or None
        None if a sample is in two sets, or the tree has other ASVs.
    """
    if _report_duplicates(sets, findings):
        return None
    tables = tuple(table for shards in sets for table in _tables(shards, findings))
    asvs, asv_of_feature = _unite_asvs(sets, tables)
    tip_of_asv = match_tips(asvs, tree, findings)
    if tip_of_asv is None:
        return None
    study = Study(
        tables=tables,
        asv_of_feature=asv_of_feature,
        asvs=asvs,
        tree=tree,
        tip_of_asv=tip_of_asv,
        without_sequence=(),
        rep_seqs=None,
        metadata=_metadata(sets, findings),
        distances=None,
        inputs=_inputs(sets, tree),
    )
    if not fits_together(study, findings):
        return None
    check_tree(study, findings)
    _report_left_behind(sets, tree, findings)
    all_in_tree = tree is not None and not (tip_of_asv < 0).any()
    choices = common_choices(
        {shards.name: shards.manifest.choices for shards in sets}, token_limit, all_in_tree, findings
    )
    rejected = Rejected(findings, [row for shards in sets for row in _rejected_rows(shards)])
    pipeline = SamplePipeline(study, _unchanged(choices), False, rejected, _previous(sets))
    return Merged(pipeline, choices)


def _unchanged(choices: Choices) -> Choices:
    """Return choices that leave samples unchanged. They are filtered, rarefied and ordered already."""
    return replace(
        choices,
        select="first",
        rarefy_depth=None,
        split_by=None,
        missing_from_tree="keep",
        min_prevalence=1,
        min_reads=0.0,
    )


def _report_duplicates(sets: list[StoredSet], findings: Findings) -> bool:
    """Report every sample id that is in several sets, and return whether there are any."""
    sets_of: dict[str, list[str]] = {}
    for shards in sets:
        for sample_id in shards.sample_ids:
            sets_of.setdefault(sample_id, []).append(shards.name)
    duplicates = {sample_id: names for sample_id, names in sets_of.items() if len(names) > 1}
    findings.add_each(
        rules.MERGE_SAMPLE_TWICE,
        ((f"sample {sample_id}", f"in {' and '.join(names)}") for sample_id, names in duplicates.items()),
    )
    return bool(duplicates)


def _tables(shards: StoredSet, findings: Findings) -> Iterator[CountTable]:
    """Yield one table on disk for each study of a set, with its samples in manifest order."""
    names, studies = _numbered(shards.head["study"])
    num_asvs = shards.head["num_asvs"].to_numpy().astype(np.int64)
    feature_ids = tuple(_feature_ids(shards))
    ids = np.array(shards.sample_ids, dtype=object)
    with temporary_folder() as folder:
        writers = []
        for number in range(len(names)):
            study_folder, mine = folder / str(number), studies == number
            study_folder.mkdir()
            indptr = np.concatenate([[0], np.cumsum(num_asvs[mine])])
            writers.append(TableWriter(study_folder, ids[mine].tolist(), feature_ids, indptr))
        num_read = 0
        for samples in shards.sample_batches():
            batch = entries(samples)
            study_of_entry = studies[num_read + batch.row]
            by_study = np.argsort(study_of_entry, kind="stable")
            present, starts = np.unique(study_of_entry[by_study], return_index=True)
            for number, mine in zip(present, np.split(by_study, starts)[1:], strict=True):
                writers[number].write(batch.asv[mine], batch.count[mine])
            num_read += len(samples)
        for study, writer in zip(names, writers, strict=True):
            bad = writer.end(shards.name, findings)
            # All tables of a set share the names of its ASVs: with a copy each, many studies would take
            # gigabytes. The arrays are memory-mapped, so they stay readable after the folder is deleted.
            yield CountTable(
                source=shards.source,
                study=study,
                sample_ids=tuple(writer.sample_ids),
                feature_ids=feature_ids,
                with_bad_counts=frozenset(bad),
                in_order=True,
                **load_arrays(writer.folder),
            )


def _numbered(words: pa.ChunkedArray) -> tuple[list[str], Int64Array]:
    """Return the distinct words in order of appearance, and the index of each row's word among them."""
    encoded = words.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _feature_ids(shards: StoredSet) -> list[str]:
    """Return all names of all ASVs: the ids in asvs.parquet, then the aliases, which have no counts."""
    aliases = shards.asvs["aliases"].combine_chunks().flatten().to_pylist()
    return [*shards.asvs["asv_id"].to_pylist(), *aliases]


def _feature_sequences(shards: StoredSet) -> list[str]:
    """Return the sequence of each name in `_feature_ids`."""
    sequences = shards.asvs["sequence"].to_pylist()
    of_alias = shards.asvs["aliases"].combine_chunks().value_parent_indices().to_pylist()
    return [*sequences, *(sequences[row] for row in of_alias)]


def _unite_asvs(sets: list[StoredSet], tables: tuple[CountTable, ...]) -> tuple[Asvs, tuple[Int64Array, ...]]:
    """Merge ASVs by sequence. Each keeps all its names, and the taxon of the first set that has one."""
    # The tables of a set have the same features, so one of them stands for all.
    table_of_set = {table.path: table for table in tables}
    sequences = {shards.name: _feature_sequences(shards) for shards in sets}
    asvs, rows = collect_asvs(list(table_of_set.values()), [sequences[name] for name in table_of_set], None)
    rows_of_set = dict(zip(table_of_set, rows, strict=True))
    asv_of_feature = tuple(rows_of_set[table.path] for table in tables)
    taxon: dict[str, str] = {}
    for shards in sets:
        if "taxon" in shards.asvs.column_names:
            known = zip(shards.asvs["sequence"].to_pylist(), shards.asvs["taxon"].to_pylist(), strict=True)
            for sequence, name in known:
                if name:
                    taxon.setdefault(sequence, name)
    if not taxon:
        return asvs, asv_of_feature
    taxa = tuple(taxon.get(sequence, "") for sequence in asvs.sequences)
    return replace(asvs, taxa=taxa), asv_of_feature


def _metadata(sets: list[StoredSet], findings: Findings) -> Metadata | None:
    parts = [
        StoredMetadata(shards.name, tuple(shards.sample_ids), shards.manifest.metadata_types, table)
        for shards in sets
        if (table := shards.optional(METADATA_FILE)) is not None
    ]
    return unite_metadata(parts, sets[0].source, findings) if parts else None


def _previous(sets: list[StoredSet]) -> Previous:
    split: dict[str, str] = {}
    depth: dict[str, float] = {}
    for shards in sets:
        split |= zip(shards.sample_ids, shards.head["split"].to_pylist(), strict=True)
        depth |= zip(shards.sample_ids, shards.head["depth_before_rarefaction"].to_pylist(), strict=True)
    return Previous(split, depth)


def _rejected_rows(shards: StoredSet) -> list[tuple[str, str, str, str, str]]:
    """Return the samples and ASVs that were rejected when the set was written. They stay on record."""
    table = shards.optional(REJECTED_FILE)
    if table is None:
        return []
    return list(zip(*(table[name].to_pylist() for name in REJECTED.names), strict=True))


def _inputs(sets: list[StoredSet], tree: Tree | None) -> tuple[InputFile, ...]:
    """Return the input files of the sets without duplicates, the sets themselves, and the tree."""
    files = [file for shards in sets for file in shards.manifest.inputs]
    trees = [tree.source] if tree is not None else []
    return tuple(dict.fromkeys([*files, *(shards.source for shards in sets), *trees]))


def _report_left_behind(sets: list[StoredSet], tree: Tree | None, findings: Findings) -> None:
    """Report trees and distances of the sets that the merged set will not have."""
    with_tree = [shards for shards in sets if shards.has(TREE_FILE)]
    if tree is None and with_tree:
        files = {file for shards in with_tree for file in shards.manifest.inputs if file.role == "tree"}
        names = " and ".join(sorted({file.name for file in files}))
        one_file = len({file.sha256 for file in files}) == 1
        hint = f"; all of them used {names}" if one_file else f"; they used {names}"
        value = f"{len(with_tree)} of {len(sets)} sets have a tree, but no tree was given{hint}"
        findings.add(rules.MERGE_NO_TREE, with_tree[0].name, value)
    for shards in sets:
        if shards.has(DISTANCES_FILE):
            findings.add(rules.MERGE_DISTANCES, shards.name)
