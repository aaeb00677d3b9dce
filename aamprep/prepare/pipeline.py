"""Prepare the samples of a study block by block: filter, rarefy, order by selection, truncate, validate."""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from aam_schemas.common.counts import rounded_counts
from aam_schemas.common.text import exact_number, short_number
from aam_schemas.manifest import MOST_READS, Choices
from aam_schemas.shards import SAMPLES
from aam_schemas.tables import sample_table, violations
from aamprep.arrays import LARGEST_COUNT, BoolArray
from aamprep.choices import MissingFromTree, Select
from aamprep.errors import ParameterError
from aamprep.prepare.block import Block, blocks, too_large
from aamprep.prepare.rarefy import rarefy
from aamprep.prepare.rejected import Rejected
from aamprep.prepare.seeded import split_of
from aamprep.prepare.truncate import in_order_of_selection, within_limit
from aamprep.read.types import CountTable
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.study.split_ids import SplitList, assign_splits
from aamprep.study.study import Study
from aamprep.study.where import failing_samples

PREPARED = SAMPLES.append(pa.field("split", pa.string(), nullable=False))
"""Columns of a prepared block: those of a sample file, with indices of the study's ASVs, and the split."""


@dataclass(frozen=True)
class Previous:
    """Values that samples of merged shard sets keep from their first preparation, by sample id."""

    split: dict[str, str] = field(default_factory=dict)
    depth_before: dict[str, float] = field(default_factory=dict)
    """Number of reads before rarefaction."""


