"""SplitMix64: one-to-one maps of 64 bits in which every bit of the result depends on every bit of the input.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. The results are
the same on every machine and for every version of numpy.
"""

import numpy as np
import numpy.typing as npt

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 0xFFFFFFFFFFFFFFFF


def splitmix64_in_place(values: npt.NDArray[np.uint64]) -> None:
    """Map every value, in place."""
    values += np.uint64(_GOLDEN)
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(_MULTIPLIERS[0])
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(_MULTIPLIERS[1])
    values ^= np.right_shift(values, np.uint64(31), out=shifted)


def splitmix64(value: int) -> int:
    """Map one number from 0 to 2**64 - 1, without the cost of an array."""
    value = (value + _GOLDEN) & _WORD
    value = (value ^ value >> 30) * _MULTIPLIERS[0] & _WORD
    value = (value ^ value >> 27) * _MULTIPLIERS[1] & _WORD
    return value ^ value >> 31
