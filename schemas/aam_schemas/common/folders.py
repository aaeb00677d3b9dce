"""Kinds of folders that our programs write. A folder is recognized by its content, never by a name alone.

A folder may be replaced or removed only if its main file reads as ours, and every entry in it is one that we
write: a regular file or folder with a known name, whose first bytes have the right format.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import read_json
from aam_schemas.common.names import target_of

PARQUET, NPY, PNG, HDF5 = b"PAR1", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n"
JSON, HTML, ARROW = b"{", b"<!doctype html>", b"ARROW1"
SAFETENSORS = b"........{"
"""First bytes of files. Dots stand for any byte."""
_ANY_BYTE = ord(".")
ANYTHING = b""
FOLDER = None
"""Stands for the format of a sub-folder."""

_LARGEST_JSON = 1 << 26
_SHOWN = 3


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that our programs write."""

    noun: str
    """Name of the kind in messages, with its article."""
    is_ours: Callable[[Path], bool]
    """Returns whether the content of the main file shows that our program wrote the folder."""
    entries: Mapping[str, bytes | None]
    """First bytes of each entry, by a regular expression for its path within the folder. None: a folder."""
    unfinished: Mapping[str, bytes | None] = field(default_factory=dict)
    """Further entries of a folder that is still being written."""

    def problem(self, folder: Path) -> str | None:
        """Return why a folder is not certainly one of this kind. None if it is."""
        foreign = self.foreign(folder)
        if foreign:
            return f"it has files that are not part of {self.noun}: {_some(foreign)}"
        if not self.is_ours(folder):
            return f"its content does not show that it is {self.noun}"
        return None

    def foreign(self, folder: Path, is_unfinished: bool = False) -> list[str]:
        """List some entries of a folder that our programs do not write, as paths within it."""
        known = {**self.entries, **(self.unfinished if is_unfinished else {})}
        return list(islice(_foreign(folder, known, ""), _SHOWN + 1))


def json_or_none(path: Path) -> Any:
    """Return the content of a JSON file. None if it is missing, too large or damaged."""
    try:
        return read_json(path, _LARGEST_JSON)
    except InvalidDataError:
        return None


def begins_like(path: Path, pattern: re.Pattern[bytes]) -> bool:
    """Return whether the first bytes of a regular file match a pattern."""
    try:
        return pattern.match(read_start(path, 256)) is not None
    except OSError:
        return False


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a regular file.

    Raises
    ------
    OSError
        If there is no such file, or it is a link, a pipe or a device. None of these is opened for long.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(size)


def has_format(path: Path, begins: bytes) -> bool:
    """Return whether a regular file begins like a format. A file that ends earlier may be truncated."""
    try:
        start = read_start(path, len(begins))
    except OSError:
        return False
    return all(expected in (byte, _ANY_BYTE) for byte, expected in zip(start, begins, strict=False))


def _foreign(folder: Path, known: Mapping[str, bytes | None], within: str) -> Iterator[str]:
    """Yield the entries that are not known. Links, mounts and unknown folders are not entered."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = within + entry.name
        if not _is_known(name, Path(entry.path), known):
            yield name
        elif entry.is_dir(follow_symlinks=False):
            yield from _foreign(Path(entry.path), known, f"{name}/")


def _is_known(name: str, path: Path, known: Mapping[str, bytes | None]) -> bool:
    # What a killed writer left within the folder has the content of its target.
    name = "/".join(target_of(part) or part for part in name.split("/"))
    is_folder = path.is_dir() and not path.is_symlink()
    for pattern, begins in known.items():
        if re.fullmatch(pattern, name):
            if begins is None:
                return is_folder and not os.path.ismount(path)
            return not is_folder and has_format(path, begins)
    return False


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and more"
