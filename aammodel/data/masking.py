"""Which ASVs the transformer reads and which of their bases the trainer hides.

A pure function of (seed, step, ASV), never of batch mates or rank.

Free of torch, since it runs in the workers of the loader.
"""

import numpy as np
import numpy.typing as npt

from aam_schemas import vocabulary
from aammodel.data.hashing import hash64

_READ = 1
_NEVER = np.uint64(0xFFFFFFFFFFFFFFFF)


def draw_encoded(
    asv_row: npt.NDArray[np.integer], seed: int, step: int, share: float
) -> npt.NDArray[np.bool_]:
    """Choose the ASVs that the transformer over bases reads at a step.

    A kind of stochastic depth (Huang et al. 2016): the others are known by their bases by position alone.

    Parameters
    ----------
    asv_row : ndarray of int, shape (U,)
        Row of each ASV in asvs.parquet.
    seed, step : int
        Another seed or step chooses others.
    share : float
        Probability of each ASV to be chosen.

    Returns
    -------
    ndarray of bool, shape (U,)
    """
    if share >= 1 or share <= 0:
        return np.full(len(asv_row), share >= 1)
    drawn = hash64(seed, step, _READ, values=asv_row)
    # The upper 53 bits, which a float64 holds exactly.
    return (drawn >> np.uint64(11)) < share * 2.0**53


def draw_masks(
    tokens: npt.NDArray[np.uint8],
    asv_row: npt.NDArray[np.integer],
    seed: int,
    step: int,
    fraction: float = 0.15,
    span: int = 1,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose the bases of each ASV that the trainer hides.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)
        Token ids of distinct ASVs: START, bases, padding.
    asv_row : ndarray of int, shape (U,)
        Row of each ASV in asvs.parquet.
    seed, step : int
        Another seed or step hides other bases.
    fraction : float
        Share of an ASV's bases to hide, rounded to whole bases; at least one base is.
    span : int
        Neighbouring bases hidden together. An ASV is cut into spans at a place that is drawn too, and the
        last of its chosen spans is cut short where the fraction asks for it.

    Returns
    -------
    masked : ndarray of int64, shape (M, 2)
        Row in `tokens` and position of each hidden base, in ascending order.
    masked_token : ndarray of int64, shape (M,)
        What stands there.
    """
    is_base = (tokens != vocabulary.PAD) & (tokens != vocabulary.START)
    num_bases = is_base.sum(axis=1)
    num_masked = np.minimum(np.maximum(1, np.rint(fraction * num_bases)), num_bases)
    priority = np.where(is_base, _priority(asv_row, seed, step, tokens.shape[1], span), _NEVER)
    is_masked = is_base & _are_smallest(priority, num_masked.astype(np.int64))
    masked = np.argwhere(is_masked).astype(np.int64)
    return masked, tokens[is_masked].astype(np.int64)


def _are_smallest(values: npt.NDArray[np.uint64], number: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark so many smallest values of each row; among equal ones the first."""
    last = np.take_along_axis(np.sort(values, axis=1), np.maximum(number - 1, 0)[:, None], axis=1)
    is_below, is_last = values < last, values == last
    num_left = number - is_below.sum(axis=1)
    return is_below | (is_last & (is_last.cumsum(axis=1) <= num_left[:, None]))


def _priority(
    asv_row: npt.NDArray[np.integer], seed: int, step: int, length: int, span: int
) -> npt.NDArray[np.uint64]:
    """Draw a number for each position of each ASV, shape (U, L); positions of one span share theirs."""
    drawn = hash64(seed, step, values=asv_row)
    offset = drawn % np.uint64(span)
    span_of_position = (np.arange(length, dtype=np.uint64) + offset[:, None]) // np.uint64(span)
    return hash64(values=drawn[:, None] ^ hash64(values=span_of_position))
