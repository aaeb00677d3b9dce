"""NumPy array files (.npy), opened without reading the values."""

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
"""Exceptions of numpy for invalid headers, besides ValueError."""


def open_npy(path: Path) -> npt.NDArray[Any]:
    """Return the array of a .npy file, mapped into memory.

    Raises
    ------
    ValueError
        If the file is damaged, or contains Python objects, which are never unpickled.
    """
    try:
        # numpy warns of headers of old versions, which it can still read.
        with warnings.catch_warnings(action="ignore"):
            return np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise ValueError(f"invalid .npy file: {error}") from error
