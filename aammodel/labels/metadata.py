"""Sample metadata as columns of values, in the order in which the shards hold the samples."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import shorten, truncate_list
from aam_schemas.shards import METADATA_FILE
from aammodel.data.shards import ShardSet

STUDY_OF_ID = "qiita_study"
"""Name of the column that is made of sample ids as Qiita writes them: `10317.000001234` is of study 10317."""
_QIITA_ID = re.compile(r"(\d+)\..+")


@dataclass(frozen=True)
class Column:
    """A metadata column."""

    name: str
    values: npt.NDArray[Any]
    """Numbers as float64 with NaN where the value is missing, or text as objects with None."""

    @property
    def is_numeric(self) -> bool:
        """True for numbers, False for text."""
        return self.values.dtype == np.float64

    @property
    def is_missing(self) -> npt.NDArray[np.bool_]:
        """Which samples have no value, shape (samples,)."""
        if self.is_numeric:
            return np.isnan(self.values)
        return np.array([value is None for value in self.values], dtype=np.bool_)

    def as_text(self) -> npt.NDArray[np.object_]:
        """Return the values as text, None where missing. Whole numbers have no decimal point."""
        if not self.is_numeric:
            return self.values
        return np.array([None if np.isnan(value) else f"{value:.15g}" for value in self.values], dtype=object)


@dataclass(frozen=True)
class Metadata:
    """The metadata of some samples."""

    sample_ids: tuple[str, ...]
    columns: Mapping[str, Column]
    source: str
    """File or folder, for messages."""

    def column(self, name: str, option: str) -> Column:
        """Return a column.

        Parameters
        ----------
        name : str
        option : str
            Option that named the column, for the message.

        Raises
        ------
        UsageError
            If there is no such column. The message names similar ones.
        """
        if name in self.columns:
            return self.columns[name]
        if not self.columns:
            fix = "give a file of metadata, or make the shards again with one (in Python: metadata=FILE)"
            raise UsageError("there are no metadata, so no column can be chosen", option, fix)
        similar = difflib.get_close_matches(name.lower(), [known.lower() for known in self.columns], n=3)
        close = [known for known in self.columns if known.lower() in similar]
        fix = f"did you mean {' or '.join(map(repr, close))}?" if close else f"choose among: {self._names()}"
        raise UsageError(f"there is no column {shorten(repr(name), 80)} in {self.source}", option, fix)

    def in_order(self, sample_ids: Sequence[str]) -> "Metadata":
        """Return the metadata of these samples. Samples without a row have missing values."""
        row_of = {sample_id: row for row, sample_id in enumerate(self.sample_ids)}
        rows = np.array([row_of.get(sample_id, -1) for sample_id in sample_ids], dtype=np.int64)
        return Metadata(
            tuple(sample_ids),
            {name: Column(name, _taken(column.values, rows)) for name, column in self.columns.items()},
            self.source,
        )

    def _names(self) -> str:
        return truncate_list(self.columns, 20)


def read_metadata(shards: ShardSet, sample_ids: Sequence[str]) -> Metadata:
    """Return the metadata that a shard set holds, in the order of the given samples.

    A column `qiita_study` is added if all ids are those of Qiita and no column has this name.

    Raises
    ------
    InvalidDataError
        If the file is damaged.
    """
    columns: dict[str, Column] = {}
    ids: list[str] = []
    if shards.manifest.metadata_types:
        with shards.open(METADATA_FILE) as file:
            table = file.read()
        ids = table["sample_id"].to_pylist()
        for name, kind in shards.manifest.metadata_types.items():
            values = table[name].to_pylist()
            columns[name] = column_of(name, values, is_numeric=kind == "numeric")
    source = str(shards.folder / METADATA_FILE)
    return with_study(Metadata(tuple(ids), columns, source).in_order(sample_ids))


def column_of(name: str, values: Sequence[Any], is_numeric: bool) -> Column:
    """Return a column of values, where None is a missing value."""
    if is_numeric:
        numbers = [np.nan if value is None else float(value) for value in values]
        return Column(name, np.array(numbers, dtype=np.float64))
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    return Column(name, texts)


def with_study(metadata: Metadata) -> Metadata:
    """Add the column `qiita_study` if the sample ids have the form that Qiita gives them."""
    found = [_QIITA_ID.fullmatch(sample_id) for sample_id in metadata.sample_ids]
    studies = [match[1] for match in found if match]
    if STUDY_OF_ID in metadata.columns or len(studies) < len(found) or len(set(studies)) < 2:
        return metadata
    column = column_of(STUDY_OF_ID, studies, is_numeric=False)
    return Metadata(metadata.sample_ids, {**metadata.columns, STUDY_OF_ID: column}, metadata.source)


def _taken(values: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the values of some rows; row -1 is missing."""
    missing = np.array([np.nan]) if values.dtype == np.float64 else np.array([None], dtype=object)
    return np.concatenate([values, missing])[rows]
