"""Numbers that look drawn, yet are a pure function of what they are drawn for.

A hash needs no state, so that masks and the order of samples are the same in every worker, on every rank and
after every resume. The mixing function is the one of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

import numpy as np
import numpy.typing as npt

from aam_schemas.common.hashing import splitmix64, splitmix64_in_place

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
        state = splitmix64(state ^ splitmix64(part & _WORD))
    mixed = values.astype(np.uint64)
    splitmix64_in_place(mixed)
    mixed ^= np.uint64(state)
    splitmix64_in_place(mixed)
    return mixed
