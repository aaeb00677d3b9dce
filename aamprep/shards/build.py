"""Turn a study into a shard set, in two passes over its samples.

The first pass prepares every sample and counts which ASVs are kept. The second pass replaces each ASV by its
row in asvs.parquet, adds the branches of the tree, and writes the samples of each split.
"""

import platform
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from aam_schemas.manifest import Manifest, ShardFile, write_manifest
from aam_schemas.shards import (
    ASVS_FILE,
    DISTANCES_FILE,
    METADATA_FILE,
    REJECTED_FILE,
    SPLITS,
    TREE,
    TREE_FILE,
    asvs_schema,
    samples_schema,
    tokens_sha256,
)
from aam_schemas.tables import asv_table, metadata_violations, sample_table, violations
from aam_schemas.vocabulary import encode
from aamprep.arrays import Int64Array, write_array
from aamprep.arrow import list_values
from aamprep.checks.summary import Summary
from aamprep.prepare.pipeline import PREPARED, SamplePipeline
from aamprep.read.source import RefusedError
from aamprep.read.types import Metadata
from aamprep.rules import tables as rules
from aamprep.shards.write import SplitWriter, Spool, describe, write_table
from aamprep.study.study import Study
from aamprep.tree.branches import Branches, branches_above, path_problem, prune, reads_under

if TYPE_CHECKING:
    import scipy.sparse as sp
from aamprep.read.types import Distances

_TOKENS_AT_ONCE = 1 << 25
"""Number of tokens of ASVs that are encoded and checked together: about 200,000 ASVs of 150 bases."""

NO_ROW = np.iinfo(np.uint32).max
"""Stands for ASVs that get no row, since no written sample has them."""

TOOLS = ("aamprep", "numpy", "pyarrow", "polars", "pandera", "scipy", "h5py")
"""Packages whose versions the manifest records."""


@dataclass(frozen=True)
class Numbering:
    """Rows of the study's ASVs in asvs.parquet."""

    asv_of_row: Int64Array
    """Index in the study of each row's ASV. ASVs that a sample keeps come first. Both parts are sorted by
    sequence."""
    num_kept: int
    """Number of ASVs that at least one sample keeps."""
    prevalence: Int64Array
    """Number of written samples that have each ASV of the study, shape (ASVs,)."""
    total_count: npt.NDArray[np.float64]
    """Number of reads of each ASV of the study over all written samples, shape (ASVs,)."""

    @property
    def row_of_asv(self) -> npt.NDArray[np.uint32]:
        """Row of each ASV of the study, or `NO_ROW` if no written sample has it."""
        rows = np.full(len(self.prevalence), NO_ROW, dtype=np.uint32)
        rows[self.asv_of_row] = np.arange(len(self.asv_of_row), dtype=np.uint32)
        return rows


def write_shards(pipeline: SamplePipeline, folder: Path, command: str) -> tuple[Manifest, Summary]:
    """Write the shard set of a study.

    The manifest is written last. A folder without a manifest is therefore never taken for a shard set.

    Parameters
    ----------
    pipeline : SamplePipeline
    folder : Path
        Empty folder, which the caller publishes.
    command : str
        Command line, for the manifest.

    Returns
    -------
    tuple of Manifest and Summary

    Raises
    ------
    RefusedError
        If the tree is too deep.
    """
    study = pipeline.study
    spool = Spool(folder / "prepared.arrow", PREPARED)
    numbering, summary = _first_pass(pipeline, spool)
    branches = prune(study.tree, study.tip_of_asv[numbering.asv_of_row]) if study.tree is not None else None
    problem = path_problem(branches) if branches is not None else ""
    if problem and study.tree is not None:
        raise RefusedError(rules.TREE_TOO_DEEP, study.tree.source.name, problem)
    # Compressing the sequences of 100,000 ASVs takes seconds, which a second core can spend during the pass.
    with ThreadPoolExecutor(1) as executor:
        asvs = _asvs_table(study, numbering)
        written = executor.submit(write_table, asvs, folder / ASVS_FILE)
        writers = _second_pass(pipeline, spool.read(), numbering, branches, folder)
        written.result()
    files = [describe(folder / ASVS_FILE)]
    files += [describe(folder / name, writer.split) for writer in writers for name in writer.close()]
    sample_ids = [sample_id for writer in writers for sample_id in writer.sample_ids]
    files += _write_beside(pipeline, branches, sample_ids, folder)
    manifest = Manifest(
        choices=pipeline.choices,
        sequence_length=study.asvs.sequence_length,
        num_samples=len(sample_ids),
        num_asvs=len(numbering.asv_of_row),
        num_kept_asvs=numbering.num_kept,
        num_branches=len(branches.length) if branches else 0,
        num_rejected_samples=pipeline.rejected.count("sample"),
        num_rejected_asvs=pipeline.rejected.count("asv"),
        files=tuple(files),
        inputs=study.inputs,
        metadata_types=_metadata_types(study.metadata),
        versions={"python": platform.python_version()} | {tool: version(tool) for tool in TOOLS},
        command=command,
        tokens_sha256=tokens_sha256(asvs["tokens"][: numbering.num_kept]),
    )
    write_manifest(folder, manifest)
    return manifest, summary