@dataclass(frozen=True)
class SamplePipeline:
    """Prepare the samples of one study.

    Samples are independent of each other: their random numbers depend on the seed and the sample id only. So
    neither the order of samples nor the size of blocks changes the result.
    """

    study: Study
    choices: Choices
    prefix_samples: bool
    """Whether to name samples `STUDY.SAMPLE`, so that ids of different studies cannot collide."""
    rejected: Rejected
    previous: Previous = field(default_factory=Previous)
    left_out: dict[str, str] = field(default_factory=dict)
    """Samples that the conditions exclude, with the reason (see `aamprep.study.where`)."""
    split_ids: dict[str, str] | None = None
    """Split of each listed sample, by the id under which it is written. None if no lists were given."""

    def blocks(self) -> Iterator[pa.Table]:
        """Yield the prepared samples of all tables in order. Rejected samples are left out and recorded.

        Yields
        ------
        pyarrow.Table
            One row per sample, with the columns of `PREPARED`.
        """
        invalid_ids = _invalid_ids(self)
        keep_asv = _filter_asvs(self, invalid_ids)
        split_keys = _split_keys(self)
        for table, asv_of_feature, invalid in zip(
            self.study.tables, self.study.asv_of_feature, invalid_ids, strict=True
        ):
            self._reject_too_large(table)
            for block in blocks(table, asv_of_feature):
                unique = self._reject_invalid_ids(self._reject_unwanted(block), invalid)
                # Invalid counts go next. NaN would pass the later comparisons, which are all false for it.
                valid = self._reject_bad_counts(unique, table)
                yield self._prepare(valid, keep_asv, split_keys)

    def name(self, study: str, sample_id: str) -> str:
        """Return the id under which a sample is written."""
        return f"{study}.{sample_id}" if self.prefix_samples else sample_id

    def _prepare(self, block: Block, keep_asv: BoolArray, split_keys: dict[str, str]) -> pa.Table:
        block = self._reject_missing_from_tree(block.keep_entries(keep_asv[block.asv]))
        block = self._reject(block, block.depth <= 0, rules.EMPTY_SAMPLE)
        depths = zip(block.sample_ids, block.depth, strict=True)
        depth_before = {i: self.previous.depth_before.get(i, depth) for i, depth in depths}
        if self.choices.rarefy_depth is not None:
            block = self._rarefy(block, self.choices.rarefy_depth)
        block = in_order_of_selection(block, Select(self.choices.select), self.choices.seed)
        table = self._to_table(block, depth_before, split_keys)
        return self._reject_violations(table)

    def _reject(
        self,
        block: Block,
        bad: BoolArray,
        rule: Rule,
        values: npt.NDArray[Any] | None = None,
        report: bool = True,
    ) -> Block:
        """Return a block without the samples where `bad` is True, and record them as rejected."""
        for row in np.flatnonzero(bad):
            value = "" if values is None else values[row]
            self.rejected.add_sample(block.study, block.sample_ids[row], rule, value, report)
        return block.keep_samples(~bad)

    def _reject_too_large(self, table: CountTable) -> None:
        for sample in too_large(table).tolist():
            value = f"{table.indptr[sample + 1] - table.indptr[sample]:,} entries"
            self.rejected.add_sample(table.study, table.sample_ids[sample], rules.SAMPLE_TOO_LARGE, value)

    def _reject_unwanted(self, block: Block) -> Block:
        reasons = np.array([self.left_out.get(i, "") for i in block.sample_ids], dtype=object)
        block = self._reject(block, _is_in(block, self.left_out), rules.NOT_ASKED_FOR, reasons)
        return self._reject(block, self.is_unlisted(block), rules.SAMPLE_IN_NO_LIST)

    def is_unlisted(self, block: Block) -> BoolArray:
        """Return which samples are in no list of a split. None are if no lists were given."""
        split_ids, ids = self.split_ids, block.sample_ids
        if split_ids is None:
            return np.zeros(len(ids), dtype=bool)
        return np.array([self.name(block.study, i) not in split_ids for i in ids], dtype=bool)

    def _reject_invalid_ids(self, block: Block, invalid: dict[str, Rule]) -> Block:
        """Reject samples whose ids are invalid. The reader has reported the ids of a table by itself."""
        for sample_id in filter(invalid.__contains__, block.sample_ids):
            rule = invalid[sample_id]
            self.rejected.add_sample(block.study, sample_id, rule, report=rule is rules.DUPLICATE_SAMPLE)
        return block.keep_samples(~_is_in(block, invalid))

    def _reject_bad_counts(self, block: Block, table: CountTable) -> Block:
        """Reject samples with invalid counts, and those in which the sum of an ASV's counts is too large."""
        reasons = self._bad_counts(block)
        # The reader has reported these counts. Some are of features without a sequence, which no ASV has.
        values = np.array([reasons.get(i, "") for i in block.sample_ids], dtype=object)
        is_bad = _is_in(block, table.with_bad_counts)
        block = self._reject(block, is_bad, rules.BAD_COUNT, values, report=False)
        values = np.array([reasons.get(i, "") for i in block.sample_ids], dtype=object)
        return self._reject(block, _is_in(block, reasons), rules.COUNT_TOO_LARGE, values)

    def _bad_counts(self, block: Block) -> dict[str, str]:
        """Return an invalid count of each sample that has any, in words."""
        bad_entries = np.flatnonzero(_is_bad(block.count))
        rows, first, number = np.unique(block.row[bad_entries], return_index=True, return_counts=True)
        reasons = {}
        for row, entry, total in zip(rows, bad_entries[first], number, strict=True):
            name = self.study.asvs.ids[block.asv[entry]][0]
            more = f" and {total - 1} more" if total > 1 else ""
            reasons[block.sample_ids[row]] = f"{block.count[entry]} in ASV {name}{more}"
        return reasons

    def _reject_missing_from_tree(self, block: Block) -> Block:
        if self.study.tree is None or self.choices.missing_from_tree != MissingFromTree.REJECT:
            return block
        missing = self.study.tip_of_asv[block.asv] < 0
        number = np.bincount(block.row[missing], minlength=len(block.sample_ids))
        return self._reject(block, number > 0, rules.SAMPLE_NOT_IN_TREE, number)

    def _rarefy(self, block: Block, depth: int) -> Block:
        # Rarefaction draws single reads, so counts must be whole numbers.
        whole, is_whole = rounded_counts(block.count)
        reasons = np.array([f"{short_number(depth)} reads" for depth in block.depth], dtype=object)
        bad = block.depth >= MOST_READS
        entries = np.flatnonzero(~is_whole)
        rows, first = np.unique(block.row[entries], return_index=True)
        bad[rows] = True
        reasons[rows] = [f"a count of {short_number(count)}" for count in block.count[entries[first]]]
        block = self._reject(replace(block, count=whole), bad, rules.CANNOT_RAREFY, reasons)
        of_depth = np.array([f"{reads:,.0f} of {depth:,}" for reads in block.depth], dtype=object)
        block = self._reject(block, block.depth < depth, rules.BELOW_DEPTH, of_depth)
        return rarefy(block, depth, self.choices.seed)

    def _to_table(self, block: Block, depth_before: dict[str, float], split_keys: dict[str, str]) -> pa.Table:
        keep = within_limit(block, self.choices.token_limit)
        kept, dropped = block.keep_entries(keep), block.keep_entries(~keep)
        ids = [self.name(block.study, i) for i in block.sample_ids]
        if self.split_ids is not None:
            split = [self.split_ids[name] for name in ids]
        else:
            split = [self.previous.split.get(i) or split_of(split_keys.get(i, i)) for i in block.sample_ids]
        columns = {
            "sample_id": pa.array(ids, pa.string()),
            "study": pa.array([block.study] * len(ids), pa.string()),
            "asv": _lists(kept.indptr, kept.asv.astype(np.uint32)),
            "count": _lists(kept.indptr, kept.count),
            "dropped_asv": _lists(dropped.indptr, dropped.asv.astype(np.uint32)),
            "dropped_count": _lists(dropped.indptr, dropped.count),
            "depth": pa.array(block.depth, pa.float64()),
            "depth_before_rarefaction": pa.array([depth_before[i] for i in block.sample_ids], pa.float64()),
            "depth_kept": pa.array(kept.depth, pa.float64()),
            "num_asvs": pa.array(block.num_asvs.astype(np.uint32)),
            "num_asvs_kept": pa.array(kept.num_asvs.astype(np.uint32)),
            "split": pa.array(split, pa.string()),
        }
        return pa.table(columns, schema=PREPARED)

    def _reject_violations(self, table: pa.Table) -> pa.Table:
        """Check the samples against the pandera schema of the shards, and reject those that violate it."""
        schema = sample_table(self.choices.token_limit, len(self.study.asvs.sequences))
        failures = violations(schema, pl.DataFrame(table))
        if failures.is_empty():
            return table
        if failures["index"].has_nulls():
            raise AssertionError(f"prepared samples have invalid columns: {failures}")
        ids, studies = table["sample_id"].to_pylist(), table["study"].to_pylist()
        reasons = failures.group_by("index", maintain_order=True).agg(pl.col("check").first())
        for row, check in reasons.iter_rows():
            self.rejected.add_sample(studies[row], ids[row], rules.CONTRACT, check)
        keep = np.ones(len(ids), dtype=bool)
        keep[reasons["index"].to_numpy()] = False
        return table.filter(pa.array(keep))


