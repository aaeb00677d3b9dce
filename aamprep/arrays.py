"""Array types and memory-mapped arrays that several stages share."""

import mmap
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
LARGEST_COUNT = 2.0**53


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a .npy file; unlike `np.save`, the error tells where the disk is full."""
    with new_array(path, array.dtype, array.shape) as file:
        file.write(np.ascontiguousarray(array).data)


def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> IO[bytes]:
    """Begin a .npy file; its numbers are appended (a map for writing would count as memory)."""
    file = path.open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Give back the memory that a mapped array's pages take; reading on fetches them from the file again.

    Without it, what was read counts as memory of the process until the system needs it elsewhere.
    """
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
