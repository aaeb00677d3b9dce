"""The target of a prediction: a metadata column, as classes or as numbers."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten, truncate_list
from aammodel.labels.metadata import Column

Task = Literal["classification", "regression"]
TASKS: tuple[Task, ...] = ("classification", "regression")
FEW_VALUES = 10
"""Whole numbers with at most so many values may be meant as classes."""


@dataclass(frozen=True)
class Target:
    """The labels of the samples that have one."""

    column: str
    task: Task
    rows: npt.NDArray[np.int64]
    """Indices, among all samples, of the samples with a label, in ascending order."""
    values: npt.NDArray[Any]
    """Labels of these samples: numbers as float64, or indices of `classes` as int64."""
    classes: tuple[str, ...]
    """Names of the classes, sorted. Empty for a regression."""
    notes: tuple[str, ...]
    """Sentences that tell which task was inferred and which samples were left out."""

    @property
    def is_classification(self) -> bool:
        """True for a classification, False for a regression."""
        return self.task == "classification"


def make_target(column: Column, task: Task | None, groups: npt.NDArray[Any] | None = None) -> Target:
    """Return the labels of a column.

    Samples without a value are left out. So are classes that occur in a single sample, or group of samples:
    no fit could learn them from other samples.

    Parameters
    ----------
    column : Column
    task : {"classification", "regression"}, optional
        By default, numbers are regressed and text is classified. Two values are always classified.
    groups : ndarray of object, shape (samples,), optional
        Group of each sample. None where it is missing.

    Raises
    ------
    UsageError
        If no sample has a value, all have the same, or text is to be regressed.
    """
    is_given = ~column.is_missing
    notes = _missing_note(column, is_given)
    if not is_given.any():
        raise UsageError(
            f"column {shorten(repr(column.name), 80)} has no value for any sample of the shards",
            "--target",
            "choose another column, or give --metadata FILE whose ids are those of the shards",
        )
    inferred, remark = _infer(column, is_given)
    chosen = task or inferred
    if task is None and remark:
        notes.append(remark)
    if chosen == "regression":
        return _regression(column, is_given, notes)
    return _classification(column, is_given, groups, notes)


def _missing_note(column: Column, is_given: npt.NDArray[np.bool_]) -> list[str]:
    missing = int((~is_given).sum())
    if not missing:
        return []
    return [f"{missing:,} of {len(is_given):,} samples have no {shorten(column.name, 80)} and were left out"]


def _infer(column: Column, is_given: npt.NDArray[np.bool_]) -> tuple[Task, str]:
    """Return the task that suits the values, and a remark if another may be meant."""
    if not column.is_numeric:
        return "classification", ""
    values = np.unique(column.values[is_given])
    name = shorten(column.name, 80)
    if len(values) == 2:
        return "classification", f"{name} has two values, so they were taken as classes (--task regression)"
    if len(values) <= FEW_VALUES and (values == np.round(values)).all():
        what = f"{name} has {len(values)} whole numbers as values, which were taken as numbers"
        return "regression", f"{what}; if they are classes, set --task classification"
    return "regression", ""


def _regression(column: Column, is_given: npt.NDArray[np.bool_], notes: list[str]) -> Target:
    if not column.is_numeric:
        example = next(value for value in column.values[is_given] if not _is_number(value))
        raise UsageError(
            f"column {shorten(repr(column.name), 80)} holds text such as {shorten(repr(example), 80)}, "
            "which cannot be regressed",
            "--task regression",
            "set --task classification, or give --metadata FILE in which cells without a number are empty",
        )
    values = column.values[is_given]
    _check_not_constant(column, values)
    return Target(column.name, "regression", np.flatnonzero(is_given), values, (), tuple(notes))


def _classification(
    column: Column, is_given: npt.NDArray[np.bool_], groups: npt.NDArray[Any] | None, notes: list[str]
) -> Target:
    texts = column.as_text()
    _check_not_constant(column, texts[is_given])
    names, class_of = np.unique(texts[is_given].astype(str), return_inverse=True)
    rows = np.flatnonzero(is_given)
    units = rows if groups is None else np.unique(groups[rows].astype(str), return_inverse=True)[1]
    occurrences = np.array([len(np.unique(units[class_of == index])) for index in range(len(names))])
    rare = names[occurrences < 2]
    if len(rare):
        unit = "sample" if groups is None else "group"
        notes.append(
            f"classes in a single {unit} were left out, since no fit could learn them from others: "
            f"{truncate_list([shorten(name, 80) for name in rare])}"
        )
    is_kept = occurrences[class_of] >= 2
    kept = names[occurrences >= 2]
    if len(kept) < 2:
        raise UsageError(
            f"column {shorten(repr(column.name), 80)} has fewer than two classes that occur in two "
            f"{'samples' if groups is None else 'groups'} or more",
            "--target",
            "choose another column" if groups is None else "choose another column, or other groups",
        )
    values = np.searchsorted(kept, names[class_of[is_kept]])
    return Target(column.name, "classification", rows[is_kept], values, tuple(map(str, kept)), tuple(notes))


def restates(column: Column, target: Target) -> bool:
    """Return whether few values of a column tell the target exactly, such as a diagnosis with more detail.

    Parameters
    ----------
    column : Column
        Of the samples of the target.
    target : Target
    """
    values = column.as_text()
    if target.is_classification:
        seen = {(value, label) for value, label in zip(values, target.values.tolist(), strict=True)}
        number = len({value for value, _ in seen})
        return len(seen) == number <= max(FEW_VALUES, 2 * len(target.classes))
    if not column.is_numeric or column.is_missing.any() or len(set(values.tolist())) < 3:
        return False
    # The same numbers in another unit.
    return bool(abs(np.corrcoef(column.values, target.values)[0, 1]) > 0.9999)


def _check_not_constant(column: Column, values: npt.NDArray[Any]) -> None:
    if len(set(values.tolist())) > 1:
        return
    raise UsageError(
        f"column {shorten(repr(column.name), 80)} has the one value {shorten(repr(values.tolist()[0]), 80)}, "
        "so there is nothing to predict",
        "--target",
        "choose another column",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
