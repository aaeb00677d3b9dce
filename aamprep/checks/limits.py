"""Compare token limits and rarefaction depths by the reads, ASVs and samples that they would keep."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aamprep.arrays import LARGEST_COUNT, Float64Array
from aamprep.checks.study_checks import suggested_depth
from aamprep.checks.thresholds import KEPT_FRACTION, NEARLY_ALL, TOKEN_LIMITS, WORST_FRACTION
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

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        rows = {name: list(map(asdict, getattr(self, name))) for name in ("token_limits", "depths")}
        return vars(self) | rows


def measure(tables: Iterable[CountTable]) -> Measured:
    """Measure every sample of several tables. Every feature counts as one ASV."""
    tables = list(tables)
    parts = [
        _measure_block(block)
        for table in tables
        for block in blocks(table, np.arange(len(table.feature_ids)))
    ]
    none = np.zeros((0, len(TOKEN_LIMITS)))
    return Measured(
        depth=np.concatenate([none[:, 0], *(part.depth for part in parts)]),
        num_asvs=np.concatenate([none[:, 0], *(part.num_asvs for part in parts)]),
        reads_within=np.concatenate([none, *(part.reads_within for part in parts)]),
        num_left_out=sum(part.num_left_out for part in parts)
        + sum(len(too_large(table)) for table in tables),
        is_whole=all(part.is_whole for part in parts),
    )


def _measure_block(whole: Block) -> Measured:
    bad = ~((whole.count >= 0) & (whole.count <= LARGEST_COUNT))
    num_bad = np.bincount(whole.row[bad], minlength=len(whole.sample_ids))
    block = whole.keep_samples((num_bad == 0) & (whole.num_asvs > 0))
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
        is_whole=bool((block.count % 1 == 0).all()),
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


def depth_rows(measured: Measured) -> list[DepthRow]:
    """Return what round depths and the suggested depth keep. Empty if counts are not whole numbers."""
    if not measured.is_whole:
        return []
    depth = measured.depth
    suggested = suggested_depth(depth)
    rows = []
    for candidate in sorted({suggested, *_round_numbers(int(depth.max()))}):
        number = int((depth >= candidate).sum())
        reads = candidate * number / float(depth.sum())
        rows.append(DepthRow(candidate, number, number / len(depth), reads, candidate == suggested))
    return rows


def _round_numbers(largest: int) -> list[int]:
    """Return 100, 200, 500, 1000 and so on, up to the depth of the deepest sample."""
    numbers = [step * 10**power for power in range(2, 16) for step in (1, 2, 5)]
    return [number for number in numbers if number <= largest]


def kept_by_limits(tables: Iterable[CountTable]) -> KeptByLimits | None:
    """Compare token limits and rarefaction depths. Return None if no valid sample has reads."""
    measured = measure(tables)
    if not len(measured.depth):
        return None
    limits = tuple(token_limit_rows(measured))
    return KeptByLimits(
        samples=len(measured.depth),
        samples_left_out=measured.num_left_out,
        token_limits=limits,
        smallest_sufficient_token_limit=smallest_sufficient(limits),
        depths=tuple(depth_rows(measured)),
    )
