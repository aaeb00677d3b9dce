"""Distances that need no training, as baselines for a model. This module does not import torch."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from aam_schemas import vocabulary
from aammodel.distances import formulas
from aammodel.distances.metrics import METRICS, MetricInputs
from aammodel.distances.sparse import Arithmetic, Rows
from aammodel.sample import Float64Array, Sample

K = 6
"""Number of bases in a k-mer."""
COLUMNS = ("dropped_asv", "dropped_count")
"""Columns that the baselines need in addition to `asv` and `count`."""

Baseline = Callable[[Sequence[Sample], npt.NDArray[np.uint8]], Float64Array]


def kmer_presence(samples: Sequence[Sample], tokens: npt.NDArray[np.uint8]) -> Float64Array:
    """Return the Jaccard distances of samples over the 6-mers that occur in their ASVs.

    Parameters
    ----------
    samples : sequence of Sample
        B samples.
    tokens : ndarray of uint8, shape (kept ASVs, L)
        Tokens of the ASVs, beginning with START.

    Returns
    -------
    ndarray of float64, shape (B, B)
    """
    asvs = np.unique(np.concatenate([sample.asv for sample in samples]))
    has_kmer = count_kmers(tokens[asvs]) > 0
    columns = [np.flatnonzero(has_kmer[np.searchsorted(asvs, sample.asv)].any(axis=0)) for sample in samples]
    rows = Rows(columns, [np.ones(len(kmers)) for kmers in columns])
    return formulas.jaccard(rows, rows, np.ones(4**K), Arithmetic())


def _by_metric(name: str) -> Baseline:
    def compute(samples: Sequence[Sample], tokens: npt.NDArray[np.uint8]) -> Float64Array:
        num_asvs = 1 + max(int(asvs.max(initial=0)) for s in samples for asvs in (s.asv, s.dropped_asv))
        return METRICS[name].between(samples, samples, MetricInputs(num_asvs=num_asvs))

    return compute


BASELINES: dict[str, Baseline] = {
    "jaccard": _by_metric("jaccard"),
    "kmer_presence": kmer_presence,
    "braycurtis": _by_metric("braycurtis"),
}
"""Baselines by name. They are those of the experiments in `docs/experiments.md`."""


def count_kmers(tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return how often each k-mer occurs in each ASV. K-mers with an N do not count.

    Parameters
    ----------
    tokens : ndarray of uint8, shape (ASVs, L)
        Tokens of the ASVs, beginning with START.

    Returns
    -------
    ndarray of uint16, shape (ASVs, 4 ** K)
        The bases of a k-mer are the digits of its column number in base 4.
    """
    # If all ASVs are shorter than a k-mer, padding keeps the windows below valid.
    beyond = max(0, K + 1 - tokens.shape[1])
    tokens = np.pad(tokens, ((0, 0), (0, beyond)), constant_values=vocabulary.PAD)
    bases = tokens[:, 1:].astype(np.int64) - vocabulary.A
    is_base = (bases >= 0) & (bases < 4)
    windows = np.lib.stride_tricks.sliding_window_view(bases, K, axis=1)
    is_kmer = np.lib.stride_tricks.sliding_window_view(is_base, K, axis=1).all(axis=2)
    codes = windows @ 4 ** np.arange(K)
    row = np.repeat(np.arange(len(tokens)), is_kmer.sum(axis=1))
    counts = np.zeros((len(tokens), 4**K), dtype=np.uint16)
    np.add.at(counts, (row, codes[is_kmer]), 1)
    return counts
