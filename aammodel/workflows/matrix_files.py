"""Distance matrices as files: text for scikit-bio and QIIME 2, HDF5 as unifrac-binaries has it, or npy."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError

Matrix = npt.NDArray[np.float64]
SUFFIXES = (".tsv", ".h5", ".hdf5", ".npy")


def check_suffix(path: Path) -> None:
    """Refuse a file whose name does not tell its format.

    Raises
    ------
    UsageError
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"the name does not tell the format: it ends with none of {', '.join(SUFFIXES)}",
            str(path),
            "name it distances.tsv for scikit-bio and QIIME 2, distances.h5, or distances.npy",
        )


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or would replace another, before any work is done.

    Raises
    ------
    UsageError
    """
    if not path.absolute().parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "make it, or name another --output")
    for one in (path, ids_file(path)) if path.suffix == ".npy" else (path,):
        if one.is_dir():
            raise UsageError("this output is a folder, not a file", str(one), "choose another with --output")
        if one.exists() and not overwrite:
            raise UsageError("this exists already", str(one), "name another file, or add --overwrite")


def ids_file(path: Path) -> Path:
    """Name the file that holds the ids of a matrix in numpy's format: one a line, in the order of rows."""
    return path.with_suffix(".ids.txt")


@contextmanager
def matrix_on_disk(path: Path, size: int) -> Iterator[Matrix]:
    """Give a matrix of NaN that lies in a file beside where it will be written, and goes at the end."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.absolute().parent) as folder:
        file = Path(folder) / "matrix.npy"
        yield np.lib.format.open_memmap(file, mode="w+", dtype=np.float64, shape=(size, size))


def write_matrix(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    """Write a distance matrix in the format that the file's name tells; it appears whole or not at all.

    Parameters
    ----------
    path : Path
    sample_ids : sequence of str
    matrix : ndarray of float64, shape (samples, samples)
        May be memory-mapped: it is read row by row.
    """
    write = {".tsv": _write_text, ".npy": _write_npy}.get(path.suffix, _write_hdf5)
    _whole(path, lambda file: write(file, sample_ids, matrix))
    if path.suffix == ".npy":
        _whole(ids_file(path), lambda file: _write_lines(file, sample_ids))


def write_per_sample(path: Path, sample_ids: Sequence[str], name: str, values: Matrix) -> None:
    """Write one number per sample, as QIIME 2 imports `SampleData[AlphaDiversity]`."""
    lines = (f"{one}\t{value!r}" for one, value in zip(sample_ids, values.tolist(), strict=True))
    _whole(path, lambda file: _write_lines(file, ["\t" + name, *lines]))


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_text(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t" + "\t".join(sample_ids) + "\n")
        for name, row in zip(sample_ids, matrix, strict=True):
            file.write(name + "\t" + "\t".join(map(repr, row.tolist())) + "\n")


def _write_hdf5(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    with h5py.File(path, "w") as file:
        file["order"] = np.array([one.encode() for one in sample_ids])
        written = file.create_dataset("matrix", matrix.shape, matrix.dtype)
        for row, values in enumerate(matrix):
            written[row] = values


def _write_npy(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
