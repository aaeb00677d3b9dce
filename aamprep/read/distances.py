"""Distance matrices, in three formats.

- Text of scikit-bio and QIIME 2: tab-separated, with the ids in the header and the first column
  (https://scikit.bio/docs/latest/generated/skbio.io.format.lsmat.html).
- HDF5 of unifrac-binaries: ids in `order`, distances in `matrix` (https://github.com/biocore/unifrac-binaries).
- NumPy: distances in `X.npy`, ids in `X.ids.txt`, one per line.
"""

import os
from collections.abc import Iterator, Sequence

import h5py
import numpy as np
import numpy.typing as npt

from aam_schemas.common.text import shorten
from aamprep.read.biom.hdf5_guard import open_dataset, refuse_foreign_parts
from aamprep.read.ids import refuse_control
from aamprep.read.lines import filled_lines
from aamprep.read.npy import open_npy
from aamprep.read.source import Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules

_TOLERANCE = 1e-9
"""Allowed difference between the two values of a pair, which text formats may round differently."""

_VALUES_AT_ONCE = 1 << 20
"""Number of values that are checked together."""


def parse_distances(text: str, where: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Parse a distance matrix from text.

    Parameters
    ----------
    text : str
    where : str
        Name of the file, for findings.

    Returns
    -------
    ids : tuple of str
    matrix : ndarray of float64, shape (ids, ids)

    Raises
    ------
    RefusedError
        If the matrix is not square, its rows and columns are not the same samples, or a value is invalid.
    """
    lines = filled_lines(text, where)
    number, header = next(((number, line) for number, line in lines if not line.startswith("#")), (0, ""))
    if not number:
        raise RefusedError(rules.DISTANCES_FORMAT, where, "no rows")
    ids = [cell.strip() for cell in header.split("\t")[1:]]
    num_ids, first_cell = len(ids), header.partition("\t")[0]
    num_rows = sum(1 for _ in _rows(text, where, number, ids))
    if first_cell.strip() or num_rows != num_ids:
        value = f"{num_ids} ids in the header, {num_rows} rows; its first cell: {first_cell[:40]!r}"
        raise RefusedError(rules.DISTANCES_FORMAT, f"{where}, line {number}", value)
    # A row has a tab and a digit for each sample. So the matrix is never much larger than the text.
    if 2 * num_ids**2 > len(text):
        value = f"{num_ids} ids, but only {len(text):,} characters"
        raise RefusedError(rules.DISTANCES_FORMAT, where, value)
    _check_ids(ids, f"{where}, line {number}")
    matrix = np.empty((num_ids, num_ids))
    for index, (line_number, line) in enumerate(_rows(text, where, number, ids)):
        matrix[index] = _parse_row(line, ids[index], num_ids, f"{where}, line {line_number}")
    _check_values(matrix, ids, where)
    return tuple(ids), matrix


def _rows(text: str, where: str, header: int, ids: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the rows below the header that are neither blank nor comments, each with its line number.

    A line that begins with `#` is a comment, unless it begins with the id of the next sample: scikit-bio
    knows no comments below the header.
    """
    waiting = iter(ids)
    expected = next(waiting, None)
    for number, line in filled_lines(text, where):
        is_comment = line.startswith("#") and line.partition("\t")[0].strip() != expected
        if number > header and not is_comment:
            yield number, line
            expected = next(waiting, None)


def read_npy(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return what `parse_distances` does, from `X.npy` and `X.ids.txt`."""
    ids_path = source.path.with_suffix(".ids.txt")
    if not ids_path.is_file():
        value = f"{ids_path.name} is missing; it lists the sample id of each row, one per line"
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, value)
    try:
        before = ids_path.stat()
        array = open_npy(source.path)
        size = before.st_size
        check_size(size, size, f"{source.name}, {ids_path.name}", limits)
        text = ids_path.read_text(encoding="utf-8-sig")
        # `aammodel distances` removes the ids before it replaces the matrix, and writes new ids after it.
        is_pair = os.path.samestat(before, ids_path.stat())
    except (OSError, ValueError) as error:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, error) from None
    if not is_pair:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, "it was replaced while it was read")
    num_ids = sum(1 for _ in filled_lines(text, ids_path.name))
    _check_shape(array, num_ids, source.name)
    names = [line.strip() for _, line in filled_lines(text, ids_path.name)]
    return _read_matrix(array, names, source.name, limits)


def read_hdf5(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return what `parse_distances` does, from an HDF5 file of unifrac-binaries."""
    try:
        with h5py.File(source.path, "r") as file:
            refuse_foreign_parts(file, source.name)
            # Files with several subsampled matrices number them. The first one is read.
            name = "matrix:0" if "matrix:0" in file else "matrix"
            order = open_dataset(file, "order", source.name, limits)
            matrix = open_dataset(file, name, source.name, limits)
            _check_shape(matrix, order.size, source.name)
            names = [name.decode() if isinstance(name, bytes) else str(name) for name in order[()].tolist()]
            return _read_matrix(matrix, names, source.name, limits)
    except RefusedError as refused:
        # `open_dataset` reports a missing array in the terms of BIOM tables.
        if refused.rule is rules.BIOM_PART_MISSING:
            raise RefusedError(rules.DISTANCES_FORMAT, refused.where, refused.value) from None
        raise
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, error) from None


def _read_matrix(
    array: npt.NDArray[np.generic] | h5py.Dataset,
    names: list[str],
    where: str,
    limits: Limits,
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Check the ids of an array that is not in memory yet, then read and check its values."""
    _check_ids(names, where)
    size = 8 * len(names) ** 2
    check_size(size, size, where, limits)
    matrix = np.asarray(array[()], dtype=np.float64)
    _check_values(matrix, names, where)
    return tuple(names), matrix


def _check_shape(array: npt.NDArray[np.generic] | h5py.Dataset, num_ids: int, where: str) -> None:
    if array.shape != (num_ids, num_ids) or array.dtype.kind not in "fiu":
        value = f"shape {array.shape} of {array.dtype}, and {num_ids} ids"
        raise RefusedError(rules.DISTANCES_FORMAT, where, value)


def _check_ids(ids: Sequence[str], where: str) -> None:
    if len(set(ids)) < len(ids) or "" in ids:
        raise RefusedError(rules.DISTANCES_ID, where, "an id is empty or a duplicate")
    refuse_control(ids, where)


def _parse_row(line: str, expected: str, num_ids: int, where: str) -> list[float]:
    name, num_cells = line.partition("\t")[0].strip(), line.count("\t")
    if name != expected:
        value = f"{shorten(repr(name))}, but the header has {shorten(repr(expected))} in this position"
        raise RefusedError(rules.DISTANCES_ID, where, value)
    if num_cells != num_ids:
        raise RefusedError(rules.DISTANCES_FORMAT, where, f"{num_cells} values, but {num_ids} samples")
    try:
        return [float(cell) for cell in line.split("\t")[1:]]
    except ValueError as error:
        raise RefusedError(rules.DISTANCES_FORMAT, where, error) from None


def _check_values(matrix: npt.NDArray[np.float64], ids: list[str], where: str) -> None:
    """Check the values, a few rows at a time: comparisons of the whole matrix would take its memory again."""
    number, first = 0, None
    for start in range(0, len(matrix), rows := max(1, _VALUES_AT_ONCE // max(len(matrix), 1))):
        part = matrix[start : start + rows]
        # Shards hold distances as float32, in which larger ones are infinite.
        invalid = ~(part <= np.finfo(np.float32).max) | (part < 0)
        with np.errstate(invalid="ignore"):
            invalid |= np.abs(part - matrix[:, start : start + rows].T) > _TOLERANCE
        at = np.arange(len(part))
        invalid[at, start + at] |= part[at, start + at] != 0
        number += int(invalid.sum())
        if number and first is None:
            row, column = (int(index) for index in np.argwhere(invalid)[0])
            first = start + row, column
    if first is not None:
        row, column = first
        value = f"{matrix[row, column]:g}; {number:,} such cells"
        raise RefusedError(rules.DISTANCES_VALUE, f"{where}: {ids[row]} to {ids[column]}", value)
