"""The objective of distances: the model predicts the distance of each pair of samples, for each metric."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.model import AamModel
from aammodel.nn.transformer import at_least_float32
from aammodel.objectives.base import ForwardPass, Label, Objective
from aammodel.objectives.rules import BatchRule

_ROUNDING = 1e-5
"""Tolerance of the checks, about a hundred roundings of float32."""


def is_pair(batch: Batch) -> Bool[Tensor, "T B C"]:
    """Return which pairs count: those with a true distance, each pair once over all ranks (i < j)."""
    column = torch.arange(batch.micro_batch_size, device=batch.position.device)
    return batch.distance.isfinite() & (batch.position[:, None] < column)


def _wrong_targets(batch: Batch, config: ModelConfig) -> list[str]:
    if len(batch.distance) == len(config.targets):
        return []
    return [f"{len(batch.distance)} metrics for {', '.join(config.targets)}"]


def _invalid_distances(batch: Batch, config: ModelConfig) -> list[str]:
    violations = []
    for name, distance in zip(config.targets, batch.distance, strict=True):
        # A pair may only lack a true distance if one of its samples has no read in the tree. The distance of
        # such a sample to itself is also NaN.
        is_out = distance.diagonal().isnan()
        is_bad = distance.isnan() != (is_out[:, None] | is_out)
        is_bad |= (distance < 0) | distance.isinf() | (distance > METRICS[name].largest + _ROUNDING)
        violations += [f"{name} of {pair}" for pair in _pairs_where(batch, is_bad)]
    return violations


def _asymmetric(batch: Batch, config: ModelConfig) -> list[str]:
    violations = []
    for name, distance in zip(config.targets, batch.distance.nan_to_num(0.0), strict=True):
        is_bad = (distance - distance.T).abs() > _ROUNDING * distance.abs().clamp_min(1.0)
        is_bad |= (distance.diagonal() != 0).diag()
        violations += [f"{name} of {pair}" for pair in _pairs_where(batch, is_bad)]
    return violations


def _pairs_where(batch: Batch, is_bad: Bool[Tensor, "B B"]) -> list[str]:
    both = (is_bad | is_bad.T).triu()
    return [f"{batch.sample_ids[a]} and {batch.sample_ids[b]}" for a, b in both.nonzero().tolist()]


class DistanceObjective(Objective):
    """Squared error of the predicted distances, one term for each metric.

    The loss measures errors in units of the standard deviation of the true distances (`spread` of the
    metric's head). So metrics of any range are learned at the same rate.

    Parameters
    ----------
    weight : float
        Weight of the sum over all metrics.
    targets : mapping of str to float
        Weight of each metric among them, in the order of the model's targets.
    """

    name = "distance"
    labels: ClassVar = {name: Label(metric.words, "squared error") for name, metric in METRICS.items()}
    config_keys = frozenset({"targets", "distance_weight"})
    rules = (
        BatchRule(
            "targets",
            "the batch has a distance for each target of the model",
            _wrong_targets,
            comes_first=True,
        ),
        BatchRule(
            "distances",
            "distances are finite and in range, or a sample has no read in the tree",
            _invalid_distances,
        ),
        BatchRule("symmetry", "distances are symmetric, and 0 from a sample to itself", _asymmetric),
    )
    # The type of the first version, kept so that logged losses stay bit-equal.
    sum_dtype = torch.float32

    def __init__(self, weight: float, targets: Mapping[str, float]) -> None:
        super().__init__(weight)
        self.targets = dict(targets)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self.targets)

    def denominator(self, batch: Batch) -> Int[Tensor, " T"]:
        """Return the number of pairs with a true distance. It is 0 for a batch of one sample."""
        return is_pair(batch).sum(dim=(1, 2))

    def loss_sum(self, forward: ForwardPass) -> Float[Tensor, " T"]:
        """Return the sum of the squared error over pairs, for each metric. It is 0 if there are no pairs.

        The samples of this rank are compared with those of all ranks.
        """
        batch, features = forward.batch, forward.output.distance_features
        predicted = at_least_float32(forward.model.distance(features, forward.gather(features)))
        # A product with a mask would turn a missing true distance into a gradient of NaN.
        error = torch.where(is_pair(batch), predicted - batch.distance.to(predicted.dtype), 0.0)
        return error.square().sum(dim=(1, 2))

    def weights(self, model: AamModel) -> Float[Tensor, " T"]:
        """Return the weight of each metric: its fraction of the objective's weight, over its variance."""
        by_target = torch.tensor(list(self.targets.values()), device=model.spread.device)
        return self.weight * by_target / by_target.sum() / model.spread**2

    def figures(self, means: Sequence[float | None]) -> dict[str, float | None]:
        """Return the weighted mean over all metrics, and the mean of each.

        `unifrac_loss` is the old name of `distance_loss`. Scripts may rely on it.
        """
        mean = self._mean(means)
        return {"distance_loss": mean, "unifrac_loss": mean} | super().figures(means)

    def _mean(self, means: Sequence[float | None]) -> float | None:
        pairs = zip(means, self.targets.values(), strict=True)
        known = [(mean, weight) for mean, weight in pairs if mean is not None]
        total = sum(weight for _, weight in known)
        return sum(mean * weight for mean, weight in known) / total if known else None
