"""Samples to embeddings and distances: every distinct ASV encoded once, the sample part per sample."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from aammodel.distance import Sample
from aammodel.model import AamModel
from aammodel.report import Prediction
from aammodel.stream import BatchStream

SAMPLES_AT_ONCE = 16


@torch.no_grad()
def embed(model: AamModel, stream: BatchStream, samples: list[Sample], device: torch.device) -> Tensor:
    """Embed samples, none of whose bases is hidden.

    Returns
    -------
    Tensor, shape (B, K)
        In the order of the samples, on the device.
    """
    model.eval()
    stream = replace(stream, masks=None, targets=())
    all_asvs = np.unique(np.concatenate([sample.asv[: stream.token_limit] for sample in samples]))
    tokens = torch.from_numpy(stream.shards.tokens[all_asvs]).to(device)
    embedding = model.encode_asvs(tokens)
    parts = []
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        batch = stream.make_batch(samples[start : start + SAMPLES_AT_ONCE], step=0).to(device)
        row = torch.from_numpy(np.searchsorted(all_asvs, batch.asv_row.cpu().numpy())).to(device)
        parts.append(model.embed_samples(embedding[row], batch.slot, batch.count, batch.is_real))
    return torch.cat(parts)


def predict_distances(
    model: AamModel, stream: BatchStream, samples: Iterable[Sample], device: torch.device
) -> list[Prediction]:
    """Predict the distance of all pairs of samples by each target, beside the true ones.

    Returns
    -------
    list of Prediction
        One for each target; none where fewer than two samples have a read in the tree.
    """
    in_tree = [sample for sample in samples if len(sample.branch)]
    if len(in_tree) < 2:
        return []
    embedding = embed(model, stream, in_tree, device)
    with torch.no_grad():
        predicted = model.distance(embedding, embedding).cpu().double().numpy()
    true = stream.distances(in_tree)
    rows, columns = np.triu_indices(len(in_tree), k=1)
    return [
        Prediction(name, one[rows, columns], other[rows, columns], len(in_tree))
        for name, one, other in zip(stream.targets, predicted, true, strict=True)
    ]
