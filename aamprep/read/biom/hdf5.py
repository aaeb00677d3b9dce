"""BIOM 2.0 and 2.1 in HDF5 (https://biom-format.org/documentation/format_versions/biom-2.1.html).

The file holds the matrix twice, by sample (`sample/matrix`) and by feature (`observation/matrix`), both in
compressed sparse form. The structure is checked before the entries are read. Both matrices are read in slices
and compared. Taxonomy and other metadata are not read.

What carries no data may differ from the specification: attributes may be missing or of another type, numbers
and text of any type, and one of the two matrices may be missing.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import is_disk_full
from aam_schemas.common.text import shorten
from aamprep.arrays import LARGEST_COUNT, Float64Array, Int64Array
from aamprep.read.biom.consistency import Fingerprint, refuse_disagreement
from aamprep.read.biom.hdf5_guard import open_dataset, open_group, refuse_foreign_parts
from aamprep.read.biom.spool import SLICE, TableWriter, as_counts, check_ids, check_indptr, refuse_too_many
from aamprep.read.source import Limits, RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings

_IDS_AT_ONCE = 4096
_AXES = {"sample": "sample", "observation": "feature"}
"""Name of each axis in the file, and in our findings."""
_VERSION = re.compile(r"(?:^|\s)2(?:\.[01](?:\.\d+)*)?\s*$")
"""Text of a version that can be read: R's rbiom writes 2.1 as 2, 1, 0."""
_LARGEST_ATTRIBUTE = 64
"""In bytes. Those that are read hold one to three numbers, or a short text."""

_Entries = tuple[Int64Array, Int64Array, Float64Array]
"""Row, column and count of entries."""


@dataclass(frozen=True)
class _Matrix:
    """The matrix in one orientation, with a row for each id of its axis."""

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
    arrays = _open_arrays(file, where, findings, limits)
    refuse_too_many(arrays["sample/ids"].size, arrays["observation/ids"].size, where)
    _check_version(file, where, findings)
    sample_ids, feature_ids = (_read_ids(arrays[f"{axis}/ids"], axis, where, findings) for axis in _AXES)
    shape = len(sample_ids), len(feature_ids)
    matrices = [_open_matrix(arrays, axis, number, where) for axis, number in zip(_AXES, shape, strict=True)]
    samples, features = matrices
    _check_shape(file, shape, where, findings)

    indptr, entries = _by_sample(samples, features, shape)
    by_sample, by_feature = Fingerprint(*shape), Fingerprint(*shape)
    num_non_zero = 0
    with closing(TableWriter(folder, sample_ids, feature_ids, indptr)) as writer:
        for sample, feature, count in entries:
            writer.write(feature, count)
            by_sample.add(sample, feature, count)
            num_non_zero += int(np.count_nonzero(count))
        for feature, sample, count in _slices(features, shape[0]) if samples and features else ():
            by_feature.add(sample, feature, count)
        writer.finish(where, findings)
    _check_nnz(file, [matrix.data.size for matrix in matrices if matrix], num_non_zero, where, findings)
    if samples and features:
        refuse_disagreement(by_sample, by_feature, sample_ids, feature_ids, where)


def _open_arrays(file: h5py.File, where: str, findings: Findings, limits: Limits) -> dict[str, h5py.Dataset]:
    """Open the arrays of a table. Refuse external arrays, and those larger than the limits allow."""
    arrays = {}
    groups = {axis: open_group(file, axis, where) for axis in _AXES}
    missing = [axis for axis, group in groups.items() if group.get("matrix", getlink=True) is None]
    if len(missing) == 1:
        findings.add(rules.BIOM_ONE_MATRIX, f"{where}, {missing[0]}/matrix", "missing")
    for axis, group in groups.items():
        arrays[f"{axis}/ids"] = open_dataset(group, "ids", f"{where}, {axis}", limits)
        if group.get("metadata", getclass=True) is not h5py.Group:
            findings.add(rules.BIOM_METADATA_MISSING, f"{where}, {axis}/metadata")
        if missing == [axis]:
            continue
        matrix = open_group(group, "matrix", f"{where}, {axis}")
        for name in ("data", "indices", "indptr"):
            arrays[f"{axis}/{name}"] = open_dataset(matrix, name, f"{where}, {axis}/matrix", limits)
    total = sum(array.size * array.dtype.itemsize for array in arrays.values())
    if total > limits.declared_bytes:
        raise RefusedError(rules.FILE_TOO_LARGE, where, f"declares {total:,} bytes in total")
    return arrays


def _open_matrix(arrays: dict[str, h5py.Dataset], axis: str, num_rows: int, where: str) -> _Matrix | None:
    """Open the matrix of an axis. None if the file has only the other one."""
    if f"{axis}/data" not in arrays:
        return None
    location = f"{where}, {axis}/matrix"
    indptr, indices, data = (arrays[f"{axis}/{name}"] for name in ("indptr", "indices", "data"))
    _check_type(indptr, "iuf", f"{location}/indptr")
    _check_type(indices, "iuf", f"{location}/indices")
    _check_type(data, "biuf", f"{location}/data")
    if indices.size != data.size:
        raise RefusedError(rules.BIOM_LENGTH, location, f"{indices.size:,} indices and {data.size:,} values")
    offsets = _as_whole(indptr[:], f"{location}/indptr").astype(np.int64)
    check_indptr(offsets, num_rows, data.size, f"{location}/indptr")
    return _Matrix(offsets, indices, data, location)


