"""Distance matrices, in three formats.

- Text of scikit-bio and QIIME 2: tab-separated, with the ids in the header and the first column
  (https://scikit.bio/docs/latest/generated/skbio.io.format.lsmat.html).
- HDF5 of unifrac-binaries: ids in `order`, distances in `matrix` (https://github.com/biocore/unifrac-binaries).
- NumPy: distances in `X.npy`, ids in `X.ids.txt`, one per line.
"""

from collections.abc import Sequence

import h5py
import numpy as np
import numpy.typing as npt

from aamprep.read.biom.hdf5_guard import open_dataset
from aamprep.read.npy import open_npy
from aamprep.read.source import Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules

_TOLERANCE = 1e-9
"""Allowed difference between the two values of a pair, which text formats may round differently."""


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
    lines = enumerate(text.splitlines(), 1)
    rows = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    if not rows:
        raise RefusedError(rules.DISTANCES_FORMAT, where, "no rows")
    header = rows[0][1].split("\t")
    ids = [cell.strip() for cell in header[1:]]
    if header[0].strip() or len(rows) - 1 != len(ids):
        value = f"{len(ids)} ids in the header, {len(rows) - 1} rows; its first cell: {header[0][:40]!r}"
        raise RefusedError(rules.DISTANCES_FORMAT, f"{where}, line {rows[0][0]}", value)
    _check_ids(ids, f"{where}, line {rows[0][0]}")
    matrix = np.empty((len(ids), len(ids)))
    for index, (number, line) in enumerate(rows[1:]):
        matrix[index] = _parse_row(line, ids[index], len(ids), f"{where}, line {number}")
    _check_values(matrix, ids, where)
    return tuple(ids), matrix


def read_npy(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return what `parse_distances` does, from `X.npy` and `X.ids.txt`."""
    ids_path = source.path.with_suffix(".ids.txt")
    if not ids_path.is_file():
        value = f"{ids_path.name} is missing; it lists the sample id of each row, one per line"
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, value)
    try:
        array = open_npy(source.path)
        ids = ids_path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, error) from None
    names = [line.strip() for line in ids if line.strip()]
    return _read_matrix(array, names, source.name, limits)


def read_hdf5(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return what `parse_distances` does, from an HDF5 file of unifrac-binaries."""
    try:
        with h5py.File(source.path, "r") as file:
            # Files with several subsampled matrices number them. The first one is read.
            name = "matrix:0" if "matrix:0" in file else "matrix"
            order = open_dataset(file, "order", source.name, limits)
            matrix = open_dataset(file, name, source.name, limits)
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
    """Check an array that is not in memory yet against its ids, then read and check its values."""
    if array.shape != (len(names), len(names)) or array.dtype.kind not in "fiu":
        value = f"shape {array.shape} of {array.dtype}, and {len(names)} ids"
        raise RefusedError(rules.DISTANCES_FORMAT, where, value)
    _check_ids(names, where)
    size = 8 * len(names) ** 2
    check_size(size, size, where, limits)
    matrix = np.asarray(array[()], dtype=np.float64)
    _check_values(matrix, names, where)
    return tuple(names), matrix


def _check_ids(ids: Sequence[str], where: str) -> None:
    if len(set(ids)) < len(ids) or "" in ids:
        raise RefusedError(rules.DISTANCES_ID, where, "an id is empty or a duplicate")


def _parse_row(line: str, expected: str, num_ids: int, where: str) -> list[float]:
    name, *cells = line.rstrip("\r\n").split("\t")
    if name.strip() != expected:
        value = f"{name.strip()!r}, but the header has {expected!r} in this position"
        raise RefusedError(rules.DISTANCES_ID, where, value)
    if len(cells) != num_ids:
        raise RefusedError(rules.DISTANCES_FORMAT, where, f"{len(cells)} values, but {num_ids} samples")
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise RefusedError(rules.DISTANCES_FORMAT, where, error) from None


def _check_values(matrix: npt.NDArray[np.float64], ids: list[str], where: str) -> None:
    invalid = ~np.isfinite(matrix) | (matrix < 0)
    with np.errstate(invalid="ignore"):
        invalid |= np.abs(matrix - matrix.T) > _TOLERANCE
    invalid |= np.diag(np.diag(matrix) != 0)
    cells = np.argwhere(invalid)
    if len(cells):
        row, column = cells[0]
        value = f"{matrix[row, column]:g}; {len(cells):,} such cells"
        raise RefusedError(rules.DISTANCES_VALUE, f"{where}: {ids[row]} to {ids[column]}", value)
