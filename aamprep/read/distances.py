"""Distance matrices as scikit-bio and QIIME 2 write them: tab-separated, ids in the header and first column.

Format: https://scikit.bio/docs/latest/generated/skbio.io.format.lsmat.html
"""

import numpy as np
import numpy.typing as npt

from aamprep import rules
from aamprep.findings import Findings
from aamprep.read.source import RefusedError

_TOLERANCE = 1e-9


def parse_distances(
    text: str, where: str, findings: Findings
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Parse a distance matrix.

    Returns
    -------
    ids : tuple of str
    matrix : ndarray of float64, shape (ids, ids)

    Raises
    ------
    RefusedError
        If it is not square, or its rows and columns are not the same samples.
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
    if len(set(ids)) < len(ids) or "" in ids:
        problem = "an id is empty or occurs twice"
        raise RefusedError(rules.DISTANCES_ID, f"{where}, line {rows[0][0]}", problem)
    matrix = np.empty((len(ids), len(ids)))
    for position, (number, line) in enumerate(rows[1:]):
        matrix[position] = _row(line, ids[position], len(ids), f"{where}, line {number}")
    _check(matrix, ids, where, findings)
    return tuple(ids), matrix


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


def _check(matrix: npt.NDArray[np.float64], ids: list[str], where: str, findings: Findings) -> None:
    bad = ~np.isfinite(matrix) | (matrix < 0)
    with np.errstate(invalid="ignore"):
        bad |= np.abs(matrix - matrix.T) > _TOLERANCE
    bad |= np.diag(np.diag(matrix) != 0)
    cells = np.argwhere(bad)
    if len(cells):
        row, column = cells[0]
        place = f"{where}: {ids[row]} to {ids[column]}"
        findings.add(rules.DISTANCES_VALUE, place, f"{matrix[row, column]:g}; {len(cells):,} such cells")
