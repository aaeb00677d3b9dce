"""True distances of samples, from what their shards hold: exact for any pair, with no N x N matrix.

Every metric sees the whole sample, the ASVs that the token limit dropped included. Free of torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from aammodel.distances import formulas
from aammodel.distances.formulas import Formula
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array, Sample, _no_reads


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What metrics know of a shard set beside its samples."""

    branch_length: Float64Array = field(default_factory=_no_reads)
    """Of each branch of the tree; empty without one."""
    num_asvs: int = 0
    """ASVs of the set, those that the token limit drops included."""
    open_matrix: Callable[[], npt.NDArray[np.floating]] | None = None
    """Gives its precomputed distances, memory-mapped; None where it has none."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A distance that a model can learn."""

    words: str
    """What people call it."""
    over: Literal["branches", "asvs", "matrix"]
    """What it is computed from; the shards must have a tree, nothing more, or a precomputed matrix."""
    formula: Formula | None
    """How; None where it is precomputed."""
    by_presence: bool = False
    """Whether it knows presence alone, and not abundance."""
    largest: float = 1.0
    """The largest that it can be: 1, or infinity."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads of a sample, beside its kept ASVs."""
        presence, abundance = {
            "branches": (("branch",), ("branch_count",)),
            "asvs": (("dropped_asv",), ("dropped_count",)),
            "matrix": ((), ()),
        }[self.over]
        return presence if self.by_presence else presence + abundance

    def is_known(self, facts: Facts) -> bool:
        """Tell whether a shard set has what it needs."""
        has = {
            "branches": len(facts.branch_length) > 0,
            "asvs": True,
            "matrix": facts.open_matrix is not None,
        }
        return has[self.over]

    def between(
        self,
        a: Sequence[Sample],
        b: Sequence[Sample],
        facts: Facts,
        arithmetic: Arithmetic = Arithmetic(),  # noqa: B008
    ) -> Float64Array:
        """Compute the distance of each sample of `a` to each of `b`.

        Parameters
        ----------
        a, b : sequences of Sample
            Give the same object twice for all pairs of some samples: each is computed once then.
        facts : Facts
        arithmetic : Arithmetic

        Returns
        -------
        ndarray of float64, shape (A, B)
            NaN for pairs with a sample that has nothing to compare: no read of it is in the tree.
        """
        if not self.is_known(facts):
            return np.full((len(a), len(b)), np.nan)
        if self.formula is None:
            return _looked_up(a, b, facts)
        weight = facts.branch_length if self.over == "branches" else np.ones(facts.num_asvs)
        rows_a = self._rows(a)
        rows_b = rows_a if a is b else self._rows(b)
        distance = self.formula(rows_a, rows_b, weight, arithmetic)
        distance[[not len(one) for one in rows_a.column], :] = np.nan
        distance[:, [not len(one) for one in rows_b.column]] = np.nan
        if a is b:
            np.fill_diagonal(distance, np.where(np.isnan(distance.diagonal()), np.nan, 0.0))
        return distance

    def _rows(self, samples: Sequence[Sample]) -> Rows:
        if self.over == "branches":
            columns = [one.branch for one in samples]
        else:
            columns = [np.concatenate([one.asv, one.dropped_asv]) for one in samples]
        if self.by_presence:
            return Rows(columns, [np.ones(len(one)) for one in columns])
        if self.over == "branches":
            return Rows(columns, [_shares(one) for one in samples])
        return Rows(columns, [np.concatenate([one.count, one.dropped_count]) for one in samples])


def _looked_up(a: Sequence[Sample], b: Sequence[Sample], facts: Facts) -> Float64Array:
    """Read these pairs, and no more, of the matrix."""
    assert facts.open_matrix is not None
    rows, columns = ([one.position for one in samples] for samples in (a, b))
    return np.asarray(facts.open_matrix())[np.ix_(rows, columns)].astype(np.float64)


def _shares(sample: Sample) -> Float64Array:
    """Give the share of the sample's reads in the tree under each branch; under the root lie all of them."""
    return sample.branch_count / (sample.branch_count.max(initial=0.0) or 1.0)


METRICS = {
    "unweighted_unifrac": Metric(
        words="unweighted UniFrac", over="branches", formula=formulas.jaccard, by_presence=True
    ),
    "weighted_unifrac": Metric(
        words="weighted UniFrac", over="branches", formula=formulas.manhattan, largest=math.inf
    ),
    "weighted_normalized_unifrac": Metric(
        words="normalised weighted UniFrac", over="branches", formula=formulas.bray_curtis
    ),
    "generalized_unifrac": Metric(
        words="generalised UniFrac (alpha 0.5)", over="branches", formula=formulas.generalized
    ),
    "jaccard": Metric(words="Jaccard", over="asvs", formula=formulas.jaccard, by_presence=True),
    "braycurtis": Metric(words="Bray-Curtis", over="asvs", formula=formulas.bray_curtis),
    "aitchison": Metric(words="Aitchison", over="asvs", formula=formulas.aitchison, largest=math.inf),
    "precomputed": Metric(
        words="the matrix that was given", over="matrix", formula=None, by_presence=True, largest=math.inf
    ),
}
"""By the names that QIIME 2 and scikit-bio have for them."""


def faith_pd(samples: Sequence[Sample], facts: Facts) -> Float64Array:
    """Compute Faith's phylogenetic diversity (1992): the length of all branches that a sample covers.

    Returns
    -------
    ndarray of float64, shape (samples,)
        In units of branch length; 0 for a sample none of whose reads is in the tree.
    """
    return np.array([facts.branch_length[one.branch].sum() for one in samples])
