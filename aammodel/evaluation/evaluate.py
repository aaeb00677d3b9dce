"""Evaluate a model: distances compared with the true ones and with baselines, and masked bases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from aammodel.data.collate import Collator
from aammodel.data.masking import Masking
from aammodel.data.missing_input import why_unavailable
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import METRICS, columns_needed, pairwise_distances
from aammodel.evaluation.baselines import BASELINES, COLUMNS
from aammodel.evaluation.distances import Prediction, predict_distances
from aammodel.nn.model import AamModel
from aammodel.objectives.base import ForwardPass
from aammodel.objectives.nucleotides import NucleotideObjective
from aammodel.objectives.sums import mean_or_none
from aammodel.runs.load import check_fits
from aammodel.sample import Sample

BATCH_SIZE = 16


@dataclass(frozen=True)
class Nucleotides:
    """Quality of the prediction of masked bases."""

    num_masked: int
    accuracy: float | None
    """Fraction of the masked bases that is predicted correctly. None if no base was masked."""
    loss: float | None
    """Cross-entropy in nats. None if no base was masked."""


@dataclass(frozen=True)
class Evaluation:
    """Quality of a model on a set of samples."""

    num_samples: int
    token_limit: int
    """Maximum number of ASVs per sample."""
    predictions: list[Prediction]
    """Predicted and true distances, for each target with true distances."""
    baselines: dict[str, dict[str, float]]
    """Pearson correlation of each baseline with the true distances, by target and baseline."""
    nucleotides: Nucleotides
    notes: tuple[str, ...] = ()
    """Sentences for the user: distances that could not be compared, or of too few samples."""

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as `--json` prints it. Undefined figures are None."""
        return {
            "samples": self.num_samples,
            "token_limit": self.token_limit,
            "targets": {
                each.target: {
                    "samples": each.num_samples,
                    "pairs": len(each.true),
                    "r": _finite(each.r),
                    "r2": _finite(each.r_squared),
                    "mean_absolute_error": _finite(each.mean_absolute_error),
                    "baseline_r": {name: _finite(r) for name, r in self.baselines[each.target].items()},
                }
                for each in self.predictions
            },
            "nucleotides": {
                "masked": self.nucleotides.num_masked,
                "accuracy": self.nucleotides.accuracy,
                "loss": self.nucleotides.loss,
            },
            "notes": list(self.notes),
        }


def evaluate(
    model: AamModel,
    shards: ShardSet,
    split: str,
    max_samples: int,
    token_limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a model on the samples of a split.

    15 % of the bases of each ASV are masked for the accuracy of masked bases.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    split : {"train", "validation", "test"}
    max_samples : int
        Maximum number of samples. They are drawn at random if the split is larger.
    token_limit : int or None
        Maximum number of ASVs per sample. By default, it is that of the shards.
    seed : int
        Random seed for the drawn samples and for the masked bases.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError
        If the model cannot read these shards.
    InvalidDataError
        If the split has no samples.
    """
    check_fits(model, shards, token_limit)
    limit = shards.resolve_token_limit(token_limit)
    shards.check_split(split)
    columns = (*COLUMNS, *columns_needed(model.config.targets, shards.metric_inputs))
    order = Order(shards.group_rows(split), seed)
    samples = list(islice(SampleReader(shards, columns).read_split(split, order), max_samples))
    predictions = predict_distances(model, shards, samples, limit)
    return Evaluation(
        num_samples=len(samples),
        token_limit=limit,
        predictions=predictions,
        baselines=_baselines(shards, samples, predictions),
        nucleotides=_predict_masked(model, Collator(shards, limit, masking=Masking(seed=seed)), samples),
        notes=tuple(_notes(shards, model.config.targets, len(samples), predictions)),
    )


def _notes(
    shards: ShardSet, targets: Sequence[str], num_samples: int, predictions: Sequence[Prediction]
) -> Iterator[str]:
    """Yield what keeps distances from being compared, or from being worth it."""
    if num_samples < 2:
        yield "a single sample has no pair, so no distances are compared"
        return
    found = {prediction.target: prediction for prediction in predictions}
    for target in targets:
        words = METRICS[target].words
        if not METRICS[target].is_available(shards.metric_inputs):
            what, fix = why_unavailable(shards, target)
            yield f"{words} is not compared: {what}; to compare it, {fix}"
        elif target not in found:
            yield f"{words} is not compared: fewer than two samples have reads in the tree"
    cautions = (prediction.caution for prediction in predictions)
    yield from dict.fromkeys(caution for caution in cautions if caution)


def _baselines(
    shards: ShardSet, samples: Sequence[Sample], predictions: list[Prediction]
) -> dict[str, dict[str, float]]:
    """Return the correlation of each baseline with each target, over the pairs with a true distance."""
    if not predictions:
        return {}
    targets = [prediction.target for prediction in predictions]
    true = pairwise_distances(targets, samples, samples, shards.metric_inputs)
    computed = {name: compute(samples, shards.tokens) for name, compute in BASELINES.items()}
    return {
        target: {name: Prediction.of_pairs(target, distance, matrix).r for name, distance in computed.items()}
        for target, matrix in zip(targets, true, strict=True)
    }


@torch.no_grad()
def _predict_masked(model: AamModel, collator: Collator, samples: list[Sample]) -> Nucleotides:
    if not model.config.can_mask_bases:
        return Nucleotides(0, None, None)
    model.eval()
    objective = NucleotideObjective(weight=1.0)
    num_masked, num_correct, loss = 0, 0.0, 0.0
    for start in range(0, len(samples), BATCH_SIZE):
        batch = collator(samples[start : start + BATCH_SIZE]).to(model.device)
        output = model(batch)
        num_masked += int(objective.denominator(batch))
        num_correct += float((output.nucleotide_logits.argmax(dim=1) == batch.masked_token).sum())
        loss += objective.loss_sum(ForwardPass(model, batch, output)).item()
    return Nucleotides(num_masked, mean_or_none(num_correct, num_masked), mean_or_none(loss, num_masked))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
