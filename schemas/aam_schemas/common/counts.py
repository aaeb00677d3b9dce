"""Whole numbers among counts: arithmetic leaves 14.000000000000002 in place of 14."""

import numpy as np
import numpy.typing as npt

ROUNDING = 1e-9
"""Largest relative difference from a whole number that is taken for rounding."""

_LARGEST = 0.01
"""Largest difference in reads: 3e9 + 0.5 is not whole."""

Float64Array = npt.NDArray[np.float64]


def rounded_counts(counts: Float64Array) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return the nearest whole numbers, and which counts are whole up to rounding.

    Parameters
    ----------
    counts : ndarray of float64, shape (entries,)
        NaN and infinite counts are not whole.

    Returns
    -------
    whole : ndarray of float64, shape (entries,)
    is_whole : ndarray of bool, shape (entries,)
    """
    whole = np.rint(counts)
    with np.errstate(invalid="ignore"):
        return whole, np.abs(counts - whole) <= np.minimum(ROUNDING * np.abs(whole), _LARGEST)
