"""Verify the samples of a shard set: each row by itself, and all rows against the ASVs and the tree."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

from aam_schemas.manifest import ShardFile
from aam_schemas.shards import ASVS_FILE
from aam_schemas.tables import sample_table, violations
from aamprep.arrays import BoolArray, Int64Array
from aamprep.arrow import list_sizes, list_values
from aamprep.rules import shards as rules
from aamprep.shards.stored import Entries, entries
from aamprep.tree.branches import Branches, branches_above, reads_under
from aamprep.verification.check import ShardCheck

_PATHS_AT_ONCE = 1 << 22
"""Branches above the ASVs of samples whose branches are computed together, to bound memory."""

RELATIVE_ERROR = 1e-9
"""Tolerance for sums of reads. Their last digits depend on the order of summation."""


@dataclass
class SampleCheck:
    """Check of all sample files of a set. Totals are collected batch by batch."""

    check: ShardCheck
    asvs: pl.DataFrame | None
    """Rows of asvs.parquet, or None if they are invalid."""
    branches: Branches | None
    """Rows of tree.parquet, or None if there is no valid tree."""
    sample_ids: list[str] = field(default_factory=list)
    """Ids of the samples checked so far, in manifest order."""
    splits: list[str] = field(default_factory=list)
    """Splits of these samples."""
    is_complete: bool = True
    """Whether every sample so far could be read and satisfies its schema."""
    _earlier: set[str] = field(default_factory=set)
    """The same ids, to find those that occur twice."""

    def __post_init__(self) -> None:
        manifest = self.check.manifest
        self.num_asvs = manifest.num_asvs if self.asvs is None else len(self.asvs)
        num_totals = 0 if self.asvs is None else self.num_asvs
        self.prevalence, self.total_count = np.zeros(num_totals, dtype=np.int64), np.zeros(num_totals)
        self.is_kept = np.zeros(num_totals, dtype=bool)
        self.above = None if self.branches is None else branches_above(self.branches, self.num_asvs)
        self.rank = None if self.asvs is None else _rank(self.asvs["sequence"])

    def run(self) -> None:
        """Check each file, then the totals over all files."""
        manifest = self.check.manifest
        for file in manifest.files:
            if file.split:
                self._check_file(file)
        if not self.is_complete:
            for rule in (rules.KEPT_FIRST, rules.TOTALS):
                self.check.findings.skip(rule, "not all samples could be read")
            return
        self.check.compare_number("num_samples", manifest.num_samples, len(self.sample_ids))
        if self.asvs is not None:
            self._check_totals(self.asvs)

    def _check_file(self, file: ShardFile) -> None:
        name = file.name
        if name in self.check.intact:
            for samples in self.check.read(name):
                ids = samples["sample_id"].to_pylist()
                self._check_batch(name, samples, ids)
                is_duplicate = np.array([sample_id in self._earlier for sample_id in ids], dtype=bool)
                self.check.add_some(rules.SAMPLE_TWICE, name, ids, is_duplicate, "sample")
                self._earlier.update(ids)
                self.sample_ids += ids
                self.splits += [file.split] * len(ids)
        self.is_complete &= name in self.check.intact

    def _check_batch(self, name: str, samples: pa.Table, ids: list[str]) -> None:
        choices = self.check.manifest.choices
        schema = sample_table(choices.token_limit, self.num_asvs, self.check.manifest.num_branches)
        failures = violations(schema, pl.DataFrame(samples))
        if not self.check.passes(failures, name, [f"sample {i}" for i in ids]):
            self.is_complete = False
            return
        batch = entries(samples)
        for rule, bad in (
            (rules.ASV_TWICE, _has_asv_twice(batch)),
            (rules.SELECTION, self._is_wrongly_selected(samples, batch)),
            (rules.DEPTHS, self._has_wrong_depth(samples)),
            (rules.BRANCHES, self._has_wrong_branches(samples, batch)),
        ):
            self.check.add_some(rule, name, ids, bad, "sample")
        if self.asvs is not None:
            self.prevalence += np.bincount(batch.asv, minlength=self.num_asvs)
            self.total_count += np.bincount(batch.asv, weights=batch.count, minlength=self.num_asvs)
            self.is_kept[list_values(samples, "asv")] = True

    def _is_wrongly_selected(self, samples: pa.Table, batch: Entries) -> BoolArray:
        choices = self.check.manifest.choices
        sizes = list_sizes(samples, "asv")
        bad = sizes != np.minimum(np.diff(batch.indptr), choices.token_limit)
        if choices.select == "abundance" and self.rank is not None and len(batch.asv):
            # Counts must fall within a sample, and ties must be ordered by sequence.
            rises = np.diff(batch.count)
            out_of_order = (rises > 0) | ((rises == 0) & (np.diff(self.rank[batch.asv]) < 0))
            within = np.diff(batch.row) == 0
            bad |= np.bincount(batch.row[1:][out_of_order & within], minlength=len(bad)) > 0
        return bad

    def _has_wrong_depth(self, samples: pa.Table) -> BoolArray:
        depth = samples["depth"].to_numpy()
        bad = depth > samples["depth_before_rarefaction"].to_numpy() * (1 + RELATIVE_ERROR)
        rarefied = self.check.manifest.choices.rarefy_depth
        return bad if rarefied is None else bad | (depth != rarefied)

    def _has_wrong_branches(self, samples: pa.Table, batch: Entries) -> BoolArray:
        """Compare branches, reads below them and depth in the tree with values computed from the ASVs."""
        if self.above is None:
            return np.zeros(len(samples), dtype=bool)
        paths = np.bincount(batch.row, np.diff(self.above.indptr)[batch.asv], minlength=len(samples))
        parts = np.cumsum(paths) // _PATHS_AT_ONCE
        starts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(samples)]
        rows = [samples.slice(start, stop - start) for start, stop in pairwise(starts)]
        return np.concatenate([self._differ_in_branches(part, entries(part), self.above) for part in rows])

    def _differ_in_branches(self, samples: pa.Table, batch: Entries, above: sp.csr_matrix) -> BoolArray:
        expected = reads_under(above, batch.indptr, batch.asv, batch.count)
        # Lists of different lengths cannot be turned into a matrix.
        sizes = list_sizes(samples, "branch")
        unequal = sizes != list_sizes(samples, "branch_count")
        if unequal.any():
            return unequal
        listed = list_values(samples, "branch").astype(np.int64)
        reads = list_values(samples, "branch_count").astype(np.float64)
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        given = sp.csr_matrix((reads, listed, indptr), shape=expected.shape)
        in_tree = (np.diff(above.indptr) > 0)[batch.asv]
        depth = np.bincount(batch.row, weights=batch.count * in_tree, minlength=len(samples))
        return (
            _differs(expected, given)
            # An extra branch with a count of 0 changes no sum, so the branches are compared, too.
            | _differs(_presence(expected), _presence(given))
            | ~np.isclose(depth, samples["depth_in_tree"].to_numpy(), rtol=RELATIVE_ERROR, atol=0)
        )

    def _check_totals(self, asvs: pl.DataFrame) -> None:
        names = asvs["asv_id"].to_list()
        num_kept = self.check.manifest.num_kept_asvs
        self.check.compare_number("num_kept_asvs", num_kept, int(self.is_kept.sum()))
        bad = (self.is_kept != (np.arange(self.num_asvs) < num_kept)) | (self.prevalence == 0)
        self.check.add_some(rules.KEPT_FIRST, ASVS_FILE, names, bad, "ASV")
        same = np.isclose(self.total_count, asvs["total_count"].to_numpy(), rtol=RELATIVE_ERROR, atol=0)
        bad = ~same | (self.prevalence != asvs["prevalence"].to_numpy())
        self.check.add_some(rules.TOTALS, ASVS_FILE, names, bad, "ASV")


def _rank(sequences: pl.Series) -> Int64Array:
    """Return the rank of each sequence in sorted order."""
    rank = np.empty(len(sequences), dtype=np.int64)
    rank[sequences.arg_sort().to_numpy()] = np.arange(len(sequences))
    return rank


def _has_asv_twice(batch: Entries) -> BoolArray:
    order = np.lexsort((batch.asv, batch.row))
    row, asv = batch.row[order], batch.asv[order]
    twice = (np.diff(row) == 0) & (np.diff(asv) == 0)
    return np.bincount(row[1:][twice], minlength=len(batch.indptr) - 1) > 0


def _presence(reads: sp.csr_matrix) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(reads.data)), reads.indices, reads.indptr), shape=reads.shape)


def _differs(expected: sp.csr_matrix, actual: sp.csr_matrix) -> BoolArray:
    """Return in which rows two matrices differ by more than rounding errors."""
    difference = abs(expected - actual)
    allowed = abs(expected) * RELATIVE_ERROR
    return np.diff((difference > allowed).tocsr().indptr) > 0
