"""Divide samples into folds, so that each sample is predicted by fits that did not see it or its group."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten
from aammodel.labels.target import Target

INNER_FOLDS = 3
"""Number of folds, within the training samples, in which hyperparameters are chosen."""

Split = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Folds:
    """A fold for each sample, in each repeat."""

    fold: npt.NDArray[np.int64]
    """Shape (repeats, samples). Counted from 0."""
    groups: npt.NDArray[np.object_] | None
    """Group of each sample, which no fold divides. None if samples were divided one by one."""
    words: str
    """How samples were divided, for people."""
    names: tuple[str, ...] = ()
    """Name of each fold: the value that was left out. Empty if folds have no name."""

    @property
    def num_repeats(self) -> int:
        """Number of times that all samples were divided."""
        return len(self.fold)

    def splits(self, repeat: int) -> Iterator[Split]:
        """Yield training and test rows of each fold of a repeat."""
        for number in range(int(self.fold[repeat].max()) + 1):
            is_test = self.fold[repeat] == number
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)

    @property
    def units(self) -> npt.NDArray[np.int64]:
        """Number of the group of each sample, or of the sample itself: what intervals resample."""
        if self.groups is None:
            return np.arange(self.fold.shape[1])
        return np.unique(self.groups.astype(str), return_inverse=True)[1]


def random_folds(target: Target, num_folds: int, repeats: int, seed: int) -> Folds:
    """Divide samples at random; each class evenly.

    Raises
    ------
    UsageError
        If there are more folds than samples.
    """
    _check_number(num_folds, len(target.values), "samples")
    fold = [_divide(target, None, num_folds, seed + repeat) for repeat in range(repeats)]
    return Folds(np.stack(fold), None, f"{num_folds} random folds")


def grouped_folds(
    target: Target, groups: npt.NDArray[np.object_], column: str, num_folds: int, repeats: int, seed: int
) -> Folds:
    """Divide groups of samples at random; each class as evenly as groups allow.

    Parameters
    ----------
    target : Target
    groups : ndarray of object, shape (labelled samples,)
    column : str
        Name of the column of groups.
    num_folds, repeats, seed : int

    Raises
    ------
    UsageError
        If there are more folds than groups.
    """
    number = len(set(groups.tolist()))
    _check_number(num_folds, number, f"groups in column {shorten(column, 80)}")
    fold = [_divide(target, groups, num_folds, seed + repeat) for repeat in range(repeats)]
    words = f"{num_folds} folds of whole groups ({number} of {shorten(column, 80)})"
    return Folds(np.stack(fold), groups, words)


def left_out_folds(groups: npt.NDArray[np.object_], column: str) -> Folds:
    """Leave out the samples of each value of a column in turn."""
    names, fold = np.unique(groups.astype(str), return_inverse=True)
    words = f"each {shorten(column, 80)} left out in turn ({len(names)})"
    return Folds(fold[None], groups, words, tuple(map(str, names)))


def inner_splits(target: Target, folds: Folds, train: npt.NDArray[np.int64]) -> list[Split]:
    """Divide the training samples of a fold again, by the same rule, to choose hyperparameters.

    Returns
    -------
    list of (train, test)
        Indices within the training samples. Each training part has all classes of the training samples,
        if any division of the groups does; otherwise groups are ignored within the training samples.
    """
    part = _part(target, train)
    groups = None if folds.groups is None else folds.groups[train]
    for labels in (groups, None):
        units = len(train) if labels is None else len(set(labels.tolist()))
        if units < 2:
            continue
        fold = _divide(part, labels, min(INNER_FOLDS, units), seed=0)
        splits = [(np.flatnonzero(fold != n), np.flatnonzero(fold == n)) for n in range(fold.max() + 1)]
        if all(_can_train(part, rows) for rows, _ in splits):
            return splits
    # A class with one training sample: no choice is fair, so both parts are all samples.
    rows = np.arange(len(train))
    return [(rows, rows)] * 2


def _can_train(target: Target, rows: npt.NDArray[np.int64]) -> bool:
    """Return whether some training samples have all classes, so that a classifier can be fitted."""
    if not target.is_classification:
        return len(rows) > 0
    return len(set(target.values[rows].tolist())) == len(set(target.values.tolist()))


def _part(target: Target, rows: npt.NDArray[np.int64]) -> Target:
    return Target(target.column, target.task, target.rows[rows], target.values[rows], target.classes, ())


def _divide(
    target: Target, groups: npt.NDArray[np.object_] | None, num_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold of each sample."""
    options: dict[str, Any] = {"n_splits": num_folds, "shuffle": True, "random_state": seed}
    if target.is_classification:
        # The most frequent class may have fewer samples than folds; scikit-learn then raises.
        most = int(np.bincount(target.values).max())
        if groups is not None:
            splitter: Any = StratifiedGroupKFold(**options)
        else:
            splitter = StratifiedKFold(**options) if most >= num_folds else KFold(**options)
    else:
        splitter = GroupKFold(**options) if groups is not None else KFold(**options)
    fold = np.zeros(len(target.values), dtype=np.int64)
    labels = None if groups is None else groups.astype(str)
    with warnings.catch_warnings():
        # scikit-learn warns if a class has fewer samples than there are folds. That is no fault.
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, test) in enumerate(splitter.split(np.zeros(len(fold)), target.values, labels)):
            fold[test] = number
    # With few groups, a stratified fold may be empty.
    return np.unique(fold, return_inverse=True)[1]


def _check_number(num_folds: int, number: int, words: str) -> None:
    if num_folds > number:
        raise UsageError(
            f"{num_folds} folds cannot be made of {number} {words}",
            "--folds",
            f"set --folds {number}" if number == 2 else f"set --folds to 2 to {number}",
        )
