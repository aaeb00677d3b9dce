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
        One for each target; none where fewer than two samples have a read in the tree.
    """
    in_tree = [sample for sample in samples if len(sample.branch)]
    if len(in_tree) < 2:
        return []
    asvs = np.concatenate([sample.asv[: stream.token_limit] for sample in in_tree])
    embedding = AsvCache(model, stream.shards, asvs).embed(in_tree, stream.token_limit)
    with torch.no_grad():
        predicted = model.distance(embedding, embedding).cpu().double().numpy()
    true = stream.distances(in_tree)
    rows, columns = np.triu_indices(len(in_tree), k=1)
    return [
        Prediction(name, one[rows, columns], other[rows, columns], len(in_tree))
        for name, one, other in zip(stream.targets, predicted, true, strict=True)
    ]
