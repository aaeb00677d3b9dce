"""BIOM 2.0 and 2.1: HDF5 (https://biom-format.org/documentation/format_versions/biom-2.1.html).

The matrix lies in the file twice, by sample (`sample/matrix`) and by feature (`observation/matrix`), each in
compressed sparse form. Structure is checked with numpy before anything is built; both halves are read slice
by slice and held against each other; taxonomy and other metadata are never touched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import is_disk_full
from aamprep.read.biom.consistency import Fingerprint, report_disagreement
from aamprep.read.biom.hdf5_guard import dataset_in, group_in
from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids, check_indptr
from aamprep.read.source import Limits, RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

Integers = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float64]

_IDS_AT_ONCE = 4096
_AXES = {"sample": "sample", "observation": "feature"}


@dataclass(frozen=True)
class _Half:
    """One orientation of the matrix: a row for each id of its axis."""

    axis: str
    ids: list[str]
    indptr: Integers
    indices: h5py.Dataset
    data: h5py.Dataset
    where: str


def spool_hdf5(path: Path, folder: Path, where: str, findings: Findings, limits: Limits) -> None:
    """Read a BIOM 2 table into a folder.

    Parameters
    ----------
    path : Path
        An HDF5 file.
    folder : Path
        Where the arrays go.
    where : str
        The file as the user named it, for findings.

    Raises
    ------
    RefusedError
        If nothing of the table can be used.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            _read(file, folder, where, findings, limits)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        if is_disk_full(error):  # where the arrays are written: the file may be sound
            raise
        # The library names the file that it opened, which may be our own unpacked copy.
        words = str(error).replace(str(path), where)
        raise RefusedError(rules.FILE_UNREADABLE, where, f"HDF5: {words}") from error


def _read(file: h5py.File, folder: Path, where: str, findings: Findings, limits: Limits) -> None:
    arrays = _open_arrays(file, where, limits)
    _check_version(file, where)
    halves = {axis: _half(arrays, axis, where, findings) for axis in _AXES}
    samples, features = halves["sample"], halves["observation"]
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
    report_disagreement(by_sample, by_feature, samples.ids, features.ids, where)


def _open_arrays(file: h5py.File, where: str, limits: Limits) -> dict[str, h5py.Dataset]:
    """Open the eight arrays of a table, each refused where it declares too much or lies elsewhere."""
    arrays = {}
    for axis in _AXES:
        group = group_in(file, axis, where)
        matrix = group_in(group, "matrix", f"{where}, {axis}")
        arrays[f"{axis}/ids"] = dataset_in(group, "ids", f"{where}, {axis}", limits)
        for name in ("data", "indices", "indptr"):
            arrays[f"{axis}/{name}"] = dataset_in(matrix, name, f"{where}, {axis}/matrix", limits)
    total = sum(array.size * array.dtype.itemsize for array in arrays.values())
    if total > limits.declared_bytes:
        raise RefusedError(rules.FILE_TOO_LARGE, where, f"declares {total:,} bytes in all")
    return arrays


def _half(arrays: dict[str, h5py.Dataset], axis: str, where: str, findings: Findings) -> _Half:
    place = f"{where}, {axis}/matrix"
    indptr, indices, data = (arrays[f"{axis}/{name}"] for name in ("indptr", "indices", "data"))
    _check_type(indptr, "iu", f"{place}/indptr")
    _check_type(indices, "iu", f"{place}/indices")
    _check_type(data, "iuf", f"{place}/data")
    if indices.size != data.size:
        raise RefusedError(rules.BIOM_LENGTH, place, f"{indices.size:,} indices and {data.size:,} values")
    ids = _read_ids(arrays[f"{axis}/ids"], axis, where)
    check_ids(ids, _AXES[axis], where, findings)
    offsets = indptr[:].astype(np.int64)
    check_indptr(offsets, len(ids), data.size, f"{place}/indptr")
    return _Half(axis, ids, offsets, indices, data, place)


def _slices(half: _Half, num_columns: int) -> Iterator[tuple[Integers, Integers, Counts]]:
    """Read a half slice by slice; yields row, column and count of the entries."""
    for start in range(0, half.data.size, SLICE):
        column = half.indices[start : start + SLICE]
        outside = np.flatnonzero((column < 0) | (column >= num_columns))
        if len(outside):
            at = int(outside[0])
            raise RefusedError(
                rules.BIOM_INDEX,
                f"{half.where}/indices[{start + at}]",
                f"{column[at]}; allowed are 0 to {num_columns - 1}",
            )
        count = as_counts(half.data[start : start + SLICE])
        positions = np.arange(start, start + len(column))
        row = np.searchsorted(half.indptr, positions, side="right") - 1
        yield row, column.astype(np.int64), count


def _check_type(array: h5py.Dataset, kinds: str, where: str) -> None:
    if array.ndim != 1:
        raise RefusedError(rules.BIOM_TYPE, where, f"{array.ndim} dimensions")
    if array.dtype.kind not in kinds and array.size > 0:
        raise RefusedError(rules.BIOM_TYPE, where, array.dtype)


def _read_ids(array: h5py.Dataset, axis: str, where: str) -> list[str]:
    """Read ids as text, whatever kind of string they are stored as."""
    if array.ndim != 1:
        raise RefusedError(rules.BIOM_TYPE, f"{where}, {axis}/ids", f"{array.ndim} dimensions")
    if array.size and h5py.check_string_dtype(array.dtype) is None:
        raise RefusedError(rules.BIOM_TYPE, f"{where}, {axis}/ids", array.dtype)
    ids: list[str] = []
    for start in range(0, array.size, _IDS_AT_ONCE):
        for one in array[start : start + _IDS_AT_ONCE].tolist():
            try:
                ids.append(one.decode("utf-8"))
            except UnicodeDecodeError:
                position = f"{where}, {axis}/ids[{len(ids)}]"
                raise RefusedError(rules.ID_NOT_TEXT, position, one[:60]) from None
    return ids


def _check_version(file: h5py.File, where: str) -> None:
    version = _attribute(file, "format-version")
    if version is None:
        raise RefusedError(rules.BIOM_VERSION, f"{where}, attribute format-version", "missing")
    if version not in ([2, 0], [2, 1]):
        value = ".".join(str(part) for part in version)
        raise RefusedError(rules.BIOM_VERSION, f"{where}, attribute format-version", value)


def _check_attributes(
    file: h5py.File, samples: _Half, features: _Half, where: str, findings: Findings
) -> None:
    shape, nnz = _attribute(file, "shape"), _attribute(file, "nnz")
    real = [len(features.ids), len(samples.ids)]
    if shape != real:
        value = f"{shape}; there are {real[0]:,} features and {real[1]:,} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, attribute shape", value)
    if nnz != [samples.data.size]:
        value = f"{nnz[0] if nnz else nnz}; there are {samples.data.size:,} entries"
        findings.add(rules.BIOM_NNZ, f"{where}, attribute nnz", value)
    for axis in _AXES:
        if file[axis].get("metadata", getclass=True) is not h5py.Group:
            findings.add(rules.BIOM_METADATA_MISSING, f"{where}, {axis}/metadata")


def _attribute(file: h5py.File, name: str) -> list[int] | None:
    """Read an attribute of one or two whole numbers; None where it is missing or something else."""
    if name not in file.attrs:
        return None
    stored = file.attrs.get_id(name)
    if stored.dtype.kind not in "iu" or stored.get_storage_size() > 64:
        return None
    return [int(number) for number in np.ravel(file.attrs[name])]
