"""Formulas of distances between sparse rows: the values of a sample in each column, and weights of columns.

With branches as columns and their lengths as weights, these are the UniFrac family. With ASVs as columns and
weights of 1, they are the distances without a tree. Each formula takes rows `a` and `b` (the same object
twice for all pairs of the same samples), weights of shape (columns,), and where to compute. Each returns
float64 of shape (A, B). If `a` is `b`, the diagonal has no meaning. This module does not import torch.
"""

from collections.abc import Callable

import numpy as np

from aammodel.distances import sparse as pairs
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array

Formula = Callable[[Rows, Rows, Float64Array, Arithmetic], Float64Array]

PSEUDOCOUNT = 1.0
"""Added to every count by Aitchison's distance, so that absent ASVs have a logarithm."""


def jaccard(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the fraction of the weight covered by two samples that only one of them covers.

    All values must be 1. Over branches: unweighted UniFrac (Lozupone and Knight 2005).
    """
    shared = pairs.sum_products(a, b, weight, arithmetic)
    either = _sums(a, weight)[:, None] + _sums(b, weight) - shared
    return _ratio(either - shared, either)


def manhattan(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the weighted sum of the absolute differences of two samples.

    Over fractions of reads below branches: weighted UniFrac (Lozupone et al. 2007).
    """
    both = _sums(a, weight)[:, None] + _sums(b, weight)
    [shared] = pairs.sum_pairs(pairs.minima, a, b, weight, arithmetic)
    return (both - 2 * shared).clip(0.0)


def bray_curtis(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the weighted sum of the absolute differences, divided by the weighted sum of both samples.

    Over fractions of reads below branches: normalized weighted UniFrac (Lozupone et al. 2007).
    """
    most = _sums(a, weight)[:, None] + _sums(b, weight)
    return _ratio(manhattan(a, b, weight, arithmetic), most)


def generalized(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return generalized UniFrac with alpha 0.5 (Chen et al. 2012).

    It is `sum b sqrt(p + q) |p - q| / (p + q) / sum b sqrt(p + q)` over the branches below which at least one
    sample has reads. b is the length of a branch, and p and q are the fractions of reads below it.
    """
    # In a column that only one sample covers, the term of both sums is the root of its fraction.
    alone_weight = np.where(pairs.in_both(a, b, len(weight)), 0.0, weight)
    alone = _sums(_roots(a), alone_weight)[:, None] + _sums(_roots(b), alone_weight)
    apart, together = alone + pairs.sum_pairs(pairs.differences_by_root, a, b, weight, arithmetic)
    return _ratio(apart, together)


def aitchison(a: Rows, b: Rows, weight: Float64Array, arithmetic: Arithmetic) -> Float64Array:
    """Return the Euclidean distance of centered log-ratios (Aitchison 1982), with a pseudocount of 1.

    Only columns in which a sample has reads are computed. In every other column, the difference of two
    samples is the difference of their means.
    """
    logs_a = _logs(a)
    logs_b = logs_a if a is b else _logs(b)
    column = np.unique(np.concatenate([*logs_a.column, *logs_b.column]))
    x = _centered(logs_a, column, len(weight))
    y = x if a is b else _centered(logs_b, column, len(weight))
    apart = _means(logs_a, len(weight))[:, None] - _means(logs_b, len(weight))
    outside = (len(weight) - len(column)) * apart**2
    return np.sqrt(pairs.sum_squares(x, y, arithmetic) + outside)


def _sums(rows: Rows, weight: Float64Array) -> Float64Array:
    each = zip(rows.column, rows.value, strict=True)
    return np.array([float(weight[column] @ value) for column, value in each])


def _roots(rows: Rows) -> Rows:
    return Rows(rows.column, [np.sqrt(values) for values in rows.value])


def _logs(rows: Rows) -> Rows:
    return Rows(rows.column, [np.log1p(values / PSEUDOCOUNT) for values in rows.value])


def _means(rows: Rows, num_columns: int) -> Float64Array:
    return np.array([values.sum() / num_columns for values in rows.value])


def _centered(rows: Rows, column: np.ndarray, num_columns: int) -> Float64Array:
    return pairs.dense(rows, column, num_columns) - _means(rows, num_columns)[:, None]


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide, with a distance of 0 for two samples that cover no weight."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)
