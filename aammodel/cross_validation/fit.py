"""Fit a method in each fold, and predict the samples that the fit did not see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits

from aammodel.cross_validation.folds import Folds, inner_splits
from aammodel.labels.target import Target
from aammodel.methods.inputs import INPUTS, Inputs
from aammodel.methods.registry import Method
from aammodel.sample import Float64Array


@dataclass(frozen=True)
class Predictions:
    """Predictions of one method for all labelled samples, in each repeat of the folds."""

    values: Float64Array
    """Predicted numbers, shape (repeats, samples); or shares of classes, (repeats, samples, classes)."""
    importance: Float64Array | None
    """Mean importance of each ASV over the fits, shape (ASVs,). None if the method has none."""

    @property
    def mean(self) -> Float64Array:
        """Mean over the repeats."""
        return np.asarray(self.values.mean(axis=0))


def predict_all(
    methods: Mapping[str, Method],
    inputs: Inputs,
    target: Target,
    folds: Folds,
    on_progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Predictions]:
    """Return the predictions of each method whose input is available.

    Parameters
    ----------
    methods : mapping of str to Method
    inputs : Inputs
        Of the labelled samples.
    target : Target
    folds : Folds
    on_progress : callable
        Called with a line of text before each method is fitted.
    """
    found: dict[str, Predictions] = {}
    for name, method in methods.items():
        if INPUTS[method.input].is_available(inputs):
            on_progress(f"fitting: {method.words}")
            found[name] = predict_method(method, inputs, target, folds)
    return found


def predict_method(method: Method, inputs: Inputs, target: Target, folds: Folds) -> Predictions:
    """Return the predictions of one method. Every sample is predicted once in each repeat."""
    x, is_pairwise = inputs.get(method.input), INPUTS[method.input].is_pairwise
    shape = (folds.num_repeats, len(target.values))
    values = np.full((*shape, len(target.classes)) if target.is_classification else shape, np.nan)
    importances: list[Any] = []
    # Small fits are slower with several threads than with one, and busy machines make them slower still.
    with threadpool_limits(1):
        for repeat in range(folds.num_repeats):
            for train, test in folds.splits(repeat):
                fitted = _fitted(method, _rows(x, train, train, is_pairwise), target, folds, train)
                values[repeat, test] = _predicted(fitted, _rows(x, test, train, is_pairwise), target)
                importances.append(getattr(fitted, "feature_importances_", None))
    has_importance = method.input == "abundance" and all(each is not None for each in importances)
    return Predictions(values, np.mean(importances, axis=0) if has_importance else None)


def _fitted(method: Method, x: Any, target: Target, folds: Folds, train: npt.NDArray[np.int64]) -> Any:
    y = target.values[train]
    if target.is_classification and len(set(y.tolist())) == 1:
        return _OneClass(int(y[0]))
    return method.make(target.task, inner_splits(target, folds, train)).fit(x, y)


def _predicted(fitted: Any, x: Any, target: Target) -> Float64Array:
    if not target.is_classification:
        return np.asarray(fitted.predict(x), dtype=np.float64)
    # Training samples may lack a class. Then its share is 0.
    shares = np.zeros((x.shape[0], len(target.classes)))
    shares[:, np.asarray(fitted.classes_, dtype=np.int64)] = fitted.predict_proba(x)
    return shares


def _rows(
    x: Any, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], is_pairwise: bool
) -> npt.NDArray[Any] | sparse.csr_array:
    return x[np.ix_(rows, columns)] if is_pairwise else x[rows]


class _OneClass:
    """A classifier for training samples of a single class, which scikit-learn's refuse."""

    def __init__(self, class_: int) -> None:
        self.classes_ = np.array([class_])

    def predict_proba(self, x: Any) -> Float64Array:
        return np.ones((x.shape[0], 1))
