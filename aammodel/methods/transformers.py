"""Transformers of scikit-learn for tables of ASVs and for distances. What they fit, they fit in a fold."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aammodel.sample import Float64Array


class PrevalenceFilter(TransformerMixin, BaseEstimator):
    """Keep the ASVs that occur in enough training samples.

    Parameters
    ----------
    min_fraction : float
        Smallest fraction of the training samples.
    most : int
        Largest number of ASVs: those in most samples are kept.
    """

    def __init__(self, min_fraction: float = 0.02, most: int = 2000) -> None:
        self.min_fraction = min_fraction
        self.most = most

    def fit(self, X: sparse.csr_array, y: Any = None) -> "PrevalenceFilter":
        """Find the ASVs to keep in the training samples X, shape (samples, ASVs)."""
        prevalence = np.asarray((X > 0).sum(axis=0)).ravel()
        # An ASV in one sample tells nothing of another.
        least = max(2, int(np.ceil(self.min_fraction * X.shape[0])))
        order = np.argsort(-prevalence, kind="stable")[: self.most]
        kept = order[prevalence[order] >= least]
        self.columns_ = np.sort(kept if len(kept) else order[:1])
        return self

    def transform(self, X: sparse.csr_array) -> Float64Array:
        """Return the kept columns as a dense array."""
        check_is_fitted(self)
        return np.asarray(X[:, self.columns_].toarray())


class Clr(TransformerMixin, BaseEstimator):
    """Centered log-ratios (Aitchison 1982), after a pseudocount: half the smallest fraction in training."""

    def fit(self, X: Float64Array, y: Any = None) -> "Clr":
        """Find the pseudocount in the training samples X, shape (samples, parts)."""
        positive = X[X > 0]
        self.pseudocount_ = float(positive.min()) / 2 if len(positive) else 1e-6
        return self

    def transform(self, X: Float64Array) -> Float64Array:
        """Return the log of each part over the geometric mean of its sample."""
        check_is_fitted(self)
        logs = np.log(X + self.pseudocount_)
        return np.asarray(logs - logs.mean(axis=1, keepdims=True))


class FilledDistances(TransformerMixin, BaseEstimator):
    """Give pairs without a distance the largest distance in training.

    A sample has no UniFrac distance if none of its reads are in the tree.
    """

    def fit(self, X: Float64Array, y: Any = None) -> "FilledDistances":
        """Find the largest distance of the training samples X, shape (samples, samples)."""
        finite = X[np.isfinite(X)]
        self.largest_ = float(finite.max()) if len(finite) else 1.0
        return self

    def transform(self, X: Float64Array) -> Float64Array:
        """Return the distances to the training samples, without NaN."""
        check_is_fitted(self)
        return np.nan_to_num(X, nan=self.largest_)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that folds take rows and columns."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        tags.input_tags.allow_nan = True
        return tags


class DistanceKernel(FilledDistances):
    """Similarity exp(-d / s) of a distance d, where s is the median distance in training."""

    def fit(self, X: Float64Array, y: Any = None) -> "DistanceKernel":
        """Find the median distance of the training samples X, shape (samples, samples)."""
        super().fit(X)
        between = super().transform(X)[~np.eye(len(X), dtype=np.bool_)]
        median = float(np.median(between)) if len(between) else 1.0
        self.scale_ = median or 1.0
        return self

    def transform(self, X: Float64Array) -> Float64Array:
        """Return the similarity to each training sample."""
        return np.exp(-super().transform(X) / self.scale_)


class Categories(TransformerMixin, BaseEstimator):
    """Numbers for metadata columns of text and numbers, so that a forest can split on them.

    Text becomes the rank of its value in training, by frequency. Values that training did not have, and
    missing ones, become -1; missing numbers become the median.
    """

    def fit(self, X: npt.NDArray[np.object_], y: Any = None) -> "Categories":
        """Find the values and medians of the training samples X, shape (samples, columns)."""
        self.columns_ = [self._fit_column(X[:, index]) for index in range(X.shape[1])]
        return self

    def transform(self, X: npt.NDArray[np.object_]) -> Float64Array:
        """Return one number for each cell."""
        check_is_fitted(self)
        columns = [self._transform_column(X[:, index], known) for index, known in enumerate(self.columns_)]
        return np.stack(columns, axis=1)

    @staticmethod
    def _fit_column(values: npt.NDArray[np.object_]) -> dict[str, int] | float:
        if all(isinstance(value, float) for value in values):
            numbers = np.array(values, dtype=np.float64)
            return 0.0 if np.isnan(numbers).all() else float(np.nanmedian(numbers))
        names, counts = np.unique([value for value in values if value is not None], return_counts=True)
        return {str(names[index]): rank for rank, index in enumerate(np.argsort(-counts, kind="stable"))}

    @staticmethod
    def _transform_column(values: npt.NDArray[np.object_], known: dict[str, int] | float) -> Float64Array:
        if isinstance(known, dict):
            return np.array([known.get(value, -1) for value in values], dtype=np.float64)
        return np.nan_to_num(np.array(values, dtype=np.float64), nan=known)
