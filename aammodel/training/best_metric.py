"""The metric of the validation samples that decides which weights are the best, and when training ends.

It is the loss, the loss of one objective, or the correlation r of the predicted and the true distances of a
target, such as `unweighted_unifrac_r`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from aam_schemas.common.errors import UsageError
from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.transformer import at_least_float32
from aammodel.objectives.base import ForwardPass, Label
from aammodel.objectives.distances import is_pair
from aammodel.objectives.registry import loss_labels, make_objectives
from aammodel.training.step import Stepper

_R = "_r"
Figures = Mapping[str, float | None]


def metric_names(config: TrainConfig) -> list[str]:
    """Return the metrics by which a run can choose its weights: losses, then r of each target."""
    losses = ["loss"]
    for objective in make_objectives(config):
        losses += objective.figures([None] * len(objective.terms))
    # An old name of distance_loss.
    return [name for name in losses if name != "unifrac_loss"] + [f"{name}{_R}" for name in config.targets]


def check_best_metric(config: TrainConfig) -> None:
    """Refuse a metric that the run does not measure.

    Raises
    ------
    UsageError
        If an objective is not registered, or there is no such metric.
    """
    known = metric_names(config)
    if config.best_metric not in known:
        raise UsageError(
            f"this run does not measure {config.best_metric!r} in validation",
            "best_metric",
            f"choose among: {', '.join(known)}",
        )


def is_correlation(metric: str) -> bool:
    """Return whether a metric is a correlation, of which the highest value is the best."""
    return metric.endswith(_R)


def label_of(metric: str) -> Label:
    """Return the label of a metric."""
    if not is_correlation(metric):
        return loss_labels()[metric]
    target = metric.removesuffix(_R)
    return Label(f"r of {METRICS[target].words if target in METRICS else target}", "Pearson correlation")


def best_in_words(metric: str, score: float) -> str:
    """Return the best value of a metric, for people, from the score that `score_of` returned."""
    if is_correlation(metric):
        return f"best {label_of(metric).words} in validation {-score:.4f}"
    words = label_of(metric).words
    return f"best validation loss {'' if metric == 'loss' else f'of {words} '}{score:.4f}"


def score_of(metric: str, figures: Figures) -> float:
    """Return a number that is lower the better the weights are.

    Parameters
    ----------
    metric : str
        A name in `metric_names`.
    figures : mapping of str to float or None
        Values in validation, by name with `val_`. An undefined correlation, as of distances that are all
        predicted alike, counts as the worst.

    Raises
    ------
    UsageError
        If the validation samples have no value of the metric, and never will.
    """
    value = figures[f"val_{metric}"]
    loss = f"{metric.removesuffix(_R)}_loss" if is_correlation(metric) else metric
    if figures[f"val_{loss}"] is None:
        raise UsageError(
            f"no validation batch has a value of {metric}",
            "best_metric",
            "choose another metric; distances need batches of two samples or more",
        )
    if is_correlation(metric):
        return 1.0 if value is None else -value
    return value or 0.0


def correlations(stepper: Stepper, batches: Sequence[Batch]) -> dict[str, float | None]:
    """Return the correlation r of predicted and true distances, over the pairs within each batch.

    All ranks must call this together. It takes as long as the losses of the batches.

    Parameters
    ----------
    stepper : Stepper
    batches : sequence of Batch

    Returns
    -------
    dict of str to float or None
        Pearson correlation, by target with `_r`. None if it is undefined.
    """
    targets = stepper.model.config.targets
    moments = torch.zeros((len(targets), 6), dtype=torch.float64)
    for batch in batches:
        moments += _moments(stepper, batch.to(stepper.precision.device)).cpu()
    numbers = torch.tensor(stepper.ranks.sum(moments.flatten().tolist()), dtype=torch.float64)
    rows = zip(targets, numbers.view(-1, 6).tolist(), strict=True)
    return {f"{name}{_R}": _pearson(row) for name, row in rows}


@torch.no_grad()
def _moments(stepper: Stepper, batch: Batch) -> Tensor:
    """Return the number of pairs, and the sums of x, y, x^2, y^2 and x y, for each target. Shape (T, 6)."""
    model = stepper.model.eval()
    with stepper.precision.autocast():
        forward = ForwardPass(model, batch, model(batch), stepper.ranks)
        features = forward.output.distance_features
        predicted = at_least_float32(model.distance(features, forward.gather(features)))
    pairs = is_pair(batch)
    x = torch.where(pairs, predicted, 0.0).double()
    y = torch.where(pairs, batch.distance, 0.0).double()
    return torch.stack([pairs.double(), x, y, x * x, y * y, x * y], dim=1).sum(dim=(2, 3))


def _pearson(moments: list[float]) -> float | None:
    number, x, y, xx, yy, xy = moments
    variance_x, variance_y = number * xx - x * x, number * yy - y * y
    # Rounding leaves a tiny variance where all values are equal.
    if variance_x <= 1e-12 * number * xx or variance_y <= 1e-12 * number * yy:
        return None
    return float((number * xy - x * y) / (variance_x * variance_y) ** 0.5)