def make_pipeline(
    study: Study,
    choices: Choices,
    findings: Findings,
    *,
    prefix_samples: bool,
    where: Sequence[str] = (),
    split_lists: Sequence[SplitList] = (),
) -> SamplePipeline:
    """Return the pipeline of a study. The choices are checked against the study first.

    Parameters
    ----------
    study : Study
    choices : Choices
    findings : Findings
        Rejected samples and ASVs are added here.
    prefix_samples : bool
        Whether to name samples `STUDY.SAMPLE`.
    where : sequence of str
        Conditions that the metadata of samples must fulfill (see `aamprep.study.where`).
    split_lists : sequence of SplitList
        Lists of samples for each split. Others are left out.

    Raises
    ------
    ParameterError
        If a metadata column does not exist, or ASVs missing from the tree are to be treated without a tree.
    InvalidDataError
        If no sample is in a list.
    """
    columns = list(study.metadata.columns) if study.metadata else []
    if choices.split_by is not None and choices.split_by not in columns:
        known = ", ".join(columns) or "none, since no metadata were given"
        raise ParameterError(
            f"there is no metadata column {choices.split_by!r}", "split_by", f"choose one of: {known}"
        )
    if study.tree is None and choices.missing_from_tree != MissingFromTree.KEEP:
        raise ParameterError(
            f"{choices.missing_from_tree!r} needs a tree, but there is none",
            "missing_from_tree",
            "give the tree of the ASVs",
        )
    sample_ids = (sample_id for table in study.tables for sample_id in table.sample_ids)
    unwanted = failing_samples(list(where), study.metadata, sample_ids)
    pipeline = SamplePipeline(study, choices, prefix_samples, Rejected(findings), left_out=unwanted)
    if not split_lists:
        return pipeline
    samples = ((table.study, sample_id) for table in study.tables for sample_id in table.sample_ids)
    return replace(pipeline, split_ids=assign_splits(split_lists, samples, pipeline.name, findings))


