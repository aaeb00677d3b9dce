"""Sum over columns (branches or ASVs) for all pairs of samples, only where both samples have reads.

A column that only one sample covers adds to each pair the same term, which comes from that sample's own sum.
So most columns of a real table drop out. The others are computed as dense slices. Kernels use only functions
that numpy and torch share, so they run on arrays of both. Torch is imported only to compute on a device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aammodel.sample import Float64Array

Array = Any
"""A numpy array or a torch tensor."""
Kernel = Callable[[Array, Array], tuple[Array, ...]]
"""Takes one row (C,) and other rows (B, C). Returns one or several terms of each pair and column, (B, C)."""

_CELLS = 1 << 24
"""Largest number of values of a dense slice: 128 MB in float64."""
_CELLS_IN_CACHE = 1 << 17
"""Number of values that a kernel takes at once: 1 MB in float64, which fits into a processor's cache."""
_TINY = 1e-30
"""Smallest divisor, to avoid a division by zero."""


@dataclass(frozen=True)
class Rows:
    """Samples as sparse rows."""

    column: Sequence[npt.NDArray[np.integer]]
    """Columns of each sample, each at most once."""
    value: Sequence[Float64Array]
    """Values of each sample in these columns, above 0."""


@dataclass(frozen=True)
class Arithmetic:
    """Device and precision in which dense slices are computed."""

    dtype: type = np.float64
    device: str | None = None
    """A torch device. None computes with numpy."""

    def array(self, values: npt.NDArray[Any]) -> Array:
        """Return an array on the device, in this precision."""
        return self._to_device(values.astype(self.dtype, copy=False))

    def weights(self, values: Float64Array) -> Array:
        """Return weights on the device, in float64, since sums over columns are in float64."""
        return self._to_device(values)

    def _to_device(self, values: npt.NDArray[Any]) -> Array:
        if self.device is None:
            return values
        import torch

        return torch.from_numpy(values).to(self.device)


def products(x: Array, y: Array, weight: Array) -> Array:
    """Return the sum of weighted products of all pairs of rows: (A, C), (B, C), (C,) to (A, B)."""
    return (x * _like(weight, x)) @ y.T


def minima(row: Array, others: Array) -> tuple[Array]:
    """Return the smaller of two values."""
    return (_library(row).minimum(row, others),)


def squares(row: Array, others: Array) -> tuple[Array]:
    """Return the squared difference."""
    return ((others - row) ** 2,)


def differences_by_root(row: Array, others: Array) -> tuple[Array, Array]:
    """Return `|p - q| / sqrt(p + q)`, which is 0 where both are 0, and `sqrt(p + q)`."""
    root = (row + others) ** 0.5
    return abs(row - others) / root.clip(_TINY), root


def sum_products(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the sum over all columns of the weighted products of all pairs, shape (A, B)."""
    return _over_slices(products, a, b, weight, arithmetic)


def sum_pairs(kernel: Kernel, a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the weighted sums of a kernel over the columns that a sample of `a` and one of `b` share.

    Returns
    -------
    ndarray of float64, shape (terms of the kernel, A, B)
    """
    return _over_slices(_each_pair(kernel, a is b), a, b, weight, arithmetic)


def sum_squares(x: Float64Array, y: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the sums of squared differences of all pairs of dense rows, (A, C) and (B, C) to (A, B)."""
    here = arithmetic.array(x)
    there = here if x is y else arithmetic.array(y)
    return _numpy(_each_pair(squares, x is y)(here, there, arithmetic.weights(np.ones(x.shape[1]))))[0]


def in_both(a: Rows, b: Rows, num_columns: int) -> npt.NDArray[np.bool_]:
    """Return whether a sample of `a` and one of `b` share each column, shape (columns,)."""
    in_a = np.bincount(np.concatenate(a.column), minlength=num_columns)
    if a is b:
        return in_a > 1
    return (in_a > 0) & (np.bincount(np.concatenate(b.column), minlength=num_columns) > 0)


def dense(rows: Rows, chosen: npt.NDArray[np.integer], num_columns: int) -> Float64Array:
    """Return some columns of every row, shape (rows, chosen), with 0 where a row has no value."""
    index = np.full(num_columns, -1)
    index[chosen] = np.arange(len(chosen))
    column = index[np.concatenate(rows.column)]
    row = np.repeat(np.arange(len(rows.column)), [len(columns) for columns in rows.column])
    is_chosen = column >= 0
    values = np.zeros((len(rows.column), len(chosen)))
    values[row[is_chosen], column[is_chosen]] = np.concatenate(rows.value)[is_chosen]
    return values


def _over_slices(
    each: Callable[[Array, Array, Array], Array],
    a: Rows,
    b: Rows,
    weight: Float64Array,
    arithmetic: Arithmetic,
) -> Float64Array:
    columns = np.flatnonzero(in_both(a, b, len(weight)))
    size = max(_CELLS // (len(a.column) + len(b.column)), 256)
    total = np.zeros((len(a.column), len(b.column)))
    # At least once, even if no column is shared, for the shape of the result.
    for start in range(0, max(len(columns), 1), size):
        chosen = columns[start : start + size]
        x = arithmetic.array(dense(a, chosen, len(weight)))
        y = x if a is b else arithmetic.array(dense(b, chosen, len(weight)))
        total = total + _numpy(each(x, y, arithmetic.weights(weight[chosen])))
    return total


def _each_pair(kernel: Kernel, is_same: bool) -> Callable[[Array, Array, Array], Array]:
    """Return a function that runs a kernel row by row. Of the same samples, it computes each pair once."""

    def each(x: Array, y: Array, weight: Array) -> Array:
        nothing = _like(x[:, :0] @ y[:, :0].T, weight)
        total = _library(x).stack([nothing for _ in kernel(weight[:0], y[:, :0])])
        for part in _slices_in_cache(y):
            for i in range(len(x)):
                first = i + 1 if is_same else 0
                for number, terms in enumerate(kernel(x[i, part], y[first:, part])):
                    total[number, i, first:] += _like(terms, weight) @ weight[part]
        return total + total.swapaxes(1, 2) if is_same else total

    return each


def _slices_in_cache(y: Array) -> list[slice]:
    size = max(_CELLS_IN_CACHE // len(y), 64)
    return [slice(start, start + size) for start in range(0, y.shape[1], size)]


def _like(array: Array, other: Array) -> Array:
    """Return an array in the precision of another one."""
    return array.astype(other.dtype, copy=False) if isinstance(array, np.ndarray) else array.to(other.dtype)


def _library(array: Array) -> Any:
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _numpy(array: Array) -> Float64Array:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()
