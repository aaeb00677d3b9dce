"""BIOM 2.0 and 2.1 in HDF5 (https://biom-format.org/documentation/format_versions/biom-2.1.html).

The file holds the matrix twice, by sample (`sample/matrix`) and by feature (`observation/matrix`), both in
compressed sparse form. The structure is checked before the entries are read. Both matrices are read in slices
and compared. Taxonomy and other metadata are not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from aam_schemas.common.errors import is_disk_full
from aamprep.arrays import Float64Array, Int64Array
from aamprep.read.biom.consistency import Fingerprint, refuse_disagreement
from aamprep.read.biom.hdf5_guard import open_dataset, open_group, refuse_foreign_parts
from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids, check_indptr, refuse_too_many
from aamprep.read.source import Limits, RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_IDS_AT_ONCE = 4096
_AXES = {"sample": "sample", "observation": "feature"}
"""Name of each axis in the file, and in our findings."""


@dataclass(frozen=True)
class _Matrix:
    """The matrix in one orientation, with a row for each id of its axis."""

    axis: str
    ids: list[str]
    indptr: Int64Array
    indices: h5py.Dataset
    data: h5py.Dataset
    where: str


def spool_hdf5(path: Path, folder: Path, where: str, findings: Findings, limits: Limits) -> None:
    """Read a BIOM 2 table and write its arrays to a folder.

    Parameters
    ----------
    path : Path
        HDF5 file.
    folder : Path
        Empty folder for the arrays.
    where : str
        Path of the file as given by the user, for findings.
    findings : Findings
    limits : Limits

    Raises
    ------
    RefusedError
        If nothing in the table can be used.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            _read(file, folder, where, findings, limits)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        # The disk of the folder is full, and the table may be valid.
        if is_disk_full(error):
            raise
        # The message of the library has the path of the file that it opened, which may be an unpacked copy.
        message = str(error).replace(str(path), where)
        raise RefusedError(rules.FILE_UNREADABLE, where, f"HDF5: {message}") from error


def _read(file: h5py.File, folder: Path, where: str, findings: Findings, limits: Limits) -> None:
    refuse_foreign_parts(file, where)
    arrays = _open_arrays(file, where, limits)
    refuse_too_many(arrays["sample/ids"].size, arrays["observation/ids"].size, where)
    _check_version(file, where)
    samples, features = (_open_matrix(arrays, axis, where, findings) for axis in _AXES)
    if samples.data.size != features.data.size:
        value = f"{samples.data.size:,} entries by sample, {features.data.size:,} by feature"
        raise RefusedError(rules.BIOM_HALVES, where, value)
    _check_attributes(file, samples, features, where, findings)

    shape = len(samples.ids), len(features.ids)
    writer = TableWriter(folder, samples.ids, features.ids, samples.indptr)
    by_sample, by_feature = Fingerprint(*shape), Fingerprint(*shape)
    for row, column, count in _slices(samples, shape[1]):
        writer.write(column, count)
        by_sample.add(row, column, count)
    for row, column, count in _slices(features, shape[0]):
        by_feature.add(column, row, count)
    writer.finish(where, findings)
    refuse_disagreement(by_sample, by_feature, samples.ids, features.ids, where)


def _open_arrays(file: h5py.File, where: str, limits: Limits) -> dict[str, h5py.Dataset]:
    """Open the eight arrays of a table. Refuse external arrays, and those larger than the limits allow."""
    arrays = {}
    for axis in _AXES:
        group = open_group(file, axis, where)
        matrix = open_group(group, "matrix", f"{where}, {axis}")
        arrays[f"{axis}/ids"] = open_dataset(group, "ids", f"{where}, {axis}", limits)
        for name in ("data", "indices", "indptr"):
            arrays[f"{axis}/{name}"] = open_dataset(matrix, name, f"{where}, {axis}/matrix", limits)
    total = sum(array.size * array.dtype.itemsize for array in arrays.values())
    if total > limits.declared_bytes:
        raise RefusedError(rules.FILE_TOO_LARGE, where, f"declares {total:,} bytes in total")
    return arrays


