"""True distances of samples, computed from their shards: exact for any pair, without an N x N matrix.

Every distance takes the whole sample, including the ASVs that the token limit dropped. This module does not
import torch.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import shorten
from aam_schemas.shards import DISTANCES_FILE
from aammodel.distances import formulas
from aammodel.distances.formulas import Formula
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array, Sample, no_values


@dataclass(frozen=True, kw_only=True)
class MetricInputs:
    """Data of a shard set, beside its samples, from which distances are computed."""

    branch_length: Float64Array = field(default_factory=no_values)
    """Length of each branch of the tree. Empty without a tree."""
    num_asvs: int = 0
    """Number of ASVs of the set, including those that the token limit drops."""
    open_matrix: Callable[[], npt.NDArray[np.floating]] | None = None
    """Returns the precomputed distances, memory-mapped. None if the set has none."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A distance that a model can learn.

    Examples
    --------
    >>> import numpy as np
    >>> from aammodel.sample import Sample
    >>> a = Sample("a", np.array([0, 1], np.uint32), np.array([3.0, 1.0]))
    >>> b = Sample("b", np.array([1, 2], np.uint32), np.array([2.0, 2.0]))
    >>> METRICS["braycurtis"].between([a], [b], MetricInputs(num_asvs=3)).tolist()
    [[0.75]]
    """

    words: str
    """Name for people."""
    over: Literal["branches", "asvs", "matrix"]
    """Its input. `branches` needs shards with a tree, `matrix` a precomputed matrix."""
    formula: Formula | None
    """Formula. None if the distance is looked up in the matrix."""
    by_presence: bool = False
    """Whether it depends on presence only, not on abundance."""
    largest: float = 1.0
    """Upper bound: 1, or infinity."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a sample that it needs, beside `asv` and `count`."""
        presence, abundance = {
            "branches": (("branch",), ("branch_count",)),
            "asvs": (("dropped_asv",), ("dropped_count",)),
            "matrix": ((), ()),
        }[self.over]
        return presence if self.by_presence else presence + abundance

    def is_available(self, inputs: MetricInputs) -> bool:
        """Return whether it can be computed for a shard set."""
        has = {
            "branches": len(inputs.branch_length) > 0,
            "asvs": True,
            "matrix": inputs.open_matrix is not None,
        }
        return has[self.over]

    def can_compare(self, sample: Sample, inputs: MetricInputs) -> bool:
        """Return whether a sample has a distance: reads in the tree, or a row in the matrix."""
        if self.over == "matrix" and inputs.open_matrix is not None:
            return not np.isnan(inputs.open_matrix()[sample.position, sample.position])
        return self.over == "asvs" or len(sample.branch) > 0

    def between(
        self,
        a: Sequence[Sample],
        b: Sequence[Sample],
        inputs: MetricInputs,
        arithmetic: Arithmetic = Arithmetic(),  # noqa: B008
    ) -> Float64Array:
        """Return the distance between each sample of `a` and each of `b`.

        Parameters
        ----------
        a, b : sequences of Sample
            For all pairs of the same samples, pass the same object twice: then each pair is computed once.
        inputs : MetricInputs
        arithmetic : Arithmetic

        Returns
        -------
        ndarray of float64, shape (A, B)
            NaN if the distance is not available, or a sample has nothing to compare: none of its reads are in
            the tree.
        """
        if not self.is_available(inputs):
            return np.full((len(a), len(b)), np.nan)
        if self.formula is None:
            return _looked_up(a, b, inputs)
        weight = inputs.branch_length if self.over == "branches" else np.ones(inputs.num_asvs)
        rows_a = self._rows(a)
        rows_b = rows_a if a is b else self._rows(b)
        distance = self.formula(rows_a, rows_b, weight, arithmetic)
        distance[[not len(column) for column in rows_a.column], :] = np.nan
        distance[:, [not len(column) for column in rows_b.column]] = np.nan
        if a is b:
            np.fill_diagonal(distance, np.where(np.isnan(distance.diagonal()), np.nan, 0.0))
        return distance

    def _rows(self, samples: Sequence[Sample]) -> Rows:
        if self.over == "branches":
            columns = [sample.branch for sample in samples]
        else:
            columns = [np.concatenate([sample.asv, sample.dropped_asv]) for sample in samples]
        if self.by_presence:
            return Rows(columns, [np.ones(len(column)) for column in columns])
        if self.over == "branches":
            return Rows(columns, [_read_fractions(sample) for sample in samples])
        return Rows(columns, [np.concatenate([sample.count, sample.dropped_count]) for sample in samples])


