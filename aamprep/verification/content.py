"""Verify the content of a shard set: ASVs, tree, metadata, rejected samples and distances."""

import numpy as np
import polars as pl
import pyarrow as pa

from aam_schemas.manifest import MANIFEST_FILE
from aam_schemas.shards import (
    ASVS_FILE,
    DISTANCES_FILE,
    METADATA_FILE,
    REJECTED_FILE,
    TREE_FILE,
    tokens_sha256,
)
from aam_schemas.tables import asv_table, metadata_violations, violations
from aam_schemas.vocabulary import encode
from aamprep.rules import shards as rules
from aamprep.shards.stored import branches_of, matrix_problem
from aamprep.tree.branches import Branches, path_problem, tree_problems
from aamprep.verification.check import ShardCheck
from aamprep.verification.samples import SampleCheck

_NO_TOKEN = 255
_ROWS_AT_ONCE = 1 << 14
"""Number of sequences that are encoded together, to bound memory."""


def check_content(check: ShardCheck) -> None:
    """Check every intact file by itself and against the others."""
    asvs = _check_asvs(check)
    branches = _check_tree(check, check.manifest.num_asvs if asvs is None else len(asvs))
    samples = SampleCheck(check, asvs, branches)
    samples.run()
    _check_metadata(check, samples)
    _check_rejected(check)
    _check_distances(check)


def _table(check: ShardCheck, name: str) -> pa.Table | None:
    """Read a file. Return None if it is absent, or damaged and therefore reported already."""
    if name not in check.intact:
        return None
    parts = list(check.read(name))
    return pa.concat_tables(parts) if name in check.intact else None


def _check_asvs(check: ShardCheck) -> pl.DataFrame | None:
    """Check asvs.parquet. Return its rows, or None if they are invalid."""
    length = check.manifest.sequence_length
    table = _table(check, ASVS_FILE)
    if table is None:
        if not any(file.name == ASVS_FILE for file in check.manifest.files):
            check.add(rules.FILE_MISSING, ASVS_FILE, "", "the manifest does not list it")
        check.findings.skip(rules.TOKENS, f"{ASVS_FILE} cannot be used")
        return None
    frame = pl.DataFrame(table).with_columns(pl.col("tokens").arr.to_list())
    check.compare_number("num_asvs", check.manifest.num_asvs, len(frame))
    names = [f"ASV {name}" for name in frame["asv_id"].to_list()]
    if not check.passes(violations(asv_table(length), frame), ASVS_FILE, names):
        return None
    _check_tokens(check, table, frame)
    return frame.drop("tokens")


def _check_tokens(check: ShardCheck, table: pa.Table, frame: pl.DataFrame) -> None:
    """Check that the tokens encode the sequences, by encoding them again."""
    length = check.manifest.sequence_length
    # The contract refuses a missing list of tokens, but not a missing token.
    values = table["tokens"].combine_chunks().flatten().fill_null(_NO_TOKEN)
    tokens = values.to_numpy().reshape(-1, length)
    sequences = frame["sequence"].to_list()
    bad = np.array([len(sequence) >= length for sequence in sequences], dtype=bool)
    for start in range(0, len(sequences), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        # Sequences that are too long are marked as invalid above. They are cut, since `encode` refuses them.
        expected = encode([sequence[: length - 1] for sequence in sequences[part]], length)
        bad[part] |= (tokens[part] != expected).any(axis=1)
    check.add_some(rules.TOKENS, ASVS_FILE, frame["asv_id"].to_list(), bad, "ASV")
    listed = check.manifest.tokens_sha256
    if listed and listed != tokens_sha256(table["tokens"][: check.manifest.num_kept_asvs]):
        check.add(rules.TOKENS, MANIFEST_FILE, "tokens_sha256", "another hash than that of the tokens")


def _check_tree(check: ShardCheck, num_asvs: int) -> Branches | None:
    """Check tree.parquet. Return its branches, or None if they do not form a valid tree."""
    listed = any(file.name == TREE_FILE for file in check.manifest.files)
    table = _table(check, TREE_FILE)
    if table is None:
        check.findings.skip(rules.BRANCHES, f"{TREE_FILE} cannot be used" if listed else "there is no tree")
        if not listed:
            check.compare_number("num_branches", check.manifest.num_branches, 0)
        return None
    check.compare_number("num_branches", check.manifest.num_branches, len(table))
    branches = branches_of(table)
    problems = tree_problems(branches, num_asvs)
    for row, problem in problems:
        check.add(rules.TREE, TREE_FILE, f"row {row}", problem)
    if problems:
        return None
    problem = path_problem(branches)
    if problem:
        check.add(rules.TREE, TREE_FILE, "", problem)
        return None
    return branches


def _check_metadata(check: ShardCheck, samples: SampleCheck) -> None:
    types = check.manifest.metadata_types
    table = _table(check, METADATA_FILE)
    if table is None:
        reason = "there are no metadata, or they are damaged"
        check.findings.skip(rules.METADATA_ORDER, reason)
        return
    ids = table["sample_id"].to_pylist()
    failures = metadata_violations(types, pl.DataFrame(table))
    check.passes(failures, METADATA_FILE, [f"sample {i}" for i in ids])
    if not samples.is_complete:
        check.findings.skip(rules.METADATA_ORDER, "not all samples could be read")
        return
    if ids != samples.sample_ids:
        pairs = zip(ids, samples.sample_ids, strict=False)
        row = next(
            (n for n, (sample_id, expected) in enumerate(pairs) if sample_id != expected),
            min(len(ids), len(samples.sample_ids)),
        )
        value = (
            f"{len(ids):,} rows, {len(samples.sample_ids):,} samples; the first difference is in row {row}"
        )
        check.add(rules.METADATA_ORDER, METADATA_FILE, f"row {row}", value)
    else:
        _check_split_by(check, table, samples)


def _check_split_by(check: ShardCheck, metadata: pa.Table, samples: SampleCheck) -> None:
    """Check that no value of the column to split by is in two splits."""
    column = check.manifest.choices.split_by
    if column is None or column not in metadata.column_names:
        return
    frame = pl.DataFrame({"value": metadata[column].to_pylist(), "split": samples.splits})
    splits = frame.drop_nulls().group_by("value").agg(pl.col("split").unique().sort()).sort("value")
    for value, names in splits.filter(pl.col("split").list.len() > 1).iter_rows():
        check.add(rules.SPLITS, METADATA_FILE, f"{column} {value}", " and ".join(names))


def _check_rejected(check: ShardCheck) -> None:
    table = _table(check, REJECTED_FILE)
    if table is None and any(file.name == REJECTED_FILE for file in check.manifest.files):
        return
    kinds = table["kind"].to_pylist() if table is not None else []
    check.compare_number("num_rejected_samples", check.manifest.num_rejected_samples, kinds.count("sample"))
    check.compare_number("num_rejected_asvs", check.manifest.num_rejected_asvs, kinds.count("asv"))


def _check_distances(check: ShardCheck) -> None:
    if DISTANCES_FILE not in check.intact:
        return
    # By the manifest, whose number of samples agrees with the footers: a damaged sample file changes nothing.
    problem = matrix_problem(check.folder / DISTANCES_FILE, check.manifest.num_samples)
    if problem:
        check.add(rules.DISTANCES, DISTANCES_FILE, "", problem)
