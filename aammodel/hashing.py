"""Numbers that look drawn, yet are a pure function of what they are drawn for.

A hash needs no state, so that masks and the order of samples are the same in every worker, on every rank and
after every resume. The mixing function is the one of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np
import numpy.typing as npt

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 0xFFFFFFFFFFFFFFFF


def hash64(*key: int, values: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """Hash every value under a key.

    Parameters
    ----------
    key : int
        What the hash depends on besides the value, such as a seed and a step; taken modulo 2**64.
    values : ndarray of any integer type, any shape

    Returns
    -------
    ndarray of uint64, the same shape
        Evenly spread over all 64 bits; the same on every machine and for every version of numpy.
    """
    state = np.zeros(1, dtype=np.uint64)
    for part in key:
        state = _mix(state ^ _mix(np.array([part & _WORD], dtype=np.uint64)))
    return _mix(state ^ _mix(values.astype(np.uint64)))


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Take one step of SplitMix64: a one-to-one map of 64 bits in which each bit depends on all."""
    mixed = values + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MULTIPLIERS[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLIERS[1])
    return mixed ^ (mixed >> np.uint64(31))
