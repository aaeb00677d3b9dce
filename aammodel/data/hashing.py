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
    state = 0
    for part in key:
        state = _mix_one(state ^ _mix_one(part & _WORD))
    mixed = values.astype(np.uint64)
    _mix(mixed)
    mixed ^= np.uint64(state)
    _mix(mixed)
    return mixed


def _mix(values: npt.NDArray[np.uint64]) -> None:
    """Take one step of SplitMix64 in place: a one-to-one map of 64 bits in which each bit depends on all."""
    values += np.uint64(_GOLDEN)
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(_MULTIPLIERS[0])
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(_MULTIPLIERS[1])
    values ^= np.right_shift(values, np.uint64(31), out=shifted)


def _mix_one(value: int) -> int:
    """Take the same step for one number, without the cost of an array."""
    value = (value + _GOLDEN) & _WORD
    value = (value ^ value >> 30) * _MULTIPLIERS[0] & _WORD
    value = (value ^ value >> 27) * _MULTIPLIERS[1] & _WORD
    return value ^ value >> 31
