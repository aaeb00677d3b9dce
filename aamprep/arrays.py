"""Array types, and functions for arrays on disk."""

import mmap
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

LARGEST_COUNT = 2.0**53
"""Largest valid count. Up to it, float64 represents every whole number exactly."""


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a .npy file. Unlike that of `np.save`, the error names the file if the disk is full."""
    with new_array(path, array.dtype, array.shape) as file:
        file.write(np.ascontiguousarray(array).data)


def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> IO[bytes]:
    """Open a .npy file for writing, with its header written. Append the values to it.

    A memory-mapped file would be simpler, but its written pages would count as memory of the process.
    """
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Free the memory of a memory-mapped array. Later reads load its pages from the file again.

    Without this call, pages that were read count as memory of the process until the system needs the memory.
    """
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
