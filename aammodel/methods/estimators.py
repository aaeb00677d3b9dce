"""Estimators that scikit-learn lacks: ridge regression of classes on kernels, and means of groups."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from aammodel.sample import Float64Array


class _KernelMachine(BaseEstimator):
    """A kernel ridge regression.

    Parameters
    ----------
    kernel : {"precomputed", "linear", "rbf"}
    alpha : float
        Penalty.
    """

    def __init__(self, kernel: str = "precomputed", alpha: float = 1.0) -> None:
        self.kernel = kernel
        self.alpha = alpha

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Folds then take rows and columns of the kernel.
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _fit_ridge(self, X: Float64Array, y: Float64Array, weight: Any = None) -> KernelRidge:
        with warnings.catch_warnings():
            # Similarities of some distances are not positive definite. Then scikit-learn solves by least
            # squares, and warns.
            warnings.filterwarnings("ignore", "Singular matrix", UserWarning)
            return KernelRidge(kernel=self.kernel, alpha=self.alpha).fit(X, y, weight)


class KernelRegressor(RegressorMixin, _KernelMachine):
    """Kernel ridge regression around the mean of the training values."""

    def fit(self, X: Float64Array, y: Float64Array) -> "KernelRegressor":
        """Fit training values y, shape (samples,)."""
        self.mean_ = float(np.mean(y))
        self.ridge_ = self._fit_ridge(X, y - self.mean_)
        return self

    def predict(self, X: Float64Array) -> Float64Array:
        """Return a value for each sample."""
        check_is_fitted(self)
        return self.mean_ + np.asarray(self.ridge_.predict(X))


class KernelClassifier(ClassifierMixin, _KernelMachine):
    """Kernel ridge regression of the indicator of each class, with classes of equal weight."""

    def fit(self, X: Float64Array, y: npt.NDArray[Any]) -> "KernelClassifier":
        """Fit training classes y, shape (samples,)."""
        self.classes_, index = np.unique(y, return_inverse=True)
        indicator = np.eye(len(self.classes_))[index] - 1 / len(self.classes_)
        weight = compute_sample_weight("balanced", y)
        self.ridge_ = self._fit_ridge(X, indicator, weight)
        return self

    def predict_proba(self, X: Float64Array) -> Float64Array:
        """Return a share for each class: the fitted indicators, between 0 and 1, divided by their sum."""
        check_is_fitted(self)
        fitted = np.asarray(self.ridge_.predict(X)).reshape(X.shape[0], -1) + 1 / len(self.classes_)
        return _shares(np.clip(fitted, 0, 1))

    def predict(self, X: Float64Array) -> npt.NDArray[Any]:
        """Return the class with the largest share."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class BalancedNeighbors(KNeighborsClassifier):
    """Nearest neighbors whose votes are divided by the frequency of their class in training."""

    def fit(self, X: Any, y: npt.NDArray[Any]) -> "BalancedNeighbors":
        """Fit training classes y, shape (samples,)."""
        super().fit(X, y)
        self.frequency_ = np.unique(y, return_counts=True)[1] / len(y)
        return self

    def predict_proba(self, X: Any) -> Float64Array:
        """Return the share of each class among the votes."""
        return _shares(np.asarray(super().predict_proba(X)) / self.frequency_)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class with the largest share."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


class GroupMedian(RegressorMixin, BaseEstimator):
    """Predict the median of the training samples of the same group, or of all for a new group."""

    def fit(self, X: npt.NDArray[np.object_], y: Float64Array) -> "GroupMedian":
        """Find the medians. X has one column: the group."""
        self.overall_ = float(np.median(y))
        self.median_ = {group: float(np.median(y[X[:, 0] == group])) for group in set(X[:, 0])}
        return self

    def predict(self, X: npt.NDArray[np.object_]) -> Float64Array:
        """Return the median of each sample's group."""
        check_is_fitted(self)
        return np.array([self.median_.get(group, self.overall_) for group in X[:, 0]])


class GroupFrequency(ClassifierMixin, BaseEstimator):
    """Predict the class that is most frequent in the same group, or in all samples for a new group.

    Classes are balanced: a class counts by its frequency in the group over its frequency in all samples.
    """

    def fit(self, X: npt.NDArray[np.object_], y: npt.NDArray[Any]) -> "GroupFrequency":
        """Count the classes. X has one column: the group."""
        self.classes_, index = np.unique(y, return_inverse=True)
        indicator = np.eye(len(self.classes_))[index] / np.bincount(index)
        self.share_ = {
            group: _shares(indicator[X[:, 0] == group].sum(axis=0)[None])[0] for group in set(X[:, 0])
        }
        return self

    def predict_proba(self, X: npt.NDArray[np.object_]) -> Float64Array:
        """Return the share of each class in each sample's group."""
        check_is_fitted(self)
        overall = np.full(len(self.classes_), 1 / len(self.classes_))
        return np.stack([self.share_.get(group, overall) for group in X[:, 0]])

    def predict(self, X: npt.NDArray[np.object_]) -> npt.NDArray[Any]:
        """Return the class with the largest share."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def _shares(values: Float64Array) -> Float64Array:
    """Divide each row by its sum. A row of zeros becomes equal shares."""
    total = values.sum(axis=1, keepdims=True)
    equal = np.full_like(values, 1 / values.shape[1])
    return np.where(total > 0, values / np.where(total > 0, total, 1), equal)
