"""Samples that belong together: of one subject, plate or study. A fold must not divide them."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten
from aammodel.labels.metadata import STUDY_OF_ID, Column, Metadata

_UNITS = (
    "subject|host|patient|participant|individual|person|donor|volunteer|animal|mouse|fish|family|household|"
    "cage|plate|batch|site_id|run|study|project|cohort"
)
_NAME_OF_GROUP = re.compile(rf"(^|[^a-z])({_UNITS})s?([^a-z]|$)", re.IGNORECASE)
_NO_GROUP = re.compile(
    r"age|sex|gender|height|weight|bmi|taxid|scientific|common_name|title|description|date", re.I
)
"""Words in names such as `host_age`, which describe a subject and do not name it."""
_MOST_GROUPS_SHOWN = 3


def groups_of(column: Column, option: str, is_labelled: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    """Return the group of each sample.

    Parameters
    ----------
    column : Column
    option : str
        Option that named the column, for messages.
    is_labelled : ndarray of bool, shape (samples,)
        Which samples are predicted. The others need no group.

    Raises
    ------
    UsageError
        If a labelled sample has no value, or all have the same.
    """
    groups = column.as_text()
    missing = int((column.is_missing & is_labelled).sum())
    if missing:
        raise UsageError(
            f"{missing:,} samples have no value in column {shorten(repr(column.name), 80)}",
            option,
            "fill in the column, or choose another",
        )
    if len(set(groups[is_labelled].tolist())) < 2:
        raise UsageError(
            f"all samples have the same value in column {shorten(repr(column.name), 80)}",
            option,
            "choose a column with two groups or more",
        )
    return groups


def suspected_groups(metadata: Metadata, target: str) -> list[str]:
    """Return the columns that look like subjects, plates or studies with several samples.

    The column with the most groups comes first: its groups are usually the subjects.
    """
    found = {
        name: len(set(column.as_text().tolist()))
        for name, column in metadata.columns.items()
        if name != target and (name == STUDY_OF_ID or _names_groups(name)) and _repeats(column)
    }
    return sorted(found, key=lambda name: -found[name])


def _names_groups(name: str) -> bool:
    return bool(_NAME_OF_GROUP.search(name)) and not _NO_GROUP.search(name)


def _repeats(column: Column) -> bool:
    """Return whether the column has several groups, and some have several samples."""
    if column.is_missing.any():
        return False
    values: list[Any] = column.as_text().tolist()
    return 1 < len(set(values)) < len(values)
