"""Compare token limits and rarefaction depths by the reads, ASVs and samples that they would keep."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from aam_schemas.common.counts import rounded_counts
from aamprep.arrays import LARGEST_COUNT, Float64Array
from aamprep.checks.depths import expected_asvs, round_depths, suggested_depth
from aamprep.checks.thresholds import (
    KEPT_FRACTION,
    LEAST_DEPTH,
    LEAST_GAIN,
    NEARLY_ALL,
    TOKEN_LIMITS,
    WORST_FRACTION,
)
from aamprep.prepare.block import Block, blocks, too_large
from aamprep.read.types import CountTable


@dataclass(frozen=True)
class Measured:
    """Depth and richness of each valid sample of a study."""

    depth: Float64Array
    """Number of reads, shape (samples,)."""
    num_asvs: Float64Array
    """Number of ASVs with a count above 0, shape (samples,)."""
    reads_within: Float64Array
    """Number of reads of the most abundant ASVs, for each of `TOKEN_LIMITS`, shape (samples, limits)."""
    num_left_out: int
    """Number of samples without reads or with invalid counts (negative, NaN, infinite or above 2^53)."""
    is_whole: bool
    """Whether all counts are whole numbers. Only then can samples be rarefied."""


@dataclass(frozen=True)
class TokenLimitRow:
    """Reads and ASVs that a token limit keeps. The names of the attributes are the keys of `--json`."""

    token_limit: int
    reads_median: float
    """Median over samples of the fraction of reads that is kept."""
    reads_worst: float
    """Fraction of reads that 95 % of the samples keep or exceed."""
    asvs_median: float
    """Median over samples of the fraction of ASVs that is kept."""
    asvs_worst: float
    """Fraction of ASVs that 95 % of the samples keep or exceed."""
    samples_nearly_whole: int
    """Number of samples that keep at least 99 % of their reads."""


@dataclass(frozen=True)
class DepthRow:
    """Samples and reads that a rarefaction depth keeps. The attribute names are the keys of `--json`."""

    depth: int
    samples: int
    """Number of samples with at least this many reads."""
    samples_share: float
    """Fraction of the samples that is kept."""
    reads_share: float
    """Fraction of all reads that is kept: reads after rarefaction, divided by reads before."""
    asvs_median: float | None
    """Median over the kept samples of the fraction of ASVs that is expected. None if no sample is kept."""
    gain_median: float | None
    """Median over the samples with twice this depth of the gain: the ASVs expected with twice the reads,
    divided by the ASVs expected at this depth, minus 1. None if there is no such sample."""
    suggested: bool
    """Whether this is the suggested depth (see `suggested_depth`)."""


@dataclass(frozen=True)
class KeptByLimits:
    """Result of `aamprep.limits`. The names of the attributes are the keys of `--json`."""

    samples: int
    """Number of valid samples."""
    samples_left_out: int
    """Number of samples without reads or with invalid counts."""
    token_limits: tuple[TokenLimitRow, ...]
    smallest_sufficient_token_limit: int | None
    """Smallest token limit at which 95 % of the samples keep at least 95 % of their reads."""
    depths: tuple[DepthRow, ...]
    """Empty if counts are not whole numbers, since samples can then not be rarefied."""
    samples_shallow: int
    """Number of valid samples with fewer than 1,000 reads."""
    bend: int | None
    """Smallest of the depths from which twice the reads add at most 10 % of ASVs to the median sample."""

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        rows = {name: list(map(asdict, getattr(self, name))) for name in ("token_limits", "depths")}
        return vars(self) | rows


def measure(tables: Iterable[CountTable]) -> Measured:
    """Measure every sample of several tables. Every feature counts as one ASV."""
    tables = list(tables)
    parts = [_measure_block(block) for block in _blocks(tables)]
    none = np.zeros((0, len(TOKEN_LIMITS)))
    return Measured(
        depth=np.concatenate([none[:, 0], *(part.depth for part in parts)]),
        num_asvs=np.concatenate([none[:, 0], *(part.num_asvs for part in parts)]),
        reads_within=np.concatenate([none, *(part.reads_within for part in parts)]),
        num_left_out=sum(part.num_left_out for part in parts)
        + sum(len(too_large(table)) for table in tables),
        is_whole=all(part.is_whole for part in parts),
    )


def _blocks(tables: Iterable[CountTable]) -> Iterator[Block]:
    for table in tables:
        yield from blocks(table, np.arange(len(table.feature_ids)))


def _valid(block: Block) -> Block:
    """Return the valid samples. Counts that are whole up to rounding are whole, as they are for `shard`."""
    rounded, is_whole = rounded_counts(block.count)
    block = replace(block, count=np.where(is_whole, rounded, block.count))
    bad = ~((block.count >= 0) & (block.count <= LARGEST_COUNT))
    num_bad = np.bincount(block.row[bad], minlength=len(block.sample_ids))
    return block.keep_samples((num_bad == 0) & (block.num_asvs > 0))


def _measure_block(whole: Block) -> Measured:
    block = _valid(whole)
    order = np.lexsort((-block.count, block.row))
    # With running totals, the reads of a sample's most abundant ASVs are a difference of two sums.
    sums = np.concatenate([[0.0], np.cumsum(block.count[order])])
    start, stop = block.indptr[:-1], block.indptr[1:]
    within = [sums[np.minimum(start + limit, stop)] - sums[start] for limit in TOKEN_LIMITS]
    return Measured(
        depth=sums[stop] - sums[start],
        num_asvs=block.num_asvs.astype(np.float64),
        reads_within=np.stack(within, axis=1),
        num_left_out=len(whole.sample_ids) - len(block.sample_ids),
        is_whole=bool(rounded_counts(block.count)[1].all()),
    )


def token_limit_rows(measured: Measured) -> list[TokenLimitRow]:
    """Return what each of `TOKEN_LIMITS` keeps."""
    rows = []
    for index, limit in enumerate(TOKEN_LIMITS):
        reads = measured.reads_within[:, index] / measured.depth
        asvs = np.minimum(limit, measured.num_asvs) / measured.num_asvs
        rows.append(
            TokenLimitRow(
                token_limit=limit,
                reads_median=float(np.median(reads)),
                reads_worst=float(np.quantile(reads, WORST_FRACTION, method="lower")),
                asvs_median=float(np.median(asvs)),
                asvs_worst=float(np.quantile(asvs, WORST_FRACTION, method="lower")),
                samples_nearly_whole=int((reads >= NEARLY_ALL).sum()),
            )
        )
    return rows


def smallest_sufficient(rows: Iterable[TokenLimitRow]) -> int | None:
    """Return the smallest token limit at which 95 % of the samples keep at least 95 % of their reads."""
    return next((row.token_limit for row in rows if row.reads_worst >= KEPT_FRACTION), None)


def depth_rows(tables: Sequence[CountTable], measured: Measured) -> list[DepthRow]:
    """Return what round depths and the suggested depth keep. Empty if counts are not whole numbers."""
    if not measured.is_whole:
        return []
    depth = measured.depth
    suggested = suggested_depth(depth)
    # If no sample has 100 reads, the only row is the depth of the shallowest one.
    rounded = round_depths(float(depth.max())) or [int(depth.min())]
    candidates = sorted({*rounded, *([suggested] if suggested else [])})
    at, at_twice = _expected(tables, candidates)
    rows = []
    for index, candidate in enumerate(candidates):
        number = int((depth >= candidate).sum())
        rows.append(
            DepthRow(
                depth=candidate,
                samples=number,
                samples_share=number / len(depth),
                reads_share=candidate * number / float(depth.sum()),
                asvs_median=_median(at[:, index] / measured.num_asvs),
                gain_median=_median(at_twice[:, index] / at[:, index] - 1),
                suggested=candidate == suggested,
            )
        )
    return rows


def _expected(tables: Sequence[CountTable], depths: Sequence[int]) -> tuple[Float64Array, Float64Array]:
    """Return the ASVs expected in each valid sample at each depth and at twice the depth.

    Both arrays have the shape (samples, depths), and NaN where a sample has fewer reads.
    """
    shape = (0, len(depths))
    at, at_twice = [np.zeros(shape)], [np.zeros(shape)]
    for whole in _blocks(tables):
        block = _valid(whole)
        at.append(np.stack([expected_asvs(block, depth) for depth in depths], axis=1))
        at_twice.append(np.stack([expected_asvs(block, 2 * depth) for depth in depths], axis=1))
    return np.concatenate(at), np.concatenate(at_twice)


def _median(values: Float64Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _bend(rows: Sequence[DepthRow]) -> int | None:
    """Return the smallest depth at which, and at all larger ones, the gain is small."""
    bend = None
    for row in reversed([row for row in rows if row.gain_median is not None]):
        if row.gain_median is None or row.gain_median > LEAST_GAIN:
            break
        bend = row.depth
    return bend


def kept_by_limits(tables: Iterable[CountTable]) -> KeptByLimits | None:
    """Compare token limits and rarefaction depths. Return None if no valid sample has reads."""
    tables = list(tables)
    measured = measure(tables)
    if not len(measured.depth):
        return None
    limits = tuple(token_limit_rows(measured))
    depths = tuple(depth_rows(tables, measured))
    return KeptByLimits(
        samples=len(measured.depth),
        samples_left_out=measured.num_left_out,
        token_limits=limits,
        smallest_sufficient_token_limit=smallest_sufficient(limits),
        depths=depths,
        samples_shallow=int((measured.depth < LEAST_DEPTH).sum()),
        bend=_bend(depths),
    )