def _first_pass(pipeline: SamplePipeline, spool: Spool) -> tuple[Numbering, Summary]:
    """Prepare every block, store it in the spool, and count the ASVs of the prepared samples."""
    num_asvs = len(pipeline.study.asvs.sequences)
    prevalence, total_count = np.zeros(num_asvs, dtype=np.int64), np.zeros(num_asvs)
    is_kept = np.zeros(num_asvs, dtype=bool)
    summary = Summary()
    for table in pipeline.blocks():
        spool.add(table)
        summary.add(table)
        for asv_column, count_column in (("asv", "count"), ("dropped_asv", "dropped_count")):
            asv, count = list_values(table, asv_column), list_values(table, count_column)
            prevalence += np.bincount(asv, minlength=num_asvs)
            total_count += np.bincount(asv, weights=count, minlength=num_asvs)
        is_kept[list_values(table, "asv")] = True
    # Kept ASVs come first, so that training needs only the first rows of asvs.parquet.
    rows = np.concatenate([np.flatnonzero(is_kept), np.flatnonzero((prevalence > 0) & ~is_kept)])
    return Numbering(rows, int(is_kept.sum()), prevalence, total_count), summary


def _second_pass(
    pipeline: SamplePipeline,
    prepared: Iterable[pa.Table],
    numbering: Numbering,
    branches: Branches | None,
    folder: Path,
) -> list[SplitWriter]:
    """Replace ASVs by their rows, add branches, and write the samples of each split."""
    schema = samples_schema(branches is not None)
    writers = [SplitWriter(folder, split, schema) for split in SPLITS]
    schema_of_rows = sample_table(
        pipeline.choices.token_limit, len(numbering.asv_of_row), len(branches.length) if branches else 0
    )
    row_of_asv = numbering.row_of_asv
    above = branches_above(branches, len(numbering.asv_of_row)) if branches else None
    for table in prepared:
        split = table["split"].to_numpy()
        samples = _numbered(table.drop_columns("split"), row_of_asv)
        if above is not None:
            samples = _with_branches(samples, above)
        # The samples are valid. This check would reveal an error in the numbering or the branches.
        failures = violations(schema_of_rows, pl.DataFrame(samples))
        if len(failures):
            raise AssertionError(f"samples became invalid when ASVs were numbered: {failures}")
        for writer in writers:
            writer.write(samples.filter(pa.array(split == writer.split)).cast(schema))
    return writers


def _numbered(samples: pa.Table, row_of_asv: npt.NDArray[np.uint32]) -> pa.Table:
    for name in ("asv", "dropped_asv"):
        lists = samples[name].combine_chunks()
        rows = pa.ListArray.from_arrays(lists.offsets, pa.array(row_of_asv[lists.values.to_numpy()]))
        samples = samples.set_column(samples.column_names.index(name), name, rows)
    return samples


