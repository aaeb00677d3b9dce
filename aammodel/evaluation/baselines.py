"""Distances that need no learning, to hold a model against. Free of torch."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from aam_schemas import vocabulary
from aammodel.distances import formulas
from aammodel.distances.metrics import METRICS, MetricInputs
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array, Sample

K = 6
"""Bases of a k-mer."""
COLUMNS = ("dropped_asv", "dropped_count")
"""Columns of samples that the baselines need, beside `asv` and `count`."""

Baseline = Callable[[Sequence[Sample], npt.NDArray[np.uint8]], Float64Array]


def kmer_presence(samples: Sequence[Sample], tokens: npt.NDArray[np.uint8]) -> Float64Array:
    """Compute the Jaccard distance of the 6-mers that occur in the ASVs of samples, shape (B, B).

    Parameters
    ----------
    samples : sequence of Sample
    tokens : ndarray of uint8, shape (kept ASVs, L)
        Token ids of the ASVs, START first.
    """
    asvs = np.unique(np.concatenate([one.asv for one in samples]))
    has = _kmers(tokens[asvs])
    columns = [np.flatnonzero(has[np.searchsorted(asvs, one.asv)].any(axis=0)) for one in samples]
    rows = Rows(columns, [np.ones(len(one)) for one in columns])
    return formulas.jaccard(rows, rows, np.ones(4**K), Arithmetic())


def _by_metric(name: str) -> Baseline:
    def compute(samples: Sequence[Sample], tokens: npt.NDArray[np.uint8]) -> Float64Array:
        num_asvs = 1 + max(int(one.max(initial=0)) for s in samples for one in (s.asv, s.dropped_asv))
        return METRICS[name].between(samples, samples, MetricInputs(num_asvs=num_asvs))

    return compute


BASELINES: dict[str, Baseline] = {
    "jaccard": _by_metric("jaccard"),
    "kmer_presence": kmer_presence,
    "braycurtis": _by_metric("braycurtis"),
}
"""Those of the experiments in `docs/experiments.md`."""


def _kmers(tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which k-mers each ASV has, shape (ASVs, 4 ** K); one with an N, or beyond the end, is none."""
    # A set whose ASVs are all shorter than a k-mer has none.
    beyond = max(0, K + 1 - tokens.shape[1])
    tokens = np.pad(tokens, ((0, 0), (0, beyond)), constant_values=vocabulary.PAD)
    bases = tokens[:, 1:].astype(np.int64) - vocabulary.A
    is_base = (bases >= 0) & (bases < 4)
    windows = np.lib.stride_tricks.sliding_window_view(bases, K, axis=1)
    is_kmer = np.lib.stride_tricks.sliding_window_view(is_base, K, axis=1).all(axis=2)
    codes = windows @ 4 ** np.arange(K)
    has = np.zeros((len(tokens), 4**K), dtype=np.bool_)
    row = np.repeat(np.arange(len(tokens)), is_kmer.sum(axis=1))
    has[row, codes[is_kmer]] = True
    return has
