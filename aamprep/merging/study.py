"""Several shard sets made into one: each set becomes tables again, and goes the way that tables go.

Nothing is drawn or selected anew: a sample keeps its split, its reads and the order of its ASVs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from aam_schemas.manifest import Choices, InputFile, Manifest, write_manifest
from aam_schemas.shards import DISTANCES_FILE, METADATA_FILE, REJECTED, REJECTED_FILE, TREE_FILE
from aamprep.arrays import Integers
from aamprep.checks.study_checks import check_tree, fits_together
from aamprep.checks.summary import Summary
from aamprep.merging.choices import common_choices
from aamprep.merging.metadata import StoredMetadata, unite_metadata
from aamprep.prepare.pipeline import Earlier, SamplePipeline
from aamprep.prepare.rejected import Rejected
from aamprep.read.biom.spool import TableWriter, load, temporary_folder
from aamprep.read.types import CountTable, Metadata, Tree
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.shards.build import write_shards
from aamprep.shards.stored import StoredSet, entries
from aamprep.study.study import Asvs, Study, locate, unite


@dataclass(frozen=True)
class Merged:
    """Several sets as one study."""

    pipeline: SamplePipeline
    choices: Choices
    """What the sets were made with."""

    def write(self, folder: Path, command: str) -> tuple[Manifest, Summary]:
        """Write the merged set as `write_shards` does, and what its samples were made with."""
        manifest, summary = write_shards(self.pipeline, folder, command)
        manifest = replace(manifest, choices=self.choices)
        write_manifest(folder, manifest)
        return manifest, summary


def prepare_merge(
    sets: list[StoredSet], tree: Tree | None, token_limit: int | None, findings: Findings
) -> Merged | None:
    """Present shard sets as a study that is ready to be written.

    Parameters
    ----------
    sets : list of StoredSet
        Sets that `aamprep.verification.verify` found sound.
    tree : Tree, optional
        The one tree of all ASVs.
    token_limit : int, optional
        By default the smallest of the sets'.
    findings : Findings
        Takes what is worth knowing, and why nothing can be written.

    Returns
    -------
    Merged or None
        None where a sample is in two sets, or the tree is of other ASVs.
    """
    if _report_twice(sets, findings):
        return None
    tables = tuple(table for one in sets for table in _tables(one))
    asvs, asv_of_feature = _unite_asvs(sets, tables)
    tip_of_asv = locate(asvs, tree, findings)
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
        {one.name: one.manifest.choices for one in sets}, token_limit, all_in_tree, findings
    )
    rejected = Rejected(findings, [row for one in sets for row in _rejected_rows(one)])
    pipeline = SamplePipeline(study, _as_they_are(choices), False, rejected, _earlier(sets))
    return Merged(pipeline, choices)


def _as_they_are(choices: Choices) -> Choices:
    """Prepare no sample anew: the sets were filtered and rarefied, and are in the order of selection."""
    return replace(
        choices,
        select="first",
        rarefy_depth=None,
        split_by=None,
        missing_from_tree="keep",
        min_prevalence=1,
        min_reads=0.0,
    )


def _report_twice(sets: list[StoredSet], findings: Findings) -> bool:
    """Report every sample id that is in more than one set."""
    sets_of: dict[str, list[str]] = {}
    for one in sets:
        for sample_id in one.sample_ids:
            sets_of.setdefault(sample_id, []).append(one.name)
    twice = {sample_id: names for sample_id, names in sets_of.items() if len(names) > 1}
    findings.add_each(
        rules.MERGE_SAMPLE_TWICE,
        ((f"sample {sample_id}", f"in {' and '.join(names)}") for sample_id, names in twice.items()),
    )
    return bool(twice)


def _tables(one: StoredSet) -> Iterator[CountTable]:
    """Give a table for each study of a set, on disk; samples stand in manifest order."""
    names, studies = _numbered(one.head["study"])
    num_asvs = one.head["num_asvs"].to_numpy().astype(np.int64)
    ids = np.array(one.sample_ids, dtype=object)
    with temporary_folder() as folder:
        writers = []
        for number in range(len(names)):
            place, mine = folder / str(number), studies == number
            place.mkdir()
            indptr = np.concatenate([[0], np.cumsum(num_asvs[mine])])
            writers.append(TableWriter(place, ids[mine].tolist(), _feature_ids(one), indptr))
        start = 0
        for samples in one.sample_batches():
            found = entries(samples)
            study_of_entry = studies[start + found.row]
            for number, writer in enumerate(writers):
                mine = study_of_entry == number
                writer.write(found.asv[mine], found.count[mine])
            start += len(samples)
        for study, writer in zip(names, writers, strict=True):
            writer.finish(one.name, Findings())
            # The arrays are mapped, so they outlive the folder.
            yield CountTable(source=one.source, study=study, in_order=True, **load(writer.folder))


def _numbered(words: pa.ChunkedArray) -> tuple[list[str], Integers]:
    """Give the distinct words in order of appearance, and the number of each row's."""
    encoded = words.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def _feature_ids(one: StoredSet) -> list[str]:
    """Every name of every ASV: first the rows of asvs.parquet, then the aliases, which have no entries."""
    aliases = one.asvs["aliases"].combine_chunks().flatten().to_pylist()
    return [*one.asvs["asv_id"].to_pylist(), *aliases]


