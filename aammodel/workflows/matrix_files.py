"""Write distance matrices as text (scikit-bio, QIIME 2), HDF5 (as unifrac-binaries does) or npy."""

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


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse an output file that cannot be written, or that exists already.

    Call it before the distances are computed, which can take hours.

    Raises
    ------
    UsageError
    """
    if not path.absolute().parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "create it, or choose another --output")
    for file in (path, ids_file(path)) if path.suffix == ".npy" else (path,):
        if file.is_dir():
            raise UsageError("this output is a folder, not a file", str(file), "choose another with --output")
        if file.exists() and not overwrite:
            raise UsageError(
                "this file exists already", str(file), "choose another --output, or add --overwrite"
            )


def ids_file(path: Path) -> Path:
    """Return the path of the sample ids beside an npy file, which has no room for them.

    The file has one id per line, in the order of the rows.
    """
    return path.with_suffix(".ids.txt")


@contextmanager
def matrix_on_disk(path: Path, size: int) -> Iterator[Matrix]:
    """Yield a square matrix that is memory-mapped from a temporary file, which is deleted at the end.

    Parameters
    ----------
    path : Path
        Where the matrix will be written. The temporary file is in the same folder, which has the room for it.
    size : int
        Number of rows.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.absolute().parent) as folder:
        file = Path(folder) / "matrix.npy"
        yield np.lib.format.open_memmap(file, mode="w+", dtype=np.float64, shape=(size, size))


def write_matrix(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    """Write a distance matrix in the format of the suffix. A file is never left incomplete.

    Parameters
    ----------
    path : Path
    sample_ids : sequence of str
    matrix : ndarray of float64, shape (samples, samples)
        It may be memory-mapped, since it is read row by row.
    """
    write = {".tsv": _write_text, ".npy": _write_npy}.get(path.suffix, _write_hdf5)
    _write_whole(path, lambda file: write(file, sample_ids, matrix))
    if path.suffix == ".npy":
        _write_whole(ids_file(path), lambda file: _write_lines(file, sample_ids))


def write_per_sample(path: Path, sample_ids: Sequence[str], name: str, values: Matrix) -> None:
    """Write a number per sample as a table that QIIME 2 imports as `SampleData[AlphaDiversity]`.

    Parameters
    ----------
    path : Path
    sample_ids : sequence of str
    name : str
        Name of the column of values.
    values : ndarray of float64, shape (samples,)
    """
    lines = (f"{sample}\t{value!r}" for sample, value in zip(sample_ids, values.tolist(), strict=True))
    _write_whole(path, lambda file: _write_lines(file, ["\t" + name, *lines]))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, and rename it when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_text(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t" + "\t".join(sample_ids) + "\n")
        for sample, row in zip(sample_ids, matrix, strict=True):
            # `repr` writes as many digits as a float64 needs to be read back exactly.
            file.write(sample + "\t" + "\t".join(map(repr, row.tolist())) + "\n")


def _write_hdf5(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    # The names "order" and "matrix" are those of the HDF5 output of unifrac-binaries.
    with h5py.File(path, "w") as file:
        file["order"] = np.array([sample.encode() for sample in sample_ids])
        dataset = file.create_dataset("matrix", matrix.shape, matrix.dtype)
        for row, values in enumerate(matrix):
            dataset[row] = values


def _write_npy(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    # Given a path, numpy would append .npy to the temporary name.
    with path.open("wb") as file:
        np.save(file, matrix)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
