"""Predicted distances of samples, beside the true ones."""

from collections.abc import Iterable

import numpy as np
import torch

from aammodel.distance import Sample
from aammodel.infer import AsvCache
from aammodel.model import AamModel
from aammodel.report import Prediction
from aammodel.stream import BatchStream


def predict_distances(model: AamModel, stream: BatchStream, samples: Iterable[Sample]) -> list[Prediction]:
    """Predict the distance of all pairs of samples by each target, beside the true ones.

    Returns
    -------
    list of Prediction
        One for each target that is known for a pair of the samples.
    """
    samples = list(samples)
    if len(samples) < 2:
        return []
    asvs = np.concatenate([sample.asv[: stream.token_limit] for sample in samples])
    embedding = AsvCache(model, stream.shards, asvs).embed(samples, stream.token_limit)
    with torch.no_grad():
        predicted = model.distance(embedding, embedding).cpu().double().numpy()
    each = zip(stream.targets, predicted, stream.distances(samples), strict=True)
    found = [Prediction.of_pairs(name, one, true) for name, one, true in each]
    return [one for one in found if one.num_samples]
