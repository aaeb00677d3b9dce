"""Predicted distances of samples, beside the true ones."""

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


@dataclass(frozen=True)
class Prediction:
    """Predicted and true distances of the pairs of some samples."""

    target: str
    """The metric."""
    predicted: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    num_samples: int

    @staticmethod
    def of_pairs(
        target: str, predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64]
    ) -> "Prediction":
        """Take each pair with a true distance once, of two matrices of shape (B, B)."""
        is_pair = np.triu(np.isfinite(true), k=1)
        num_samples = int((is_pair | is_pair.T).any(axis=0).sum())
        return Prediction(target, predicted[is_pair], true[is_pair], num_samples)

    @property
    def r(self) -> float:
        """Pearson correlation; NaN where it is not defined."""
        if len(self.true) < 2 or self.true.std() == 0 or self.predicted.std() == 0:
            return float("nan")
        return float(np.corrcoef(self.predicted, self.true)[0, 1])

    @property
    def r_squared(self) -> float:
        """Share of the variance of true distances that is explained; below 0 where their mean is better."""
        if len(self.true) < 2 or self.true.std() == 0:
            return float("nan")
        return float(1 - ((self.predicted - self.true) ** 2).mean() / self.true.var())

    @property
    def mean_absolute_error(self) -> float:
        """Mean absolute error, in units of the distance."""
        return float(np.abs(self.predicted - self.true).mean())


def predict_distances(
    model: AamModel, shards: ShardSet, samples: Iterable[Sample], token_limit: int
) -> list[Prediction]:
    """Predict the distances of all pairs of samples by each target of a model, beside the true ones.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    samples : iterable of Sample
        Samples of these shards, read with the columns that the targets need.
    token_limit : int
        Largest number of ASVs of a sample that the model takes.

    Returns
    -------
    list of Prediction
        One for each target with a true distance for a pair of the samples.
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
    """Return the predicted distances of all pairs of samples by one target.

    The matrix is symmetric to the last bit, and its diagonal is zero: a model may predict a small distance
    between two equal samples, but the distance of a sample to itself is no prediction.

    Parameters
    ----------
    model : AamModel
    embeddings : Embeddings
        Of N samples, by this model.
    target : str
        One of the targets of the model.
    rows_at_once : int
        Rows of the matrix that are computed together, which bounds the memory.

    Returns
    -------
    ndarray of float64, shape (N, N)
    """
    features = torch.from_numpy(embeddings.distance_features).to(model.device)
    index = model.config.targets.index(target)
    parts = [model.distance(rows, features)[index].cpu().double() for rows in features.split(rows_at_once)]
    matrix = torch.cat([torch.zeros((0, len(features)), dtype=torch.float64), *parts]).numpy()
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 0.0)
    return matrix
