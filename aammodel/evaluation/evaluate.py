"""How good a model is on samples: distances beside the true ones and beside baselines, masked bases."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.shards import SPLITS
from aammodel.data.collate import Collator
from aammodel.data.masking import Masking
from aammodel.data.order import Order
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import columns_needed, pairwise_distances
from aammodel.evaluation.baselines import BASELINES, COLUMNS
from aammodel.evaluation.distances import Prediction, predict_distances
from aammodel.nn.model import AamModel
from aammodel.objectives.base import ForwardPass
from aammodel.objectives.nucleotides import NucleotideObjective
from aammodel.objectives.sums import mean_or_none
from aammodel.runs.load import check_fits
from aammodel.sample import Sample

BATCH = 16


@dataclass(frozen=True)
class Nucleotides:
    """How well masked bases are guessed."""

    num_masked: int
    accuracy: float | None
    """Share guessed right; None where no base was hidden."""
    loss: float | None
    """Cross-entropy in nats."""


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on some samples."""

    num_samples: int
    token_limit: int
    """Most ASVs of a sample that the model read."""
    predictions: list[Prediction]
    """By target that is known of the samples."""
    baselines: dict[str, dict[str, float]]
    """Pearson correlation of each baseline with each target."""
    nucleotides: Nucleotides

    def as_dict(self) -> dict[str, Any]:
        """Give what `--json` prints; a figure that is not defined is None."""
        return {
            "samples": self.num_samples,
            "token_limit": self.token_limit,
            "targets": {
                one.target: {
                    "samples": one.num_samples,
                    "pairs": len(one.true),
                    "r": _finite(one.r),
                    "r2": _finite(one.r_squared),
                    "mean_absolute_error": _finite(one.mean_absolute_error),
                    "baseline_r": {k: _finite(v) for k, v in self.baselines[one.target].items()},
                }
                for one in self.predictions
            },
            "nucleotides": {
                "masked": self.nucleotides.num_masked,
                "accuracy": self.nucleotides.accuracy,
                "loss": self.nucleotides.loss,
            },
        }


def evaluate(
    model: AamModel,
    shards: ShardSet,
    split: str,
    max_samples: int,
    token_limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on the samples of a split.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    split : {"train", "validation", "test"}
    max_samples : int
        Of a larger split, so many samples are drawn.
    token_limit : int or None
        Most ASVs of a sample; by default the shards' limit.
    seed : int
        Of that draw, and of the masked bases: 15 % of each ASV's.

    Raises
    ------
    UsageError
        If the model cannot read these shards.
    InvalidDataError
        If there is no such sample.
    """
    check_fits(model, shards, token_limit)
    limit = shards.resolve_token_limit(token_limit)
    if not shards.manifest.num_rows(split):
        splits = [one for one in SPLITS if shards.manifest.num_rows(one)]
        raise InvalidDataError(
            f"there is no {split} sample", str(shards.folder), f"choose --split {' or '.join(splits)}"
        )
    columns = (*COLUMNS, *columns_needed(model.config.targets, shards.metric_inputs))
    order = Order(shards.group_rows(split), seed)
    samples = list(islice(SampleReader(shards, columns).read_split(split, order), max_samples))
    predictions = predict_distances(model, shards, samples, limit)
    return Evaluation(
        num_samples=len(samples),
        token_limit=limit,
        predictions=predictions,
        baselines=_baselines(shards, samples, predictions),
        nucleotides=_guess(model, Collator(shards, limit, masking=Masking(seed=seed)), samples),
    )


def _baselines(
    shards: ShardSet, samples: Sequence[Sample], predictions: list[Prediction]
) -> dict[str, dict[str, float]]:
    """Correlate each baseline with each target, over the pairs whose true distance is known."""
    if not predictions:
        return {}
    targets = [prediction.target for prediction in predictions]
    true = pairwise_distances(targets, samples, samples, shards.metric_inputs)
    computed = {name: compute(samples, shards.tokens) for name, compute in BASELINES.items()}
    return {
        target: {name: Prediction.of_pairs(target, distance, known).r for name, distance in computed.items()}
        for target, known in zip(targets, true, strict=True)
    }


@torch.no_grad()
def _guess(model: AamModel, collator: Collator, samples: list[Sample]) -> Nucleotides:
    if not model.config.can_mask_bases:
        return Nucleotides(0, None, None)
    model.eval()
    objective = NucleotideObjective(weight=1.0)
    num_masked, num_right, loss = 0, 0.0, 0.0
    for start in range(0, len(samples), BATCH):
        batch = collator(samples[start : start + BATCH]).to(model.device)
        output = model(batch)
        num_masked += int(objective.denominator(batch))
        num_right += float((output.nucleotide_logits.argmax(dim=1) == batch.masked_token).sum())
        loss += objective.loss_sum(ForwardPass(model, batch, output)).item()
    return Nucleotides(num_masked, mean_or_none(num_right, num_masked), mean_or_none(loss, num_masked))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
