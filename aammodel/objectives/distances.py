"""The objective of distances: the model predicts the distance of each pair of samples by each metric."""

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


def is_pair(batch: Batch) -> Bool[Tensor, "T B C"]:
    """Return which pairs count: each once (i < j) over all ranks, and only with a true distance."""
    column = torch.arange(batch.micro_batch_size, device=batch.position.device)
    return batch.distance.isfinite() & (batch.position[:, None] < column)


def _targets_that_break(batch: Batch, config: ModelConfig) -> list[str]:
    if len(batch.distance) == len(config.targets):
        return []
    return [f"{len(batch.distance)} kinds of distance for {', '.join(config.targets)}"]


def _distances_that_break(batch: Batch, config: ModelConfig) -> list[str]:
    found = []
    for name, distance in zip(config.targets, batch.distance, strict=True):
        # Only pairs with a sample of which nothing is in the tree have no true distance.
        is_out = distance.diagonal().isnan()
        is_bad = distance.isnan() != (is_out[:, None] | is_out)
        is_bad |= (distance < 0) | distance.isinf() | (distance > METRICS[name].largest + _ROUNDING)
        found += [f"{name} of {pair}" for pair in _pairs_where(batch, is_bad)]
    return found


def _asymmetric(batch: Batch, config: ModelConfig) -> list[str]:
    found = []
    for name, distance in zip(config.targets, batch.distance.nan_to_num(0.0), strict=True):
        is_bad = (distance - distance.T).abs() > _ROUNDING * distance.abs().clamp_min(1.0)
        is_bad |= (distance.diagonal() != 0).diag()
        found += [f"{name} of {pair}" for pair in _pairs_where(batch, is_bad)]
    return found


def _pairs_where(batch: Batch, is_bad: Bool[Tensor, "B B"]) -> list[str]:
    both = (is_bad | is_bad.T).triu()
    return [f"{batch.sample_ids[a]} and {batch.sample_ids[b]}" for a, b in both.nonzero().tolist()]


class DistanceObjective(Objective):
    """Squared error of the predicted distances, one term for each metric.

    In the loss, errors are measured in units of the standard deviation of the true distances (`spread` of the
    metric's head), so that metrics of any range are learned alike.

    Parameters
    ----------
    weight : float
        Weight of all metrics together.
    targets : mapping of str to float
        Metrics, in the order in which the model has them, and the weight of each among them.
    """

    name = "distance"
    labels: ClassVar = {name: Label(metric.words, "squared error") for name, metric in METRICS.items()}
    config_keys = frozenset({"targets", "distance_weight"})
    rules = (
        BatchRule(
            "kinds of distance",
            "the model has a target for each kind of distance",
            _targets_that_break,
            comes_first=True,
        ),
        BatchRule(
            "distances",
            "distances are finite and in their range, or the sample is not in the tree",
            _distances_that_break,
        ),
        BatchRule("symmetry", "distances are symmetric, and 0 to the sample itself", _asymmetric),
    )
    # As it always was, so that logged losses stay bit-equal.
    sum_dtype = torch.float32

    def __init__(self, weight: float, targets: Mapping[str, float]) -> None:
        super().__init__(weight)
        self.targets = dict(targets)

    @property
    def terms(self) -> tuple[str, ...]:
        """The metrics."""
        return tuple(self.targets)

    def denominator(self, batch: Batch) -> Int[Tensor, " T"]:
        """Return the number of pairs with a true distance; 0 for a batch of one sample."""
        return is_pair(batch).sum(dim=(1, 2))

    def loss_sum(self, forward: ForwardPass) -> Float[Tensor, " T"]:
        """Return the squared error summed over the pairs; zero where there is no pair.

        Samples are compared with those of all ranks.
        """
        batch, features = forward.batch, forward.output.distance_features
        predicted = at_least_float32(forward.model.distance(features, forward.gather(features)))
        # A choice and not a product: a missing true distance touches no gradient.
        error = torch.where(is_pair(batch), predicted - batch.distance.to(predicted.dtype), 0.0)
        return error.square().sum(dim=(1, 2))

    def weights(self, model: AamModel) -> Float[Tensor, " T"]:
        """Return the weight of each metric: its share of the objective's weight, over its spread squared."""
        by_target = torch.tensor(list(self.targets.values()), device=model.spread.device)
        return self.weight * by_target / by_target.sum() / model.spread**2

    def figures(self, means: Sequence[float | None]) -> dict[str, float | None]:
        """Return the weighted mean over all metrics, and the mean of each.

        `unifrac_loss` is the name that runs had for `distance_loss`; scripts rely on it.
        """
        mean = self._mean(means)
        return {"distance_loss": mean, "unifrac_loss": mean} | super().figures(means)

    def _mean(self, means: Sequence[float | None]) -> float | None:
        each = zip(means, self.targets.values(), strict=True)
        known = [(mean, weight) for mean, weight in each if mean is not None]
        return sum(m * w for m, w in known) / sum(w for _, w in known) if known else None
