"""Depths of samples: which ones are shallow, and what a rarefaction depth keeps."""

import numpy as np

from aamprep.arrays import Float64Array
from aamprep.checks.thresholds import (
    DEPTH_RATIO,
    LEAST_DEPTH,
    LIBRARY_RATIO,
    MANY_SHALLOW,
    REACHED_FRACTION,
)
from aamprep.prepare.block import Block
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings


def suggested_depth(depth: Float64Array) -> int | None:
    """Return a round rarefaction depth that nine of ten samples reach, if that is at least 1,000 reads.

    If it is less, samples with fewer than 500 reads are set aside as failed. The depth is then what nine of
    ten of the others reach, or 1,000. None if fewer than half of all samples have 1,000 reads.

    Parameters
    ----------
    depth : ndarray of float64, shape (samples,)
        Number of reads of each sample.
    """
    if not len(depth) or np.median(depth) < LEAST_DEPTH:
        return None
    reached = _reached(depth)
    if reached < LEAST_DEPTH:
        reached = max(LEAST_DEPTH, _reached(depth[depth >= LEAST_DEPTH / 2]))
    return reached


def _reached(depth: Float64Array) -> int:
    # An interpolated quantile would lie between two samples, and one of them would not reach it.
    reached = float(np.quantile(depth, 1 - REACHED_FRACTION, method="lower"))
    magnitude = 10 ** max(0, int(np.log10(max(reached, 1))) - 1)
    return int(reached // magnitude * magnitude)


def round_depths(largest: float) -> list[int]:
    """Return 100, 200, 500, 1000 and so on, up to a largest depth."""
    numbers = [step * 10**power for power in range(2, 16) for step in (1, 2, 5)]
    return [number for number in numbers if number <= largest]


def expected_asvs(block: Block, depth: int) -> Float64Array:
    """Return the expected number of ASVs of each sample after rarefaction, NaN if it has fewer reads.

    An ASV of n among N reads is missed with probability C(N-n, d) / C(N, d) (Hurlbert 1971,
    doi:10.2307/1934145). (1 - d/N)^n is close to it, exact for n = 1 and for d = N, and cheaper to compute.

    Parameters
    ----------
    block : Block
        Samples with whole counts.
    depth : int
        Number of reads d that are drawn.
    """
    total = block.depth
    with np.errstate(divide="ignore"):
        log_missed = np.log1p(-np.minimum(depth / total, 1.0))
    found = -np.expm1(block.count * log_missed[block.row])
    return np.where(total >= depth, np.bincount(block.row, found, minlength=len(total)), np.nan)


def shallow_in_words(number: int, num_samples: int) -> str:
    """Return how many samples have fewer than `LEAST_DEPTH` reads, in words. Empty if none does."""
    if not number:
        return ""
    has = "has" if number == 1 else "have"
    fraction = number / num_samples
    text = f"{number:,} of {num_samples:,} samples ({fraction:.1%}) {has} fewer than {LEAST_DEPTH:,} reads"
    if MANY_SHALLOW <= fraction <= 0.5:
        text += ", as blanks and samples that failed in the laboratory do"
    return text


def check_depths(
    depth: Float64Array, sample_ids: list[str], rarefied: bool, is_whole: bool, findings: Findings
) -> None:
    """Report samples with few reads, and depths that differ."""
    shallow = shallow_in_words(int((depth < LEAST_DEPTH).sum()), len(depth))
    if shallow and is_whole:
        lowest = int(np.argmin(depth))
        where = f"sample {sample_ids[lowest]}"
        reads = f"{depth[lowest]:,.0f} read{'' if depth[lowest] == 1 else 's'}"
        findings.add(rules.SHALLOW, where, f"{reads}; {shallow}")
    if not is_whole:
        findings.skip(rules.SHALLOW, "counts are not whole numbers")
    why_not = _why_not_compared(depth, rarefied, is_whole)
    if why_not:
        findings.skip(rules.UNRAREFIED, why_not)
    elif _differ(depth):
        findings.add(rules.UNRAREFIED, "all samples", _describe_depths(depth))


def _why_not_compared(depth: Float64Array, rarefied: bool, is_whole: bool) -> str:
    if rarefied:
        return "the samples are rarefied"
    if not is_whole:
        return "counts are not whole numbers"
    return "" if len(depth) > 1 else "there are fewer than two samples"


def _differ(depth: Float64Array) -> bool:
    shallow, deep = np.quantile(depth, [0.1, 0.9])
    return bool(deep > DEPTH_RATIO * shallow or depth.max() > LIBRARY_RATIO * depth.min())


def _describe_depths(depth: Float64Array) -> str:
    text = f"depths of {depth.min():,.0f} to {depth.max():,.0f} reads"
    suggested = suggested_depth(depth)
    if suggested is None:
        return (
            f"{text}; no depth is suggested, since fewer than half of the samples have {LEAST_DEPTH:,} reads"
        )
    text += f"; --rarefy-depth {suggested} would keep {kept_in_words(depth, suggested)}"
    others = [number for number in round_depths(float(depth.max())) if number >= LEAST_DEPTH]
    below = [number for number in others if number < suggested][-1:]
    above = [number for number in others if number > suggested][:1]
    for other in below + above:
        text += f"; {other} would keep {kept_in_words(depth, other)}"
    return text


def kept_in_words(depth: Float64Array, rarefaction: int) -> str:
    """Return the samples and the fraction of the reads that a rarefaction depth keeps, in words."""
    number = int((depth >= rarefaction).sum())
    return f"{number:,} of {len(depth):,} samples and {rarefaction * number / depth.sum():.1%} of the reads"
