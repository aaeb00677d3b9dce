"""Predict the distances between samples, and compare them with the true distances."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import pairwise_distances
from aammodel.evaluation.embed import AsvCache, Embeddings
from aammodel.nn.model import AamModel
from aammodel.sample import Float64Array, Sample

FEW_SAMPLES = 10
"""With fewer samples, a correlation of their distances says little. Of 2,000 draws of two unrelated sets of
10 points, one in twenty had |r| above 0.38; of 4 points, above 0.83."""


@dataclass(frozen=True)
class Prediction:
    """Predicted and true distances of pairs of samples."""

    target: str
    """Name of the metric."""
    predicted: npt.NDArray[np.float64]
    """Predicted distance of each pair."""
    true: npt.NDArray[np.float64]
    """True distance of each pair."""
    num_samples: int
    """Number of samples in these pairs."""

    @staticmethod
    def of_pairs(
        target: str, predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64]
    ) -> "Prediction":
        """Return the pairs with a true distance, each once, from two matrices of shape (B, B)."""
        is_pair = np.triu(np.isfinite(true), k=1)
        num_samples = int((is_pair | is_pair.T).any(axis=0).sum())
        return Prediction(target, predicted[is_pair], true[is_pair], num_samples)

    @property
    def pairs(self) -> str:
        """Number of pairs in words, such as `3 pairs`."""
        return "1 pair" if len(self.true) == 1 else f"{len(self.true):,} pairs"

    @property
    def caution(self) -> str:
        """Sentence for the user if there are too few samples for a correlation. Otherwise empty."""
        if self.num_samples >= FEW_SAMPLES or self.why_undefined:
            return ""
        return (
            f"r of {self.pairs} of {self.num_samples} samples says little: with so few samples, unrelated "
            f"distances often have a large r. Use {FEW_SAMPLES} samples or more"
        )

    @property
    def r(self) -> float:
        """Pearson correlation. NaN if it is undefined."""
        if self.why_undefined:
            return float("nan")
        return float(np.corrcoef(self.predicted, self.true)[0, 1])

    @property
    def why_undefined(self) -> str:
        """Reason why there is no correlation, or an empty text."""
        if len(self.true) < 2:
            return "there is one pair only"
        for distances, words in ((self.true, "true"), (self.predicted, "predicted")):
            # The standard deviation of equal numbers can differ from 0 by a rounding error.
            if distances.min() == distances.max():
                return f"all {words} distances are equal"
        return ""

    @property
    def r_squared(self) -> float:
        """Coefficient of determination R2. Negative if the mean of the true distances predicts better."""
        if len(self.true) < 2 or self.true.min() == self.true.max():
            return float("nan")
        return float(1 - ((self.predicted - self.true) ** 2).mean() / self.true.var())

    @property
    def mean_absolute_error(self) -> float:
        """Mean absolute error, in units of the distance."""
        return float(np.abs(self.predicted - self.true).mean())


def predict_distances(
    model: AamModel, shards: ShardSet, samples: Iterable[Sample], token_limit: int
) -> list[Prediction]:
    """Return the predicted and true distances of all pairs of samples, for each target of a model.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    samples : iterable of Sample
        Samples of these shards, read with the columns that the targets need.
    token_limit : int
        Maximum number of ASVs per sample.

    Returns
    -------
    list of Prediction
        A prediction for each target that has a true distance for at least one pair.
    """
    samples = list(samples)
    if len(samples) < 2:
        return []
    asvs = np.concatenate([sample.asv[:token_limit] for sample in samples])
    features = AsvCache(model, shards, asvs).embed(samples, token_limit).distance_features
    with torch.no_grad():
        predicted = model.distance(features, features).cpu().double().numpy()
    targets = model.config.targets
    true = pairwise_distances(targets, samples, samples, shards.metric_inputs)
    predictions = map(Prediction.of_pairs, targets, predicted, true)
    return [prediction for prediction in predictions if prediction.num_samples]


@torch.no_grad()
def predicted_matrix(
    model: AamModel, embeddings: Embeddings, target: str, rows_at_once: int = 256
) -> Float64Array:
    """Return the predicted distances of all pairs of samples, for one target.

    The matrix is exactly symmetric, and its diagonal is 0. A model may predict a small distance between two
    equal samples, but the distance of a sample to itself needs no prediction.

    Parameters
    ----------
    model : AamModel
    embeddings : Embeddings
        Embeddings of N samples, computed with this model.
    target : str
        One of the targets of the model.
    rows_at_once : int
        Number of rows of the matrix that are computed together. It bounds the memory.

    Returns
    -------
    ndarray of float64, shape (N, N)
    """
    features = torch.from_numpy(embeddings.distance_features).to(model.device)
    index = model.config.targets.index(target)
    parts = [model.distance(rows, features)[index].cpu().double() for rows in features.split(rows_at_once)]
    matrix = torch.cat([torch.zeros((0, len(features)), dtype=torch.float64), *parts]).numpy()
    # The two predictions of a pair differ by rounding.
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0.0)
    return matrix