def _with_branches(samples: pa.Table, above: "sp.csr_matrix") -> pa.Table:
    """Add the branches that each sample covers and the reads below each branch, dropped ASVs included."""
    num_samples = len(samples)
    sizes = samples["num_asvs"].to_numpy(), samples["num_asvs_kept"].to_numpy()
    # Kept ASVs of all samples, then dropped ASVs of all samples. A stable sort by sample interleaves them.
    row = np.repeat(np.tile(np.arange(num_samples), 2), np.concatenate([sizes[1], sizes[0] - sizes[1]]))
    asv = np.concatenate([list_values(samples, "asv"), list_values(samples, "dropped_asv")])
    count = np.concatenate([list_values(samples, "count"), list_values(samples, "dropped_count")])
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(sizes[0])]).astype(np.int64)
    reads = reads_under(above, indptr, asv[order], count[order])
    # An ASV without branches above it is not in the tree.
    in_tree = np.bincount(row, weights=count * (np.diff(above.indptr)[asv] > 0), minlength=num_samples)
    offsets = pa.array(reads.indptr.astype(np.int32))
    samples = samples.append_column(
        "branch", pa.ListArray.from_arrays(offsets, pa.array(reads.indices.astype(np.uint32)))
    )
    samples = samples.append_column("branch_count", pa.ListArray.from_arrays(offsets, pa.array(reads.data)))
    return samples.append_column("depth_in_tree", pa.array(in_tree))