def _filter_asvs(pipeline: SamplePipeline, invalid_ids: list[dict[str, Rule]]) -> BoolArray:
    """Return which ASVs the filters keep: True is kept."""
    study, choices, rejected = pipeline.study, pipeline.choices, pipeline.rejected
    num_asvs = len(study.asvs.sequences)
    keep = np.ones(num_asvs, dtype=bool)

    def leave_out(bad: BoolArray, rule: Rule, value: str = "") -> None:
        rejected.add_asvs([study.asvs.ids[asv][0] for asv in np.flatnonzero(bad & keep)], rule, value)
        keep[bad] = False

    if study.tree is not None and choices.missing_from_tree == MissingFromTree.DROP:
        leave_out(study.tip_of_asv < 0, rules.ASV_DROPPED_NOT_IN_TREE)
    if choices.min_prevalence > 1 or choices.min_reads > 0:
        prevalence, reads = _totals(pipeline, invalid_ids)
        leave_out(
            prevalence < choices.min_prevalence, rules.BELOW_PREVALENCE, f"below {choices.min_prevalence}"
        )
        leave_out(reads < choices.min_reads, rules.BELOW_READS, f"below {exact_number(choices.min_reads)}")
    return keep


def _totals(
    pipeline: SamplePipeline, invalid_ids: list[dict[str, Rule]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the numbers of samples and reads of each ASV over all tables.

    Samples whose ids or counts are invalid are not counted: the shards do not have them.
    """
    study = pipeline.study
    num_asvs = len(study.asvs.sequences)
    prevalence, reads = np.zeros(num_asvs, dtype=np.int64), np.zeros(num_asvs)
    for table, asv_of_feature, invalid in zip(study.tables, study.asv_of_feature, invalid_ids, strict=True):
        for whole in blocks(table, asv_of_feature):
            left_out = _is_in(whole, table.with_bad_counts | invalid.keys() | pipeline.left_out.keys())
            left_out[whole.row[_is_bad(whole.count)]] = True
            left_out |= pipeline.is_unlisted(whole)
            block = whole.keep_samples(~left_out)
            prevalence += np.bincount(block.asv, minlength=num_asvs)
            reads += np.bincount(block.asv, weights=block.count, minlength=num_asvs)
    return prevalence, reads


def _invalid_ids(pipeline: SamplePipeline) -> list[dict[str, Rule]]:
    """Return the invalid sample ids of each table, with the rule that each violates.

    An id is invalid if it is empty, or if several samples would be written under it.
    """
    tables = pipeline.study.tables
    names = Counter(pipeline.name(table.study, i) for table in tables for i in table.sample_ids)
    invalid = []
    for table in tables:
        shared = Counter(i for i in table.sample_ids if names[pipeline.name(table.study, i)] > 1)
        rule_of = {
            i: rules.SAMPLE_ID_DUPLICATE if number > 1 else rules.DUPLICATE_SAMPLE
            for i, number in shared.items()
        }
        empty = {i: rules.SAMPLE_ID_EMPTY for i in table.sample_ids if not i.strip()}
        invalid.append(rule_of | empty)
    return invalid


def _is_bad(count: npt.NDArray[np.float64]) -> BoolArray:
    """Return which counts are invalid: negative, NaN, infinite or above 2^53."""
    return ~((count >= 0) & (count <= LARGEST_COUNT))


def _is_in(block: Block, ids: Container[str]) -> BoolArray:
    return np.fromiter((i in ids for i in block.sample_ids), dtype=bool, count=len(block.sample_ids))


def _split_keys(pipeline: SamplePipeline) -> dict[str, str]:
    """Return the value of the column to split by for each sample, and report the samples without a value."""
    study, column = pipeline.study, pipeline.choices.split_by
    if study.metadata is None or column is None:
        return {}
    values = zip(study.metadata.ids, study.metadata.columns[column], strict=True)
    is_numeric = study.metadata.types[column] == "numeric"
    keys = {
        # Equal numbers are one subject, however they are spelled: 6 and 6.0.
        sample_id: exact_number(float(value)) if is_numeric else value
        for sample_id, value in values
        if value is not None
    }
    wanted = [i for table in study.tables for i in table.sample_ids if i not in pipeline.left_out]
    absent = [sample_id for sample_id in wanted if sample_id not in keys]
    if absent:
        value = f"{len(absent):,} of {len(wanted):,} samples, such as {absent[0]}"
        where = f"{study.metadata.source.name}: column {column}"
        pipeline.rejected.findings.add(rules.SPLIT_BY_EMPTY, where, value)
    return keys


def _lists(indptr: npt.NDArray[np.int64], values: npt.NDArray[np.generic]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), pa.array(values))
