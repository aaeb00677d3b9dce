"""Numpy's array files, opened without reading the numbers."""

import tokenize
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DAMAGED = (
    AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError, RecursionError, SyntaxError,
    TypeError, tokenize.TokenError,
)  # fmt: skip
"""What numpy raises for a header that cannot be, beside ValueError."""


def open_npy(path: Path) -> npt.NDArray[Any]:
    """Map the array of a .npy file.

    Raises
    ------
    ValueError
        If the file is damaged, or holds objects, which are never unpickled.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of headers that numpy has to mend
            return np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise ValueError(f"no sound .npy file: {error}") from error