def _asvs_table(study: Study, numbering: Numbering) -> pa.Table:
    """Return the rows of asvs.parquet, checked against its schema."""
    length = study.asvs.sequence_length
    rows = numbering.asv_of_row.tolist()
    sequences = [study.asvs.sequences[asv] for asv in rows]
    names, aliases = _unique_names([study.asvs.ids[asv] for asv in rows], sequences)
    rows_at_once = max(1, _TOKENS_AT_ONCE // length)
    tokens = np.empty((len(sequences), length), dtype=np.uint8)
    for start in range(0, len(sequences), rows_at_once):
        tokens[start : start + rows_at_once] = encode(sequences[start : start + rows_at_once], length)
    table = pa.table(
        {
            "asv_id": pa.array(names, pa.string()),
            "aliases": pa.array(aliases, pa.list_(pa.string())),
            "sequence": pa.array(sequences, pa.string()),
            "tokens": pa.FixedSizeListArray.from_arrays(pa.array(tokens.ravel()), length),
            "prevalence": pa.array(numbering.prevalence[rows].astype(np.uint32)),
            "total_count": pa.array(numbering.total_count[rows]),
        },
        schema=asvs_schema(length),
    )
    if len(set(names)) < len(names) or len(set(sequences)) < len(sequences):
        raise AssertionError("an ASV occurs twice in the table of ASVs")
    for start in range(0, len(table), rows_at_once):
        _check_asvs(table.slice(start, rows_at_once), length)
    if study.asvs.taxa is not None:
        taxa = [study.asvs.taxa[asv] for asv in rows]
        table = table.append_column("taxon", pa.array(taxa, pa.string()))
    return table


def _check_asvs(asvs: pa.Table, length: int) -> None:
    """Check a part of asvs.parquet against its schema."""
    frame = pl.DataFrame(asvs).with_columns(pl.col("tokens").arr.to_list())
    failures = violations(asv_table(length), frame)
    if len(failures):
        raise AssertionError(f"ASVs are invalid, though they were checked when read: {failures}")


def _unique_names(ids: list[tuple[str, ...]], sequences: list[str]) -> tuple[list[str], list[list[str]]]:
    """Return a unique name for each ASV: its first id that is free, or else its sequence.

    Ids can collide, since two studies may both have an OTU1 with different sequences.

    Returns
    -------
    tuple of list of str and list of list of str
        Names, and the other ids of each ASV.
    """
    taken: set[str] = set()
    names = []
    for all_ids, sequence in zip(ids, sequences, strict=True):
        name = all_ids[0]
        if name in taken:
            name = next((asv_id for asv_id in all_ids if asv_id not in taken), sequence)
        taken.add(name)
        names.append(name)
    aliases = [
        [] if all_ids == (name,) else [asv_id for asv_id in all_ids if asv_id != name]
        for all_ids, name in zip(ids, names, strict=True)
    ]
    return names, aliases


def _write_beside(
    pipeline: SamplePipeline, branches: Branches | None, sample_ids: list[str], folder: Path
) -> list[ShardFile]:
    """Write the optional files (tree, metadata, rejected, distances), and return their descriptions."""
    study, rejected = pipeline.study, pipeline.rejected
    for name, feature_id, why in study.without_sequence:
        rejected.add_feature(name, feature_id, why)
    original_ids = _original_ids(sample_ids, pipeline)
    tables = {}
    if branches is not None:
        tables[TREE_FILE] = _tree_table(branches)
    if study.metadata is not None:
        tables[METADATA_FILE] = _metadata_table(study.metadata, sample_ids, original_ids)
    if rejected.rows:
        tables[REJECTED_FILE] = rejected.table()
    for name, table in tables.items():
        write_table(table, folder / name)
    names = list(tables)
    if study.distances is not None:
        write_array(folder / DISTANCES_FILE, aligned(study.distances, original_ids))
        names.append(DISTANCES_FILE)
    return [describe(folder / name) for name in names]


def _original_ids(sample_ids: list[str], pipeline: SamplePipeline) -> list[str]:
    """Return the ids of the written samples as the table, the metadata and the distances spell them."""
    if not pipeline.prefix_samples:
        return sample_ids
    tables = pipeline.study.tables
    original = {pipeline.name(table.study, i): i for table in tables for i in table.sample_ids}
    return [original[sample_id] for sample_id in sample_ids]


def _tree_table(branches: Branches) -> pa.Table:
    def rows(numbers: Int64Array) -> pa.Array:
        return pa.array(np.maximum(numbers, 0).astype(np.uint32), mask=numbers < 0)

    return pa.table([pa.array(branches.length), rows(branches.parent), rows(branches.asv)], schema=TREE)


def _metadata_table(metadata: Metadata, sample_ids: list[str], original_ids: list[str]) -> pa.Table:
    """Return the metadata in the order of the samples. Samples without a row get empty cells."""
    row_of = {sample_id: row for row, sample_id in enumerate(metadata.ids)}
    rows = [row_of.get(original_id) for original_id in original_ids]
    stored = metadata.stored_names()
    columns: dict[str, pa.Array] = {"sample_id": pa.array(sample_ids, pa.string())}
    for name, cells in metadata.columns.items():
        values = [None if row is None else cells[row] for row in rows]
        if metadata.types[name] == "numeric":
            columns[stored[name]] = pa.array([None if v is None else float(v) for v in values], pa.float64())
        else:
            columns[stored[name]] = pa.array(values, pa.string())
    table = pa.table(columns)
    failures = metadata_violations(_metadata_types(metadata), pl.DataFrame(table))
    if len(failures):
        raise AssertionError(f"metadata are invalid, though they were checked when read: {failures}")
    return table


def _metadata_types(metadata: Metadata | None) -> dict[str, str]:
    if metadata is None:
        return {}
    return {stored: metadata.types[name] for name, stored in metadata.stored_names().items()}


def aligned(distances: Distances, sample_ids: list[str]) -> npt.NDArray[np.float32]:
    """Return the distances of the written samples, in their order.

    Parameters
    ----------
    distances : Distances
    sample_ids : list of str
        Ids as the matrix spells them, in manifest order.

    Returns
    -------
    ndarray of float32, shape (samples, samples)
        Rows and columns of samples that the matrix lacks are NaN.
    """
    row_of = {sample_id: row for row, sample_id in enumerate(distances.ids)}
    rows = np.array([row_of.get(sample_id, -1) for sample_id in sample_ids], dtype=np.int64)
    matrix = distances.matrix[np.ix_(rows, rows)]
    matrix[rows < 0, :] = matrix[:, rows < 0] = np.nan
    # The reader accepts tiny differences between both triangles. Their mean is exactly symmetric.
    return ((matrix + matrix.T) / 2).astype(np.float32)