def _looked_up(a: Sequence[Sample], b: Sequence[Sample], inputs: MetricInputs) -> Float64Array:
    """Read only these pairs from the matrix."""
    assert inputs.open_matrix is not None
    rows, columns = ([sample.position for sample in samples] for samples in (a, b))
    distance = np.asarray(inputs.open_matrix())[np.ix_(rows, columns)].astype(np.float64)
    is_bad = (distance < 0) | (distance > np.finfo(np.float32).max)
    if a is b:
        is_bad |= (distance != distance.T) & ~(np.isnan(distance) & np.isnan(distance.T))
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise InvalidDataError(
            f"the distance {distance[row, column]:g} of the samples {shorten(a[row].sample_id, 80)} and "
            f"{shorten(b[column].sample_id, 80)} is negative, beyond float32, or not that of the reverse",
            DISTANCES_FILE,
            "correct the matrix, then make the shards again with `aamprep shard --distances`",
        )
    return distance


def _read_fractions(sample: Sample) -> Float64Array:
    """Return the fraction of the sample's reads in the tree that is below each branch."""
    # All reads in the tree are below the root, so the root has the largest count.
    return sample.branch_count / (sample.branch_count.max(initial=0.0) or 1.0)


METRICS = {
    "unweighted_unifrac": Metric(
        words="unweighted UniFrac", over="branches", formula=formulas.jaccard, by_presence=True
    ),
    "weighted_unifrac": Metric(
        words="weighted UniFrac", over="branches", formula=formulas.manhattan, largest=math.inf
    ),
    "weighted_normalized_unifrac": Metric(
        words="normalized weighted UniFrac", over="branches", formula=formulas.bray_curtis
    ),
    "generalized_unifrac": Metric(
        words="generalized UniFrac (alpha 0.5)", over="branches", formula=formulas.generalized
    ),
    "jaccard": Metric(words="Jaccard", over="asvs", formula=formulas.jaccard, by_presence=True),
    "braycurtis": Metric(words="Bray-Curtis", over="asvs", formula=formulas.bray_curtis),
    "aitchison": Metric(words="Aitchison", over="asvs", formula=formulas.aitchison, largest=math.inf),
    "precomputed": Metric(
        words="the matrix that was given", over="matrix", formula=None, by_presence=True, largest=math.inf
    ),
}
"""All distances, by their names in QIIME 2 and scikit-bio."""


def available_metrics(inputs: MetricInputs) -> list[str]:
    """Return the names of the distances that can be computed for a shard set."""
    return [name for name, metric in METRICS.items() if metric.is_available(inputs)]


def columns_needed(names: Iterable[str], inputs: MetricInputs) -> tuple[str, ...]:
    """Return the columns of samples that some distances need, beside `asv` and `count`.

    Parameters
    ----------
    names : iterable of str
        Distances, by their names in `METRICS`. Those that are not available need no column.
    inputs : MetricInputs
    """
    metrics = [METRICS[name] for name in names]
    found = (metric.columns for metric in metrics if metric.is_available(inputs))
    return tuple(dict.fromkeys(chain.from_iterable(found)))


def pairwise_distances(
    names: Sequence[str], a: Sequence[Sample], b: Sequence[Sample], inputs: MetricInputs
) -> Float64Array:
    """Return the distances between each sample of `a` and each of `b` by several metrics.

    Parameters
    ----------
    names : sequence of str, T of them
        Distances, by their names in `METRICS`.
    a, b : sequences of Sample
        For all pairs of the same samples, pass the same object twice: then each pair is computed once.
    inputs : MetricInputs

    Returns
    -------
    ndarray of float64, shape (T, A, B)
        NaN as in `Metric.between`.
    """
    if not names:
        return np.zeros((0, len(a), len(b)))
    return np.stack([METRICS[name].between(a, b, inputs) for name in names])


def faith_pd(samples: Sequence[Sample], inputs: MetricInputs) -> Float64Array:
    """Return Faith's phylogenetic diversity (1992): the total length of the branches that a sample covers.

    Returns
    -------
    ndarray of float64, shape (samples,)
        In units of branch length. 0 for a sample without reads in the tree.
    """
    return np.array([inputs.branch_length[sample.branch].sum() for sample in samples])
