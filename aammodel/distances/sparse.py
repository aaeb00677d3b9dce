"""Sums over columns (branches or ASVs) for all pairs of samples, only where both samples have reads.

A column that one sample alone has says nothing about any pair but by that sample's own sum: most columns of a
real table drop out. The rest are dense, a slice at a time. Kernels use what numpy and torch have in common,
so that they run on whatever holds their arrays. Free of torch.
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
"""From one row (C,) and other rows (B, C) to one thing or several of each pair in each column (B, C)."""

_CELLS = 1 << 24
"""Numbers of a dense slice: 128 MB in float64."""
_CELLS_IN_CACHE = 1 << 17
_TINY = 1e-30


@dataclass(frozen=True)
class Rows:
    """Samples as sparse rows."""

    column: Sequence[npt.NDArray[np.integer]]
    """Columns of each sample, none twice."""
    value: Sequence[Float64Array]
    """What the sample has in each, above 0."""


@dataclass(frozen=True)
class Arithmetic:
    """Where dense slices are computed, and in which precision."""

    dtype: type = np.float64
    device: str | None = None
    """A device of torch; None for numpy."""

    def array(self, values: npt.NDArray[Any]) -> Array:
        """Bring an array to where it is computed."""
        return self._there(values.astype(self.dtype, copy=False))

    def weights(self, values: Float64Array) -> Array:
        """Bring weights there, always in float64: sums over columns are."""
        return self._there(values)

    def _there(self, values: npt.NDArray[Any]) -> Array:
        if self.device is None:
            return values
        import torch

        return torch.from_numpy(values).to(self.device)


def products(x: Array, y: Array, weight: Array) -> Array:
    """Sum the weighted products of all pairs of rows: (A, C), (B, C), (C,) to (A, B)."""
    return (x * _like(weight, x)) @ y.T


def minima(row: Array, others: Array) -> tuple[Array]:
    """Give the lesser of two values."""
    return (_library(row).minimum(row, others),)


def squares(row: Array, others: Array) -> tuple[Array]:
    """Give the squared difference."""
    return ((others - row) ** 2,)


def differences_by_root(row: Array, others: Array) -> tuple[Array, Array]:
    """Give `|p - q| / sqrt(p + q)`, 0 where both are, and `sqrt(p + q)`."""
    root = (row + others) ** 0.5
    return abs(row - others) / root.clip(_TINY), root


def sum_products(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Sum over all columns the weighted product of all pairs, shape (A, B)."""
    return _over_slices(products, a, b, weight, arithmetic)


def sum_pairs(kernel: Kernel, a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Sum a kernel, by weight, over the columns that some sample of `a` and one of `b` share.

    Returns
    -------
    ndarray of float64, shape (things that the kernel gives, A, B)
    """
    return _over_slices(_each_pair(kernel, a is b), a, b, weight, arithmetic)


def sum_squares(x: Float64Array, y: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Sum the squared differences of all pairs of dense rows, (A, C) and (B, C) to (A, B)."""
    here = arithmetic.array(x)
    there = here if x is y else arithmetic.array(y)
    return _numpy(_each_pair(squares, x is y)(here, there, arithmetic.weights(np.ones(x.shape[1]))))[0]


def in_both(a: Rows, b: Rows, num_columns: int) -> npt.NDArray[np.bool_]:
    """Tell which columns two samples share, one of `a` and one of `b`."""
    in_a = np.bincount(np.concatenate(a.column), minlength=num_columns)
    if a is b:
        return in_a > 1
    return (in_a > 0) & (np.bincount(np.concatenate(b.column), minlength=num_columns) > 0)


def dense(rows: Rows, chosen: npt.NDArray[np.integer], num_columns: int) -> Float64Array:
    """Give some columns of every row, shape (rows, chosen), zero where a row has nothing."""
    place = np.full(num_columns, -1)
    place[chosen] = np.arange(len(chosen))
    column = place[np.concatenate(rows.column)]
    row = np.repeat(np.arange(len(rows.column)), [len(one) for one in rows.column])
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
    # Once even where no column is shared, for the shape of what comes out.
    for start in range(0, max(len(columns), 1), size):
        chosen = columns[start : start + size]
        x = arithmetic.array(dense(a, chosen, len(weight)))
        y = x if a is b else arithmetic.array(dense(b, chosen, len(weight)))
        total = total + _numpy(each(x, y, arithmetic.weights(weight[chosen])))
    return total


def _each_pair(kernel: Kernel, is_same: bool) -> Callable[[Array, Array, Array], Array]:
    """Run a kernel row by row; of the same samples, each pair once, and none with itself."""

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
    """Give an array in the precision of another one."""
    return array.astype(other.dtype, copy=False) if isinstance(array, np.ndarray) else array.to(other.dtype)


def _library(array: Array) -> Any:
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _numpy(array: Array) -> Float64Array:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()
