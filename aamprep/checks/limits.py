"""What each token limit and each rarefaction depth would keep of a table: the figures to choose them by."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aamprep.arrays import LARGEST_COUNT, Floats
from aamprep.checks.study_checks import suggested_depth
from aamprep.checks.thresholds import KEPT_FRACTION, NEARLY_ALL, TOKEN_LIMITS, WORST_FRACTION
from aamprep.prepare.block import Block, blocks
from aamprep.read.types import CountTable


@dataclass(frozen=True)
class Measured:
    """Figures of each valid sample of a study."""

    depth: Floats
    """Reads, shape (samples,)."""
    num_asvs: Floats
    """ASVs with a count above 0, shape (samples,)."""
    reads_within: Floats
    """Reads of the most abundant ASVs up to each of `TOKEN_LIMITS`, shape (samples, limits)."""
    num_left_out: int
    """Samples without a read, or with a count that is negative, NaN, infinite or too large to be one."""
    is_whole: bool
    """Whether all counts are whole numbers, so that samples can be rarefied."""


@dataclass(frozen=True)
class TokenLimitRow:
    """What a token limit keeps of the samples."""

    token_limit: int
    reads_median: float
    """Share of its reads that the median sample keeps."""
    reads_worst: float
    """Share that 95 % of the samples reach."""
    asvs_median: float
    asvs_worst: float
    samples_nearly_whole: int
    """Samples that keep 99 % of their reads or more."""


@dataclass(frozen=True)
class DepthRow:
    """What a rarefaction depth keeps of the study."""

    depth: int
    samples: int
    """Samples that are deep enough."""
    samples_share: float
    reads_share: float
    """Reads after rarefaction, of all reads before."""
    suggested: bool


@dataclass(frozen=True)
class KeptByLimits:
    """What each token limit and each rarefaction depth keeps of the samples."""

    samples: int
    samples_left_out: int
    """Samples without a read, or with a count that is negative, NaN, infinite or too large."""
    token_limits: tuple[TokenLimitRow, ...]
    smallest_sufficient_token_limit: int | None
    """Smallest token limit at which 95 % of the samples keep 95 % of their reads."""
    depths: tuple[DepthRow, ...]
    """Empty where counts are not whole numbers, so that samples cannot be rarefied."""

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        rows = {name: list(map(asdict, getattr(self, name))) for name in ("token_limits", "depths")}
        return vars(self) | rows


def measure(tables: Iterable[CountTable]) -> Measured:
    """Measure every sample of some tables; their features are taken as ASVs, as they are."""
    parts = [
        _measure_block(block)
        for table in tables
        for block in blocks(table, np.arange(len(table.feature_ids)))
    ]
    none = np.zeros((0, len(TOKEN_LIMITS)))
    return Measured(
        depth=np.concatenate([none[:, 0], *(one.depth for one in parts)]),
        num_asvs=np.concatenate([none[:, 0], *(one.num_asvs for one in parts)]),
        reads_within=np.concatenate([none, *(one.reads_within for one in parts)]),
        num_left_out=sum(one.num_left_out for one in parts),
        is_whole=all(one.is_whole for one in parts),
    )


def _measure_block(every: Block) -> Measured:
    bad = ~((every.count >= 0) & (every.count <= LARGEST_COUNT))
    num_bad = np.bincount(every.row[bad], minlength=len(every.sample_ids))
    block = every.keep_samples((num_bad == 0) & (every.num_asvs > 0))
    order = np.lexsort((-block.count, block.row))
    # Sums from the block's start; the difference of two is the sum over a sample's most abundant ASVs.
    sums = np.concatenate([[0.0], np.cumsum(block.count[order])])
    start, stop = block.indptr[:-1], block.indptr[1:]
    within = [sums[np.minimum(start + limit, stop)] - sums[start] for limit in TOKEN_LIMITS]
    return Measured(
        depth=sums[stop] - sums[start],
        num_asvs=block.num_asvs.astype(np.float64),
        reads_within=np.stack(within, axis=1),
        num_left_out=len(every.sample_ids) - len(block.sample_ids),
        is_whole=bool((block.count % 1 == 0).all()),
    )


def token_limit_rows(measured: Measured) -> list[TokenLimitRow]:
    """Say what each of `TOKEN_LIMITS` keeps."""
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
    """Find the smallest token limit at which 95 % of the samples keep 95 % of their reads."""
    return next((row.token_limit for row in rows if row.reads_worst >= KEPT_FRACTION), None)


def depth_rows(measured: Measured) -> list[DepthRow]:
    """Say what round depths keep, the suggested one among them; none where counts are not whole."""
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
    """Give 100, 200, 500, 1000 and so on, up to the deepest sample."""
    numbers = [step * 10**power for power in range(2, 16) for step in (1, 2, 5)]
    return [number for number in numbers if number <= largest]


def kept_by_limits(tables: Iterable[CountTable]) -> KeptByLimits | None:
    """Return what each token limit and rarefaction depth keeps of some tables; None where none has a read."""
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
