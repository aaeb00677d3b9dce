"""Scores against scikit-learn and scipy, and intervals that resample whole groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from aammodel.cross_validation import scores


def case(seed: int, classes: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes, each of which occurs, and shares with ties."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, 30)])
    shares = rng.random((len(truth), classes)).round(digits) + 0.01
    return truth, shares / shares.sum(axis=1, keepdims=True)


@given(st.integers(0, 2**20), st.integers(2, 6), st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_scores_of_classes_are_those_of_scikit_learn(seed: int, classes: int, digits: int) -> None:
    truth, shares = case(seed, classes, digits)
    predicted, names = shares.argmax(axis=1), range(classes)
    expected = {
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro", labels=names, zero_division=0),
        "auroc": np.mean([metrics.roc_auc_score(truth == name, shares[:, name]) for name in names]),
        "auprc": np.mean([metrics.average_precision_score(truth == name, shares[:, name]) for name in names]),
        "brier": np.mean(((shares - np.eye(classes)[truth]) ** 2).sum(axis=1)),
    }
    found = {name: score(truth, shares) for name, score in scores.SCORES["classification"].items()}
    assert found == pytest.approx(expected, abs=1e-12)
    counts = metrics.confusion_matrix(truth, predicted, labels=names)
    assert (scores.confusion(truth, shares) == counts).all()


@given(st.integers(0, 2**20))
@settings(max_examples=25, deadline=None)
def test_scores_of_numbers_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(size=(2, 20)).round(1)
    expected = {
        "r2": metrics.r2_score(truth, predicted),
        "mean_absolute_error": metrics.mean_absolute_error(truth, predicted),
        "root_mean_squared_error": metrics.root_mean_squared_error(truth, predicted),
    }
    found = {name: score(truth, predicted) for name, score in scores.SCORES["regression"].items()}
    # Ties share the mean of their ranks.
    ranks = [[np.mean(x < w) + np.mean(x == w) / 2 for w in x] for x in (truth, predicted)]
    expected["spearman"] = np.corrcoef(*ranks)[0, 1]
    assert found == pytest.approx(expected, abs=1e-12)


def test_undefined_scores_are_nan_and_not_a_warning() -> None:
    same = np.zeros(5)
    assert np.isnan(scores.spearman(np.arange(5.0), same))
    assert np.isnan(scores.r_squared(same, np.arange(5.0)))
    assert np.isnan(scores.auroc(np.zeros(5, dtype=int), np.full((5, 2), 0.5)))


def test_the_bootstrap_draws_whole_groups() -> None:
    units = np.array([0, 0, 0, 1, 2, 2])
    for rows in scores.bootstrap_rows(units, 20, seed=1):
        times = np.bincount(rows, minlength=len(units))
        assert sum(times[first] for first in (0, 3, 4)) == 3
        assert (times == times[[0, 0, 0, 3, 4, 4]]).all()


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    # 400 studies of 30 groups of two: about 95 % of the intervals hold the true mean error.
    rng, covered = np.random.default_rng(0), 0
    for study in range(400):
        values = np.repeat(rng.normal(size=30), 2) + 3.0
        draws = scores.bootstrap_rows(np.repeat(np.arange(30), 2), 200, seed=study)
        found = scores.interval_of(np.array([values.mean(), *(values[rows].mean() for rows in draws)]))
        covered += found.low <= 3.0 <= found.high
    assert 0.90 <= covered / 400 <= 0.98
