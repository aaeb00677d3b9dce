"""Distances of samples as formulas of sparse rows: what a sample has in each column, and weights of columns.

Over branches with their lengths as weights these are the UniFrac family, over ASVs their namesakes without a
tree. Each takes rows `a` and `b` (the same object twice for all pairs of some samples), weights of shape
(columns,), and where to compute; and gives float64 of shape (A, B), whose diagonal has no meaning where `a`
is `b`. Free of torch.
"""

from collections.abc import Callable

import numpy as np

from aammodel.distances import sparse as pairs
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array

Formula = Callable[[Rows, Rows, Float64Array, Arithmetic], Float64Array]

PSEUDOCOUNT = 1.0
"""What Aitchison adds to every count, so that absent ASVs have a logarithm."""


def jaccard(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Compute the share of what two samples have together that only one of them has.

    Values are 1. Over branches: unweighted UniFrac (Lozupone and Knight 2005).
    """
    shared = pairs.sum_products(a, b, weight, arithmetic)
    either = _sums(a, weight)[:, None] + _sums(b, weight) - shared
    return _ratio(either - shared, either)


def manhattan(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Sum how far two samples differ in each column.

    Over shares of reads under branches: weighted UniFrac (Lozupone et al. 2007).
    """
    both = _sums(a, weight)[:, None] + _sums(b, weight)
    [shared] = pairs.sum_pairs(pairs.minima, a, b, weight, arithmetic)
    return (both - 2 * shared).clip(0.0)


def bray_curtis(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Sum how far two samples differ in each column, of the most that they could.

    Over shares of reads under branches: normalised weighted UniFrac (Lozupone et al. 2007).
    """
    most = _sums(a, weight)[:, None] + _sums(b, weight)
    return _ratio(manhattan(a, b, weight, arithmetic), most)


def generalized(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Compute generalised UniFrac with alpha 0.5 (Chen et al. 2012).

    `sum b sqrt(p + q) |p - q| / (p + q) / sum b sqrt(p + q)` over branches of length b under which one of the
    samples has reads; p and q are its shares.
    """
    # In a column that one sample alone has, both sums have the root of its share.
    alone_weight = np.where(pairs.in_both(a, b, len(weight)), 0.0, weight)
    alone = _sums(_roots(a), alone_weight)[:, None] + _sums(_roots(b), alone_weight)
    apart, together = alone + pairs.sum_pairs(pairs.differences_by_root, a, b, weight, arithmetic)
    return _ratio(apart, together)


def aitchison(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Compute the Euclidean distance of centred log-ratios (Aitchison 1982), a pseudocount of 1 added first.

    Dense over the columns in which a sample has reads; in all others two samples differ by what their means
    do.
    """
    logs_a = _logs(a)
    logs_b = logs_a if a is b else _logs(b)
    column = np.unique(np.concatenate([*logs_a.column, *logs_b.column]))
    x = _centred(logs_a, column, len(weight))
    y = x if a is b else _centred(logs_b, column, len(weight))
    apart = _means(logs_a, len(weight))[:, None] - _means(logs_b, len(weight))
    outside = (len(weight) - len(column)) * apart**2
    return np.sqrt(pairs.sum_squares(x, y, arithmetic) + outside)


def _sums(rows: Rows, weight: Float64Array) -> Float64Array:
    each = zip(rows.column, rows.value, strict=True)
    return np.array([float(weight[column] @ value) for column, value in each])


def _roots(rows: Rows) -> Rows:
    return Rows(rows.column, [np.sqrt(one) for one in rows.value])


def _logs(rows: Rows) -> Rows:
    return Rows(rows.column, [np.log1p(one / PSEUDOCOUNT) for one in rows.value])


def _means(rows: Rows, num_columns: int) -> Float64Array:
    return np.array([one.sum() / num_columns for one in rows.value])


def _centred(rows: Rows, column: np.ndarray, num_columns: int) -> Float64Array:
    return pairs.dense(rows, column, num_columns) - _means(rows, num_columns)[:, None]


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide; two samples that have nothing of any weight are not apart."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)