def _by_sample(
    samples: _Matrix | None, features: _Matrix | None, shape: tuple[int, int]
) -> tuple[Int64Array, Iterable[_Entries]]:
    """Return the offsets of the samples, and all entries in slices: sample, feature and count, by sample."""
    if samples is not None:
        return samples.indptr, _slices(samples, shape[1])
    assert features is not None
    # The entries are in the order of the features. They are sorted in memory.
    parts = list(_slices(features, shape[0]))
    feature, sample, count = (
        np.concatenate([np.empty(0, dtype), *(part[index] for part in parts)])
        for index, dtype in enumerate((np.int64, np.int64, np.float64))
    )
    order = np.argsort(sample, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=shape[0]))]).astype(np.int64)
    pieces = (order[start : start + SLICE] for start in range(0, len(order), SLICE))
    return indptr, ((sample[piece], feature[piece], count[piece]) for piece in pieces)


def _slices(matrix: _Matrix, num_columns: int) -> Iterator[_Entries]:
    """Yield the row, column and count of the entries of a matrix, in slices."""
    for start in range(0, matrix.data.size, SLICE):
        column = _as_whole(matrix.indices[start : start + SLICE], f"{matrix.where}/indices", start)
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


def _as_whole(values: npt.NDArray[Any], where: str, start: int = 0) -> npt.NDArray[Any]:
    """Return numbers as integers. R stores whole numbers as floating-point numbers.

    Raises
    ------
    RefusedError
        If a number is not whole. `start` is the position of the first one in its array.
    """
    if values.dtype.kind != "f":
        return values
    numbers = values.astype(np.float64)
    bad = np.flatnonzero(~(np.abs(numbers) <= LARGEST_COUNT) | (np.floor(numbers) != numbers))
    if len(bad):
        first = int(bad[0])
        raise RefusedError(rules.BIOM_TYPE, f"{where}[{start + first}]", f"{numbers[first]:g}")
    return numbers.astype(np.int64)


def _read_ids(array: h5py.Dataset, axis: str, where: str, findings: Findings) -> list[str]:
    """Return ids as text, from text or integers of any type."""
    location = f"{where}, {axis}/ids"
    if array.ndim != 1:
        raise RefusedError(rules.BIOM_TYPE, location, f"{array.ndim} dimensions")
    if array.size and h5py.check_string_dtype(array.dtype) is None and array.dtype.kind not in "iu":
        raise RefusedError(rules.BIOM_TYPE, location, array.dtype)
    ids: list[str] = []
    for start in range(0, array.size, _IDS_AT_ONCE):
        for name in array[start : start + _IDS_AT_ONCE].tolist():
            try:
                ids.append(name.decode("utf-8") if isinstance(name, bytes) else str(name))
            except UnicodeDecodeError:
                raise RefusedError(rules.ID_NOT_TEXT, f"{location}[{len(ids)}]", name[:60]) from None
    check_ids(ids, _AXES[axis], where, findings)
    return ids


def _check_version(file: h5py.File, where: str, findings: Findings) -> None:
    parts = _attribute(file, "format-version")
    location = f"{where}, attribute format-version"
    if parts is None:
        findings.add(rules.BIOM_ATTRIBUTE, location, "missing")
        return
    version = ".".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
    if not _VERSION.search(version):
        raise RefusedError(rules.BIOM_VERSION, location, shorten(version))


def _check_shape(file: h5py.File, shape: tuple[int, int], where: str, findings: Findings) -> None:
    declared = _numbers(file, "shape", where, findings)
    if declared is not None and declared != [shape[1], shape[0]]:
        value = f"{declared}; there are {shape[1]:,} features and {shape[0]:,} samples"
        findings.add(rules.BIOM_SHAPE, f"{where}, attribute shape", value)


def _check_nnz(
    file: h5py.File, num_entries: list[int], num_non_zero: int, where: str, findings: Findings
) -> None:
    """Compare `nnz` with the numbers of entries. Zeros that are stored may be counted or not."""
    declared = _numbers(file, "nnz", where, findings)
    if declared is not None and declared not in [[number] for number in (*num_entries, num_non_zero)]:
        value = f"{declared[0] if len(declared) == 1 else declared}; there are {num_entries[0]:,} entries"
        findings.add(rules.BIOM_NNZ, f"{where}, attribute nnz", value)


def _numbers(file: h5py.File, name: str, where: str, findings: Findings) -> list[float] | None:
    """Return the numbers of an attribute. None, with a finding, if it is missing or has other content."""
    parts = _attribute(file, name)
    if parts is None or not all(isinstance(part, int | float) for part in parts):
        value = "missing" if parts is None else f"{shorten(parts)}; not a number"
        findings.add(rules.BIOM_ATTRIBUTE, f"{where}, attribute {name}", value)
        return None
    return [int(part) if float(part).is_integer() else part for part in parts]


def _attribute(file: h5py.File, name: str) -> list[Any] | None:
    """Return the numbers or texts of an attribute, or its type if it holds others. None if missing."""
    if name not in file.attrs:
        return None
    stored = file.attrs.get_id(name)
    is_text = h5py.check_string_dtype(stored.dtype) is not None
    if stored.get_storage_size() > _LARGEST_ATTRIBUTE or not (is_text or stored.dtype.kind in "iuf"):
        return [f"{stored.dtype} of {stored.get_storage_size():,} bytes"]
    parts = np.ravel(file.attrs[name]).tolist()
    return [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in parts]
