"""Draw which ASVs the model encodes by the transformer over bases, and which of their bases it masks.

Each draw is a pure function of (seed, step, ASV). It does not depend on other ASVs of the batch, the rank or
the worker.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aam_schemas import vocabulary
from aammodel.data.hashing import hash64
from aammodel.sample import Int64Array

_ENCODED = 1
"""Part of the key of the draw of encoded ASVs, so that it is independent of the draw of masked bases."""
_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Priority of positions that hold no base."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """How bases are masked, and how many ASVs are encoded.

    Examples
    --------
    >>> import numpy as np
    >>> from aam_schemas.vocabulary import encode
    >>> tokens = encode(["ACGTACGTAC", "GGGTTTAAAC"], length=11)
    >>> masking = Masking(seed=1, fraction=0.2)
    >>> is_encoded, masked, masked_token = masking.draw(tokens, asv_row=np.array([0, 7]), step=0)
    >>> masked.shape
    (4, 2)
    """

    seed: int = 0
    fraction: float = 0.15
    """Fraction of the bases of each ASV to mask."""
    span: int = 1
    """Number of neighbouring bases that are masked together."""
    asv_encode_fraction: float = 1.0
    """Fraction of the ASVs to encode by the transformer over bases. No base of any other ASV is masked."""

    def draw(
        self, tokens: npt.NDArray[np.uint8], asv_row: Int64Array, step: int
    ) -> tuple[npt.NDArray[np.bool_], Int64Array, Int64Array]:
        """Draw the encoded ASVs and their masked bases at a step.

        Parameters
        ----------
        tokens : ndarray of uint8, shape (U, L)
            Token ids of distinct ASVs: START, bases, padding.
        asv_row : ndarray of int64, shape (U,)
            Row of each ASV in asvs.parquet.
        step : int

        Returns
        -------
        is_encoded : ndarray of bool, shape (U,)
        masked, masked_token
            As `draw_masks` returns them.
        """
        is_encoded = draw_encoded(asv_row, self.seed, step, self.asv_encode_fraction)
        encoded = np.flatnonzero(is_encoded)
        masked, masked_token = draw_masks(
            tokens[encoded], asv_row[encoded], self.seed, step, self.fraction, self.span
        )
        masked[:, 0] = encoded[masked[:, 0]]
        return is_encoded, masked, masked_token


def draw_encoded(
    asv_row: npt.NDArray[np.integer], seed: int, step: int, fraction: float
) -> npt.NDArray[np.bool_]:
    """Draw the ASVs that the transformer over bases encodes at a step.

    This is a kind of stochastic depth (Huang et al. 2016). The model knows the other ASVs by the embedding of
    their bases at each position alone.

    Parameters
    ----------
    asv_row : ndarray of int, shape (U,)
        Row of each ASV in asvs.parquet.
    seed, step : int
        Another seed or step draws other ASVs.
    fraction : float
        Probability of each ASV to be encoded.

    Returns
    -------
    ndarray of bool, shape (U,)
    """
    if fraction >= 1 or fraction <= 0:
        return np.full(len(asv_row), fraction >= 1)
    drawn = hash64(seed, step, _ENCODED, values=asv_row)
    # The upper 53 bits, which float64 represents exactly.
    return (drawn >> np.uint64(11)) < fraction * 2.0**53


def draw_masks(
    tokens: npt.NDArray[np.uint8],
    asv_row: npt.NDArray[np.integer],
    seed: int,
    step: int,
    fraction: float = 0.15,
    span: int = 1,
) -> tuple[Int64Array, Int64Array]:
    """Draw the bases of each ASV to mask.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (U, L)
        Token ids of distinct ASVs: START, bases, padding.
    asv_row : ndarray of int, shape (U,)
        Row of each ASV in asvs.parquet.
    seed, step : int
        Another seed or step masks other bases.
    fraction : float
        Fraction of the bases of an ASV to mask, rounded to whole bases, and at least one base.
    span : int
        Number of neighbouring bases that are masked together. Each ASV is cut into spans from a random
        offset. The last of the spans drawn is shortened where the fraction requires it.

    Returns
    -------
    masked : ndarray of int64, shape (M, 2)
        Row in `tokens` and position of each masked base, in ascending order.
    masked_token : ndarray of int64, shape (M,)
        The token at each of these positions.
    """
    is_base = (tokens != vocabulary.PAD) & (tokens != vocabulary.START)
    num_bases = is_base.sum(axis=1)
    num_masked = np.minimum(np.maximum(1, np.rint(fraction * num_bases)), num_bases)
    priority = np.where(is_base, _priority(asv_row, seed, step, tokens.shape[1], span), _LAST)
    is_masked = is_base & _are_smallest(priority, num_masked.astype(np.int64))
    masked = np.argwhere(is_masked).astype(np.int64)
    return masked, tokens[is_masked].astype(np.int64)


def _are_smallest(values: npt.NDArray[np.uint64], number: Int64Array) -> npt.NDArray[np.bool_]:
    """Return whether each value is among the `number` smallest of its row; the first among equals."""
    last = np.take_along_axis(np.sort(values, axis=1), np.maximum(number - 1, 0)[:, None], axis=1)
    is_below, is_last = values < last, values == last
    num_left = number - is_below.sum(axis=1)
    return is_below | (is_last & (is_last.cumsum(axis=1) <= num_left[:, None]))


def _priority(
    asv_row: npt.NDArray[np.integer], seed: int, step: int, length: int, span: int
) -> npt.NDArray[np.uint64]:
    """Draw a number for each position of each ASV, shape (U, L). Positions of one span share theirs."""
    drawn = hash64(seed, step, values=asv_row)
    offset = drawn % np.uint64(span)
    span_of_position = (np.arange(length, dtype=np.uint64) + offset[:, None]) // np.uint64(span)
    return hash64(values=drawn[:, None] ^ hash64(values=span_of_position))
