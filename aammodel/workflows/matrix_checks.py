"""Check the output of `aammodel distances` before the distances are computed."""

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.folders import HDF5
from aam_schemas.common.ids import has_control, lost_in_text
from aam_schemas.common.json_files import open_regular
from aammodel.workflows.output_file import check_output_file, start_of

SUFFIXES = (".tsv", ".h5", ".hdf5", ".npy")


def check_suffix(path: Path) -> None:
    """Refuse a file name with an unknown suffix, since the suffix chooses the format.

    Raises
    ------
    UsageError
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"the suffix {path.suffix!r} is not a format of distance matrices",
            str(path),
            "name it distances.tsv for scikit-bio and QIIME 2, distances.h5, or distances.npy",
        )


def check_output(path: Path, overwrite: bool, shards: Path) -> None:
    """Refuse an output file that cannot be written, or that exists already and may not be replaced.

    Call it before the distances are computed, which can take hours.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Whether files that hold distances or their ids may be replaced.
    shards : Path
        The shard set that is read. Nothing is written into it.

    Raises
    ------
    UsageError
    """
    command = "aammodel distances"
    check_output_file(path, overwrite, (shards,), _holds_distances, command)
    if path.suffix == ".npy":
        check_output_file(ids_file(path), overwrite, (shards,), lambda file: _lists_ids(file, path), command)


def check_ids(path: Path, sample_ids: Sequence[str], *, comments: bool = False) -> None:
    """Refuse ids that would not be read back from a file. HDF5 alone holds blanks at the ends of an id.

    Parameters
    ----------
    path : Path
        The suffix is the format.
    sample_ids : sequence of str
    comments : bool
        Whether QIIME 2 reads the file as metadata, where a row that begins with `#` is a comment.

    Raises
    ------
    UsageError
    """
    is_hdf5 = path.suffix in (".h5", ".hdf5")
    lost = lost_in_text(filter(has_control, sample_ids) if is_hdf5 else sample_ids, comments=comments)
    if lost:
        can_help = "" if comments or any(map(has_control, sample_ids)) else "write an .h5 file, or "
        fix = f"{can_help}rename the sample in the table, and shard it again"
        raise UsageError(f"{lost}, so other programs could not read it back", str(path), fix)


def _holds_distances(path: Path) -> bool:
    """Return whether a regular file has the content that its suffix says, as far as its beginning shows."""
    if path.suffix == ".npy":
        return _rows_of_npy(path) is not None
    if path.suffix in (".h5", ".hdf5"):
        start = start_of(path)
        return start.startswith(HDF5) and b"order\0" in start and b"matrix\0" in start
    header, _, rest = start_of(path).partition(b"\n")
    ids, row = header.split(b"\t")[1:], rest.split(b"\t")
    # After the names of the columns, the first row has the first id, or a sample and its number.
    return header.startswith(b"\t") and (not rest or row[0] == ids[0] or len(ids) == 1)


def _rows_of_npy(path: Path) -> int | None:
    """Return the number of rows of a matrix of ours. None if a file holds another array, or none."""
    start = io.BytesIO(start_of(path))
    try:
        version = np.lib.format.read_magic(start)
        if version != (1, 0):
            return None
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(start)
    except ValueError:
        return None
    is_square = len(shape) == 2 and shape[0] == shape[1] and not is_fortran
    return shape[0] if is_square and dtype == np.float64 else None


def _lists_ids(file: Path, path: Path) -> bool:
    """Return whether a regular file has as many lines as the matrix beside it has rows."""
    rows = _rows_of_npy(path)
    if rows is None:
        return False
    try:
        with open_regular(file) as lines:
            return sum(1 for _ in islice(lines, rows + 1)) == rows
    except InvalidDataError:
        return False


def ids_file(path: Path) -> Path:
    """Return the path of the sample ids beside an npy file, which has no room for them.

    The file has one id per line, in the order of the rows.
    """
    return path.with_suffix(".ids.txt")