def _open_matrix(arrays: dict[str, h5py.Dataset], axis: str, where: str, findings: Findings) -> _Matrix:
    location = f"{where}, {axis}/matrix"
    indptr, indices, data = (arrays[f"{axis}/{name}"] for name in ("indptr", "indices", "data"))
    _check_type(indptr, "iu", f"{location}/indptr")
    _check_type(indices, "iu", f"{location}/indices")
    _check_type(data, "iuf", f"{location}/data")
    if indices.size != data.size:
        raise RefusedError(rules.BIOM_LENGTH, location, f"{indices.size:,} indices and {data.size:,} values")
    ids = _read_ids(arrays[f"{axis}/ids"], axis, where)
    check_ids(ids, _AXES[axis], where, findings)
    offsets = indptr[:].astype(np.int64)
    check_indptr(offsets, len(ids), data.size, f"{location}/indptr")
    return _Matrix(axis, ids, offsets, indices, data, location)


def _slices(matrix: _Matrix, num_columns: int) -> Iterator[tuple[Int64Array, Int64Array, Float64Array]]:
    """Yield the row, column and count of the entries of a matrix, in slices."""
    for start in range(0, matrix.data.size, SLICE):
        column = matrix.indices[start : start + SLICE]
        outside = np.flatnonzero((column < 0) | (column >= num_columns))
        if len(outside):
            first = int(outside[0])
            raise RefusedError(
                rules.BIOM_INDEX,
                f"{matrix.where}/indices[{start + first}]",
                f"{column[first]}; must be between 0 and {num_columns - 1}",
            )
        count = as_counts(matrix.data[start : start + SLICE])
        # Entry i belongs to the row whose offsets enclose i.
        positions = np.arange(start, start + len(column))
        row = np.searchsorted(matrix.indptr, positions, side="right") - 1
        yield row, column.astype(np.int64), count


def _check_type(array: h5py.Dataset, kinds: str, where: str) -> None:
    if array.ndim != 1:
        raise RefusedError(rules.BIOM_TYPE, where, f"{array.ndim} dimensions")
    if array.dtype.kind not in kinds and array.size > 0:
        raise RefusedError(rules.BIOM_TYPE, where, array.dtype)


def _read_ids(array: h5py.Dataset, axis: str, where: str) -> list[str]:
    """Return ids as text, from any string type."""
    if array.ndim != 1:
        raise RefusedError(rules.BIOM_TYPE, f"{where}, {axis}/ids", f"{array.ndim} dimensions")
    if array.size and h5py.check_string_dtype(array.dtype) is None:
        raise RefusedError(rules.BIOM_TYPE, f"{where}, {axis}/ids", array.dtype)
    ids: list[str] = []
    for start in range(0, array.size, _IDS_AT_ONCE):
        for name in array[start : start + _IDS_AT_ONCE].tolist():
            try:
                ids.append(name.decode("utf-8"))
            except UnicodeDecodeError:
                location = f"{where}, {axis}/ids[{len(ids)}]"
                raise RefusedError(rules.ID_NOT_TEXT, location, name[:60]) from None
    return ids


def _check_version(file: h5py.File, where: str) -> None:
    version = _attribute(file, "format-version")
    if version is None:
        raise RefusedError(rules.BIOM_VERSION, f"{where}, attribute format-version", "missing")
    if version not in ([2, 0], [2, 1]):
        value = ".".join(str(part) for part in version)
        raise RefusedError(rules.BIOM_VERSION, f"{where}, attribute format-version", value)


def _check_attributes(
    file: h5py.File, samples: _Matrix, features: _Matrix, where: str, findings: Findings
) -> None:
    shape, nnz = _attribute(file, "shape"), _attribute(file, "nnz")
    actual = [len(features.ids), len(samples.ids)]
    if shape != actual:
        value = f"{shape}; there are {actual[0]:,} features and {actual[1]:,} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, attribute shape", value)
    if nnz != [samples.data.size]:
        value = f"{nnz[0] if nnz else nnz}; there are {samples.data.size:,} entries"
        findings.add(rules.BIOM_NNZ, f"{where}, attribute nnz", value)
    for axis in _AXES:
        if file[axis].get("metadata", getclass=True) is not h5py.Group:
            findings.add(rules.BIOM_METADATA_MISSING, f"{where}, {axis}/metadata")


def _attribute(file: h5py.File, name: str) -> list[int] | None:
    """Return an attribute of one or two integers, or None if it is missing or has another type or size."""
    if name not in file.attrs:
        return None
    stored = file.attrs.get_id(name)
    if stored.dtype.kind not in "iu" or stored.get_storage_size() > 64:
        return None
    return [int(number) for number in np.ravel(file.attrs[name])]
