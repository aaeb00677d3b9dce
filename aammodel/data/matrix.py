"""Open the precomputed distances of a shard set, after comparing them with the manifest."""

import hashlib
import os
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular
from aam_schemas.manifest import ShardFile

_DAMAGED = (
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
"""Errors that numpy raises for a damaged header."""


def open_matrix(path: Path, listed: ShardFile, num_samples: int) -> npt.NDArray[np.floating]:
    """Return the matrix of a .npy file, memory-mapped.

    Parameters
    ----------
    path : Path
    listed : ShardFile
        Its entry in the manifest.
    num_samples : int

    Returns
    -------
    ndarray of floating-point numbers, shape (samples, samples)

    Raises
    ------
    InvalidDataError
        If the file is not the one that the manifest lists, or has another shape or type.
    """
    with open_regular(path) as file:
        _compare(file, path, listed)
        file.seek(0)
        try:
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read_header(file)
        except _DAMAGED as error:
            raise _invalid(f"it is not a .npy file: {error}", path) from error
        start, size = file.tell(), dtype.itemsize * num_samples**2
        if shape != (num_samples, num_samples) or dtype.kind != "f" or is_fortran:
            order = " in the order of columns" if is_fortran else ""
            raise _invalid(
                f"it has shape {shape} and type {dtype}{order}; floating-point numbers of shape "
                f"{(num_samples, num_samples)} are needed, in the order of rows",
                path,
            )
        if start + size != listed.bytes:
            raise _invalid(f"it has {listed.bytes:,} bytes, and {start + size:,} by its header", path)
        return np.asarray(np.memmap(file, dtype=dtype, mode="r", offset=start, shape=shape))


def check_sha256(path: Path, listed: ShardFile) -> None:
    """Compare the size and SHA-256 of a whole file with the manifest.

    Raises
    ------
    InvalidDataError
        If they differ, or the file cannot be opened.
    """
    with open_regular(path) as file:
        _compare(file, path, listed)


def _compare(file: Any, path: Path, listed: ShardFile) -> None:
    is_as_long = os.fstat(file.fileno()).st_size == listed.bytes
    if not is_as_long or hashlib.file_digest(file, "sha256").hexdigest() != listed.sha256:
        raise InvalidDataError(
            "this file is not the one that the manifest lists: it was changed or truncated",
            str(path),
            "copy the whole folder again, or make it again with `aamprep shard`",
        )


def _invalid(what: str, path: Path) -> InvalidDataError:
    return InvalidDataError(what, str(path), "make the shards again with `aamprep shard`")
