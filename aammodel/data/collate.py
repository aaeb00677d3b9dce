"""Samples side by side as slots that point at the distinct ASVs of all of them. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aammodel.sample import Sample


@dataclass(frozen=True)
class Slots:
    """Samples as rows of slots; B samples, S slots, U distinct ASVs."""

    asv_row: npt.NDArray[np.int64]
    """Rows in asvs.parquet of the distinct ASVs, ascending, shape (U,)."""
    slot: npt.NDArray[np.int64]
    """Position in `asv_row` of the ASV in each slot, shape (B, S); 0 where there is none."""
    count: npt.NDArray[np.float32]
    """Reads of the ASV in each slot, shape (B, S); 0 where there is none."""
    is_real: npt.NDArray[np.bool_]
    """True where a slot holds an ASV, shape (B, S)."""


def arrange_slots(samples: Sequence[Sample], token_limit: int, num_asvs: int) -> Slots:
    """Lay samples out, each cut to the first ASVs of its selection.

    Parameters
    ----------
    samples : sequence of Sample
    token_limit : int
        Most ASVs of a sample.
    num_asvs : int
        ASVs that there are: rows are below it.
    """
    asvs = np.concatenate([sample.asv[:token_limit] for sample in samples], dtype=np.intp)
    counts = [sample.count[:token_limit] for sample in samples]
    sizes = np.array([len(one) for one in counts])
    distinct, position = unique_values(asvs, num_asvs)
    is_real = np.arange(sizes.max()) < sizes[:, None]
    slot, count = np.zeros(is_real.shape, dtype=np.int64), np.zeros(is_real.shape, dtype=np.float32)
    slot[is_real], count[is_real] = position, np.concatenate(counts)
    return Slots(distinct, slot, count, is_real)


_FLAGS_PER_VALUE = 2
"""With more possible values than so many for each that is there, sorting the latter is faster than flags."""


def unique_values(
    values: npt.NDArray[np.int64], num_possible: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Find the distinct values.

    Parameters
    ----------
    values : ndarray of int64, shape (N,)
        From 0 to `num_possible` - 1.
    num_possible : int
        Below 2**31.

    Returns
    -------
    distinct : ndarray of int64, shape (U,)
        In ascending order.
    place : ndarray of int32, shape (N,)
        Of each value in `distinct`.

    Raises
    ------
    IndexError
        If a value is not possible.
    """
    # Not filled: only what is there is written, and read.
    place = np.empty(num_possible, dtype=np.int32)
    if num_possible <= _FLAGS_PER_VALUE * len(values):
        is_there = np.zeros(num_possible, dtype=np.bool_)
        is_there[values] = True
        distinct = np.flatnonzero(is_there)
    else:
        # Half as wide, they sort in half the time.
        ordered = np.sort(values.astype(np.uint32))
        is_first = np.ones(len(values), dtype=np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        distinct = ordered[is_first].astype(np.int64)
    place[distinct] = np.arange(len(distinct), dtype=np.int32)
    return distinct, place[values]
