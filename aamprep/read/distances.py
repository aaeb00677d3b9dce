"""Distance matrices: as scikit-bio and QIIME 2 write them, as unifrac-binaries does, and numpy's arrays.

Text: tab-separated, ids in the header and first column,
https://scikit.bio/docs/latest/generated/skbio.io.format.lsmat.html. HDF5: `order` (ids) and `matrix`,
https://github.com/biocore/unifrac-binaries. `X.npy` has its ids in `X.ids.txt`, one a line.
"""

from collections.abc import Sequence

import h5py
import numpy as np
import numpy.typing as npt

from aamprep.read.biom.hdf5_guard import dataset_in
from aamprep.read.npy import open_npy
from aamprep.read.source import Limits, RefusedError, Source, check_size
from aamprep.rules import tables as rules

_TOLERANCE = 1e-9


def parse_distances(text: str, where: str) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Parse a distance matrix.

    Returns
    -------
    ids : tuple of str
    matrix : ndarray of float64, shape (ids, ids)

    Raises
    ------
    RefusedError
        If it is not square, its rows and columns are not the same samples, or a value is no distance.
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
    for position, (number, line) in enumerate(rows[1:]):
        matrix[position] = _row(line, ids[position], len(ids), f"{where}, line {number}")
    _check(matrix, ids, where)
    return tuple(ids), matrix


def read_npy(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Read a matrix from `X.npy`, and its ids from `X.ids.txt`; as `parse_distances`."""
    ids_path = source.path.with_suffix(".ids.txt")
    if not ids_path.is_file():
        value = f"there is no {ids_path.name} beside it, with the sample of each row, one a line"
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, value)
    try:
        array = open_npy(source.path)
        ids = ids_path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, error) from None
    names = [one.strip() for one in ids if one.strip()]
    return _matrix(array, names, source.name, limits)


def read_hdf5(source: Source, limits: Limits) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Read a matrix that unifrac-binaries wrote; as `parse_distances`."""
    try:
        with h5py.File(source.path, "r") as file:
            name = "matrix:0" if "matrix:0" in file else "matrix"
            order = dataset_in(file, "order", source.name, limits)
            matrix = dataset_in(file, name, source.name, limits)
            names = [one.decode() if isinstance(one, bytes) else str(one) for one in order[()].tolist()]
            return _matrix(matrix, names, source.name, limits)
    except RefusedError as refused:
        if refused.rule is rules.BIOM_PART_MISSING:
            raise RefusedError(rules.DISTANCES_FORMAT, refused.where, refused.value) from None
        raise
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError) as error:
        raise RefusedError(rules.DISTANCES_FORMAT, source.name, error) from None


def _matrix(
    array: npt.NDArray[np.generic] | h5py.Dataset,
    names: list[str],
    where: str,
    limits: Limits,
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Hold an array that is not yet in memory against its ids, then read and check it."""
    if array.shape != (len(names), len(names)) or array.dtype.kind not in "fiu":
        value = f"shape {array.shape} of {array.dtype}, and {len(names)} ids"
        raise RefusedError(rules.DISTANCES_FORMAT, where, value)
    _check_ids(names, where)
    size = 8 * len(names) ** 2
    check_size(size, size, where, limits)
    matrix = np.asarray(array[()], dtype=np.float64)
    _check(matrix, names, where)
    return tuple(names), matrix


def _check_ids(ids: Sequence[str], where: str) -> None:
    if len(set(ids)) < len(ids) or "" in ids:
        raise RefusedError(rules.DISTANCES_ID, where, "an id is empty or occurs twice")


def _row(line: str, expected: str, num_ids: int, where: str) -> list[float]:
    name, *cells = line.rstrip("\r\n").split("\t")
    if name.strip() != expected:
        value = f"{name.strip()!r}, but the header has {expected!r} here"
        raise RefusedError(rules.DISTANCES_ID, where, value)
    if len(cells) != num_ids:
        raise RefusedError(rules.DISTANCES_FORMAT, where, f"{len(cells)} values, but {num_ids} samples")
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise RefusedError(rules.DISTANCES_FORMAT, where, error) from None


def _check(matrix: npt.NDArray[np.float64], ids: list[str], where: str) -> None:
    bad = ~np.isfinite(matrix) | (matrix < 0)
    with np.errstate(invalid="ignore"):
        bad |= np.abs(matrix - matrix.T) > _TOLERANCE
    bad |= np.diag(np.diag(matrix) != 0)
    cells = np.argwhere(bad)
    if len(cells):
        row, column = cells[0]
        place = f"{where}: {ids[row]} to {ids[column]}"
        value = f"{matrix[row, column]:g}; {len(cells):,} such cells"
        raise RefusedError(rules.DISTANCES_VALUE, place, value)