def _feature_sequences(one: StoredSet) -> list[str]:
    """Give the sequence of each of `_feature_ids`."""
    sequences = one.asvs["sequence"].to_pylist()
    of_alias = one.asvs["aliases"].combine_chunks().value_parent_indices().to_pylist()
    return [*sequences, *(sequences[row] for row in of_alias)]


def _unite_asvs(sets: list[StoredSet], tables: tuple[CountTable, ...]) -> tuple[Asvs, tuple[Integers, ...]]:
    """Unite ASVs by sequence; each keeps all its names, and the first taxon that is known."""
    of_folder = {one.name: _feature_sequences(one) for one in sets}
    asvs, asv_of_feature = unite(tables, [of_folder[table.path] for table in tables], None)
    taxon: dict[str, str] = {}
    for one in sets:
        if "taxon" in one.asvs.column_names:
            known = zip(one.asvs["sequence"].to_pylist(), one.asvs["taxon"].to_pylist(), strict=True)
            taxon = {sequence: name for sequence, name in known if name} | taxon
    if not taxon:
        return asvs, asv_of_feature
    taxa = tuple(taxon.get(sequence, "") for sequence in asvs.sequences)
    return replace(asvs, taxa=taxa), asv_of_feature


def _metadata(sets: list[StoredSet], findings: Findings) -> Metadata | None:
    parts = [
        StoredMetadata(one.name, tuple(one.sample_ids), one.manifest.metadata_types, table)
        for one in sets
        if (table := one.optional(METADATA_FILE)) is not None
    ]
    return unite_metadata(parts, sets[0].source, findings) if parts else None


def _earlier(sets: list[StoredSet]) -> Earlier:
    split: dict[str, str] = {}
    depth: dict[str, float] = {}
    for one in sets:
        split |= zip(one.sample_ids, one.head["split"].to_pylist(), strict=True)
        depth |= zip(one.sample_ids, one.head["depth_before_rarefaction"].to_pylist(), strict=True)
    return Earlier(split, depth)


def _rejected_rows(one: StoredSet) -> list[tuple[str, str, str, str, str]]:
    """Give what did not pass when the set was made: it stays on record."""
    table = one.optional(REJECTED_FILE)
    if table is None:
        return []
    return list(zip(*(table[name].to_pylist() for name in REJECTED.names), strict=True))


def _inputs(sets: list[StoredSet], tree: Tree | None) -> tuple[InputFile, ...]:
    """List the files that the sets were made from, each once, the sets themselves, and the tree."""
    files = [file for one in sets for file in one.manifest.inputs]
    trees = [tree.source] if tree is not None else []
    return tuple(dict.fromkeys([*files, *(one.source for one in sets), *trees]))


def _report_left_behind(sets: list[StoredSet], tree: Tree | None, findings: Findings) -> None:
    """Say which trees and distances of the sets the merged set cannot have."""
    with_tree = [one for one in sets if one.has(TREE_FILE)]
    if tree is None and with_tree:
        files = {file for one in with_tree for file in one.manifest.inputs if file.role == "tree"}
        names = " and ".join(sorted({file.name for file in files}))
        one_file = len({file.sha256 for file in files}) == 1
        hint = f": all were made with {names}, so give that" if one_file else f": they were made with {names}"
        value = f"{len(with_tree)} of {len(sets)} sets have trees, the merged set has none{hint}"
        findings.add(rules.MERGE_NO_TREE, with_tree[0].name, value)
    for one in sets:
        if one.has(DISTANCES_FILE):
            findings.add(rules.MERGE_DISTANCES, one.name)
