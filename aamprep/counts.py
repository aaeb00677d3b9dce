"""Counts of samples from Python objects: a biom.Table, a data frame of pandas or polars, or an AnnData.

An object is recognized by the names of its class and package, so that no package needs to be imported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aam_schemas.common.text import shorten
from aamprep.errors import ParameterError
from aamprep.read.metadata import is_id_header

if TYPE_CHECKING:
    import biom
    import pandas as pd
    import polars as pl
    import scipy.sparse as sp


@dataclass(frozen=True)
class Counts:
    """A table of counts in memory, with one row per sample."""

    sample_ids: tuple[str, ...] | None
    """None if the object does not name its rows."""
    feature_ids: tuple[str, ...]
    """Sequences of the ASVs, or names of them."""
    matrix: "sp.csr_matrix"
    """Numbers of reads, float64, shape (samples, features)."""
    sequences: Mapping[str, str] | None = None
    """Sequence of each feature, if the object has them beside the names."""
    kind: str = "array"
    """Name of the object's class, for people."""

    def rows(self, rows: Sequence[int], names: Sequence[str]) -> "Counts":
        """Return some of the samples, by other names, without the features that none of them has."""
        matrix = self.matrix[rows]
        # A table needs at least one feature.
        columns = np.unique(matrix.indices) if matrix.nnz else np.arange(self.matrix.shape[1])[:1]
        features = tuple(self.feature_ids[column] for column in columns)
        return replace(self, sample_ids=tuple(names), feature_ids=features, matrix=matrix[:, columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the samples. Without ids, the samples are numbered from 0."""
        return self.sample_ids or tuple(map(str, range(self.matrix.shape[0])))


def is_instance(value: object, package: str, name: str) -> bool:
    """Return whether a value is an instance of a class, which is given by its package and name."""
    return any(
        parent.__name__ == name and parent.__module__.partition(".")[0] == package
        for parent in type(value).__mro__
    )


def counts_of(table: Any) -> Counts | None:
    """Return the counts of an object, or None if its class is not supported.

    Parameters
    ----------
    table : biom.Table, pandas.DataFrame, polars.DataFrame, anndata.AnnData or Counts
        A data frame has one row per sample and one column per ASV. The names of its columns are sequences, or
        names of ASVs. The ids of the samples are the index of a pandas data frame. They can also be a column
        whose name QIIME 2 accepts for ids, such as `sample-id`, or the first column of a polars data frame,
        if that is text. In an AnnData, `var["sequence"]` holds the sequences, if there is such a column.
        Otherwise, `var_names` are sequences or names of ASVs.

    Raises
    ------
    ParameterError
        If a column has no numbers.
    """
    if isinstance(table, Counts):
        return table
    for kind, read in _READERS.items():
        if is_instance(table, *kind):
            return replace(read(table), kind=".".join(kind))
    return None


def array_counts(counts: Any, feature_ids: Sequence[str]) -> Counts:
    """Return the counts of an array without names.

    Parameters
    ----------
    counts : array or scipy sparse matrix, shape (samples, features)
    feature_ids : sequence of str
        Sequence or name of each column.

    Raises
    ------
    ParameterError
        If there is not one name for each column.
    """
    import scipy.sparse as sp

    matrix = sp.csr_matrix(counts if sp.issparse(counts) else _numbers(np.atleast_2d(counts)))
    if matrix.shape[1] != len(feature_ids):
        what = f"the array has {matrix.shape[1]:,} columns, and there are {len(feature_ids):,} sequences"
        raise ParameterError(what, "rep_seqs", "give one sequence for each column, in their order")
    return Counts(None, tuple(map(str, feature_ids)), matrix.astype(np.float64))


def _of_biom(table: "biom.Table") -> Counts:
    counts = table.matrix_data.T.tocsr().astype(np.float64)
    sample_ids, feature_ids = (tuple(map(str, table.ids(axis=axis))) for axis in ("sample", "observation"))
    return Counts(sample_ids, feature_ids, counts)


def _of_anndata(table: Any) -> Counts:
    if table.X is None:
        raise ParameterError("the AnnData has no counts in X", "tables", "put the counts of reads into X")
    counts = array_counts(table.X, list(table.var_names))
    sequences = None
    if "sequence" in table.var.columns:
        pairs = zip(counts.feature_ids, table.var["sequence"].tolist(), strict=True)
        sequences = {name: sequence for name, sequence in pairs if isinstance(sequence, str)}
    return Counts(tuple(map(str, table.obs_names)), counts.feature_ids, counts.matrix, sequences)


def _of_pandas(frame: "pd.DataFrame") -> Counts:
    import scipy.sparse as sp

    # A RangeIndex only counts the rows. If a column has the ids, use it instead.
    position = _id_column(frame.columns) if type(frame.index).__name__ == "RangeIndex" else None
    ids: Any = frame.index
    if position is not None:
        ids = frame.iloc[:, position]
        frame = frame.iloc[:, [column for column in range(frame.shape[1]) if column != position]]
    for index, dtype in enumerate(frame.dtypes):
        if dtype.kind not in "iufb":
            _check_column(frame.columns[index], dtype, frame.iloc[:, index].tolist())
    is_sparse = frame.shape[1] and all(type(dtype).__name__ == "SparseDtype" for dtype in frame.dtypes)
    values = frame.sparse.to_coo() if is_sparse else frame.to_numpy(dtype=np.float64, na_value=np.nan)
    names = tuple(map(str, ids.tolist()))
    return Counts(names, tuple(map(str, frame.columns)), sp.csr_matrix(values).astype(np.float64))


def _of_polars(frame: "pl.DataFrame") -> Counts:
    import scipy.sparse as sp

    position = _id_column(frame.columns)
    if position is None and frame.columns and str(frame.dtypes[0]) == "String":
        position = 0
    ids = None
    if position is not None:
        ids = tuple(map(str, frame.to_series(position).to_list()))
        frame = frame.drop(frame.columns[position])
    for name, dtype in frame.schema.items():
        if not dtype.is_numeric() and str(dtype) != "Boolean":
            _check_column(name, dtype, frame[name].to_list())
    columns = [frame.to_series(index).cast(float).to_numpy() for index in range(frame.width)]
    matrix = np.stack(columns, axis=1) if columns else np.zeros((len(ids or ()), 0))
    return Counts(ids, tuple(frame.columns), sp.csr_matrix(matrix.astype(np.float64)))


def _id_column(names: Any) -> int | None:
    """Return the index of the first column with a name for sample ids, or None if there is none."""
    return next((index for index, name in enumerate(names) if is_id_header(str(name))), None)


def _check_column(name: object, dtype: object, values: list[object]) -> None:
    """Raise an error if a column that is not of numbers cannot be converted to numbers."""
    try:
        _numbers(np.array(values, dtype=object))
    except ParameterError:
        what = f"column {shorten(str(name), 80)} is of type {dtype}, and has values that are not numbers"
        raise ParameterError(what, "tables", _ONLY_COUNTS) from None


def _numbers(values: Any) -> Any:
    """Return an array as float64. None becomes NaN."""
    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError):
        raise ParameterError("the array has values that are not numbers", "tables", _ONLY_COUNTS) from None


_ONLY_COUNTS = "give counts alone, with a row for each sample and a column for each ASV, without metadata"
_READERS: dict[tuple[str, str], Callable[[Any], Counts]] = {
    ("biom", "Table"): _of_biom,
    ("pandas", "DataFrame"): _of_pandas,
    ("polars", "DataFrame"): _of_polars,
    ("anndata", "AnnData"): _of_anndata,
}
"""Package and name of each class."""
KINDS = tuple(".".join(kind) for kind in _READERS)
"""Names of the classes, for people."""
