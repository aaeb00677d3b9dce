"""Content of a file in transit from the process that reads it: arrays and lists of texts in a folder.

Arrays are .npy files and texts are JSON. Pickle is not used, since it could run code of a malicious file.
"""

import json
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from aamprep.arrays import write_array

Texts: TypeAlias = Iterable[str | None]

_NPY_HEADER = 128
"""Size of the header of our .npy files, in bytes."""
_TEXTS_PER_LINE = 4096
"""Number of texts converted at a time, so that the text of all of them is never held at once."""


def write_content(folder: Path, arrays: dict[str, npt.NDArray[Any]], texts: dict[str, Texts]) -> None:
    """Write named arrays and named lists of texts to a folder."""
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    for name, values in texts.items():
        _write_texts(folder / f"{name}.json", values)


def map_array(path: Path) -> npt.NDArray[Any]:
    """Map an array into memory. It remains usable after its folder is removed."""
    # An empty array cannot be mapped.
    has_values = path.stat().st_size > _NPY_HEADER
    return np.load(path, mmap_mode="r" if has_values else None)


def load_texts(folder: Path, name: str) -> list[Any]:
    """Return a list of texts. Missing values are None."""
    with (folder / f"{name}.json").open(encoding="ascii") as lines:
        return list(chain.from_iterable(map(json.loads, lines)))


def _write_texts(path: Path, values: Texts) -> None:
    rest = iter(values)
    with path.open("w", encoding="ascii") as file:
        while block := list(islice(rest, _TEXTS_PER_LINE)):
            file.write(json.dumps(block) + "\n")
