"""Write distance matrices as text (scikit-bio, QIIME 2), HDF5 (as unifrac-binaries does) or npy."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import naming_full_disk
from aam_schemas.common.files import Files
from aam_schemas.common.publish import published_file
from aam_schemas.common.tsv import write_tsv
from aammodel.workflows.matrix_checks import check_ids, ids_file

Matrix = npt.NDArray[np.float64]
_SPACE = "free some space there, or choose another disk with --output"
_FILES = Files()
_HDF5_BYTES = 1 << 16
"""More than HDF5 needs beside the data."""


@contextmanager
def published_matrix(path: Path, sample_ids: Sequence[str], files: Files = _FILES) -> Iterator[Matrix]:
    """Yield a square matrix on disk, to be filled. At the end of the block it is published under a path.

    The suffix chooses the format. A reader sees the old file or the new one. For `.npy`, the ids are removed
    before the matrix is replaced, and written after it. So whoever reads the ids both before and after the
    matrix, and finds the same file, has the ids of that matrix.

    Parameters
    ----------
    path : Path
    sample_ids : sequence of str
    files : Files
        The calls that change the disk.

    Yields
    ------
    ndarray of float64, shape (samples, samples)
        Memory-mapped. Its disk space is allocated.

    Raises
    ------
    UsageError
        If the file cannot be written, its disk is full, or its format cannot hold the ids.
    """
    check_ids(path, sample_ids)
    if path.suffix == ".npy":
        with _published_pair(path, sample_ids, files) as matrix:
            yield matrix
        return
    write = _write_text if path.suffix == ".tsv" else _write_hdf5
    # The scratch file has no name, so nothing is left of it whatever ends this process.
    folder = path.absolute().parent
    with naming_full_disk(str(path), _SPACE), tempfile.TemporaryFile(dir=folder) as scratch:
        size = len(sample_ids)
        allocate(scratch.fileno(), max(8 * size**2, 1))
        matrix = np.memmap(scratch, np.float64, "r+", shape=(size, size)) if size else np.zeros((0, 0))
        yield matrix
        with published_file(path, files) as temporary:
            write(temporary, sample_ids, matrix)


@contextmanager
def _published_pair(path: Path, sample_ids: Sequence[str], files: Files) -> Iterator[Matrix]:
    ids, shape = ids_file(path), (len(sample_ids),) * 2
    with published_file(ids, files) as new_ids:
        _write_lines(new_ids, sample_ids)
        with published_file(path, files) as temporary:
            matrix = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float64, shape=shape)
            with temporary.open("r+b") as file:
                allocate(file.fileno(), temporary.stat().st_size)
            yield matrix
            matrix.flush()
            files.remove(ids)
            files.flush(path.absolute().parent)


def allocate(descriptor: int, size: int) -> None:
    """Allocate the disk space of a file. On a full disk, writing to mapped memory would end the process.

    Raises
    ------
    OSError
        If the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def write_per_sample(path: Path, sample_ids: Sequence[str], name: str, values: Matrix) -> None:
    """Write a number per sample as a table that QIIME 2 imports as `SampleData[AlphaDiversity]`.

    Parameters
    ----------
    path : Path
    sample_ids : sequence of str
    name : str
        Name of the column of values.
    values : ndarray of float64, shape (samples,)

    Raises
    ------
    UsageError
        If QIIME 2 could not read an id back.
    """
    check_ids(path, sample_ids, comments=True)
    with published_file(path) as temporary:
        write_tsv(temporary, ("", name), zip(sample_ids, map(repr, values.tolist()), strict=True))


def _write_text(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t" + "\t".join(sample_ids) + "\n")
        for sample, row in zip(sample_ids, matrix, strict=True):
            # `repr` writes as many digits as a float64 needs to be read back exactly.
            file.write(sample + "\t" + "\t".join(map(repr, row.tolist())) + "\n")


def _write_hdf5(path: Path, sample_ids: Sequence[str], matrix: Matrix) -> None:
    """Write HDF5. The values are written without the HDF5 library, which crashes on a full disk."""
    ids = np.array([sample.encode() for sample in sample_ids])
    with path.open("r+b") as file:
        allocate(file.fileno(), matrix.nbytes + ids.nbytes + _HDF5_BYTES)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # The names "order" and "matrix" are those of the HDF5 output of unifrac-binaries.
    # The HDF5 library would lock the file, and this process already has.
    with h5py.File(path, "w", locking=False) as file:
        file["order"] = ids
        space, type_ = h5py.h5s.create_simple(matrix.shape), h5py.h5t.py_create(matrix.dtype)
        first = h5py.h5d.create(file.id, b"matrix", type_, space, early).get_offset()
    with path.open("r+b") as file:
        file.seek(first or 0)
        for row in matrix:
            file.write(row.tobytes())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
