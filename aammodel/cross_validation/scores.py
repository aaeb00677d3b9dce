"""Scores of predictions, and intervals by resampling groups of samples."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from aammodel.cross_validation.fit import Predictions
from aammodel.labels.target import Target
from aammodel.sample import Float64Array

Truth = npt.NDArray[Any]
Score = Callable[[Truth, Float64Array], float]
"""Takes true labels and predictions, and returns a figure; NaN if it is undefined."""


def balanced_accuracy(truth: Truth, shares: Float64Array) -> float:
    """Return the mean over classes of the fraction that is predicted correctly."""
    recall = _recall(confusion(truth, shares))
    return float(np.nanmean(recall))


def macro_f1(truth: Truth, shares: Float64Array) -> float:
    """Return the mean over the classes that occur of the F1 score."""
    counts = confusion(truth, shares)
    correct, total = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean((2 * correct / np.maximum(total, 1))[total > 0]))


def auroc(truth: Truth, shares: Float64Array) -> float:
    """Return the mean over classes of the area under the ROC curve, one class against the rest."""
    areas = [_area(truth == index, shares[:, index]) for index in np.unique(truth)]
    return float(np.mean(areas)) if len(areas) > 1 else float("nan")


def auprc(truth: Truth, shares: Float64Array) -> float:
    """Return the mean over classes of the average precision of one class against the rest."""
    return float(
        np.mean([_average_precision(truth == index, shares[:, index]) for index in np.unique(truth)])
    )


def brier(truth: Truth, shares: Float64Array) -> float:
    """Return the mean squared distance of the shares from the true class (Brier 1950), from 0 to 2."""
    return float(np.mean(((shares - np.eye(shares.shape[1])[truth]) ** 2).sum(axis=1)))


def mean_absolute_error(truth: Truth, values: Float64Array) -> float:
    """Return the mean absolute error, in the unit of the target."""
    return float(np.abs(values - truth).mean())


def root_mean_squared_error(truth: Truth, values: Float64Array) -> float:
    """Return the root of the mean squared error, in the unit of the target."""
    return float(np.sqrt(((values - truth) ** 2).mean()))


def r_squared(truth: Truth, values: Float64Array) -> float:
    """Return the coefficient of determination. 0 is as good as the mean, and below 0 is worse."""
    spread = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((values - truth) ** 2).sum() / spread) if spread > 0 else float("nan")


def spearman(truth: Truth, values: Float64Array) -> float:
    """Return the rank correlation. NaN if all predictions are equal."""
    with warnings.catch_warnings():
        # scipy warns if an input is constant, and returns NaN.
        warnings.simplefilter("ignore")
        return float(spearmanr(truth, values).statistic)


SCORES: dict[str, dict[str, Score]] = {
    "classification": {
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "auroc": auroc,
        "auprc": auprc,
        "brier": brier,
    },
    "regression": {
        "r2": r_squared,
        "mean_absolute_error": mean_absolute_error,
        "root_mean_squared_error": root_mean_squared_error,
        "spearman": spearman,
    },
}
"""Scores by task. The first of each is the one by which methods are compared."""
SMALLER_IS_BETTER = {"brier", "mean_absolute_error", "root_mean_squared_error"}
SCORE_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "r2": "R2",
    "mean_absolute_error": "mean absolute error",
    "root_mean_squared_error": "root mean squared error",
    "spearman": "Spearman correlation",
}
"""Names of the scores for people."""


def score_words(score: str) -> str:
    """Return the name of a score for people."""
    better = ", smaller is better" if score in SMALLER_IS_BETTER else ""
    return f"{SCORE_WORDS[score]}{better}"


@dataclass(frozen=True)
class Interval:
    """A figure with the 95 % interval of the bootstrap."""

    value: float
    low: float
    high: float


def confusion(truth: Truth, shares: Float64Array) -> npt.NDArray[np.int64]:
    """Return how many samples of each true class (row) were predicted as each class (column)."""
    number = shares.shape[1]
    pairs = truth * number + shares.argmax(axis=1)
    return np.bincount(pairs, minlength=number**2).reshape(number, number)


def bootstrap_rows(units: npt.NDArray[np.int64], num_draws: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each draw: as many groups as there are, with replacement, with all their samples.

    Samples of a group are not independent, so whole groups are drawn (Field and Welsh 2007).
    """
    members = [np.flatnonzero(units == unit) for unit in range(units.max() + 1)]
    random = np.random.default_rng(seed)
    return [
        np.concatenate([members[unit] for unit in random.integers(0, len(members), len(members))])
        for _ in range(num_draws)
    ]


def score_draws(
    target: Target, predictions: Predictions, score: Score, draws: Sequence[npt.NDArray[np.int64]]
) -> Float64Array:
    """Return a score for all samples (first) and for each draw, as the mean over the repeats."""
    all_rows = np.arange(len(target.values))
    return np.array(
        [
            np.mean([score(target.values[rows], values[rows]) for values in predictions.values])
            for rows in (all_rows, *draws)
        ]
    )


def interval_of(scores: Float64Array) -> Interval:
    """Return the figure for all samples, which comes first, with the interval of the draws."""
    drawn = scores[1:][np.isfinite(scores[1:])]
    if not len(drawn):
        return Interval(float(scores[0]), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(scores[0]), float(low), float(high))


def score_methods(
    target: Target,
    predictions: Mapping[str, Predictions],
    units: npt.NDArray[np.int64],
    num_draws: int,
    seed: int,
) -> dict[str, dict[str, Float64Array]]:
    """Return each score of each method for all samples (first) and for each draw of the bootstrap.

    All methods are scored on the same draws, so that differences of methods are paired.
    """
    draws = bootstrap_rows(units, num_draws, seed)
    return {
        name: {
            score: score_draws(target, found, compute, draws)
            for score, compute in SCORES[target.task].items()
        }
        for name, found in predictions.items()
    }


def _recall(counts: npt.NDArray[np.int64]) -> Float64Array:
    total = counts.sum(axis=1)
    return np.where(total > 0, np.diag(counts) / np.maximum(total, 1), np.nan)


def _area(is_class: npt.NDArray[np.bool_], share: Float64Array) -> float:
    """Return the area under the ROC curve, from the ranks (Mann and Whitney 1947)."""
    positive = int(is_class.sum())
    negative = len(is_class) - positive
    if not positive or not negative:
        return float("nan")
    return float((rankdata(share)[is_class].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _average_precision(is_class: npt.NDArray[np.bool_], share: Float64Array) -> float:
    """Return the mean precision over the samples of a class, as scikit-learn's `average_precision_score`.

    The bootstrap calls it some ten thousand times. Scikit-learn's checks of its arguments would take minutes.
    """
    order = np.argsort(-share, kind="stable")
    found = np.cumsum(is_class[order])
    # Samples of equal share are found together.
    ends = np.flatnonzero(np.append(np.diff(share[order]) != 0, True))
    precision, recalled = found[ends] / (ends + 1), np.diff(found[ends], prepend=0)
    return float((precision * recalled).sum() / found[-1])
