"""How a folder appears whole: written beside its target, flushed to disk, renamed into place.

A reader, and a program that is killed at any moment, sees the old folder or the new one, never a part.
"""

import ctypes
import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import UsageError

_STALE_SECONDS = 24 * 3600
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_target(target: Path, overwrite: bool, sign: str) -> None:
    """Refuse an output that exists, before any work is done.

    Parameters
    ----------
    target : Path
        The folder to be written.
    overwrite : bool
        Whether a folder that is there may be replaced.
    sign : str
        A file that every folder of this kind holds: a folder without it is not ours to remove.

    Raises
    ------
    UsageError
        If the target exists and may not be replaced.
    """
    if os.path.lexists(target) and not overwrite:
        raise UsageError(
            "this output exists already",
            str(target),
            "choose another with --output, or replace it with --overwrite",
        )
    if os.path.lexists(target) and not target.is_dir():
        raise UsageError("this output is a file, not a folder", str(target), "choose another with --output")
    if target.is_dir() and any(target.iterdir()) and not (target / sign).exists():
        raise UsageError(
            f"this folder holds no {sign}, so it is something else, and --overwrite would remove it",
            str(target),
            "choose another with --output, or remove it yourself",
        )


@contextmanager
def published_folder(target: Path, sign: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write in, and publish it under its good name at the end.

    Nothing is published, and nothing is left behind, where the body raises.

    Parameters
    ----------
    target : Path
        The good name.
    sign : str
        A file that every folder of this kind holds (see `check_target`).
    overwrite : bool
        Replace a folder that is there: the new one is published, then the old one removed.

    Yields
    ------
    Path
        An empty folder beside the target.
    """
    check_target(target, overwrite, sign)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    temporary = target.parent / f".{target.name}.tmp-{uuid.uuid4().hex[:12]}"
    temporary.mkdir()
    try:
        yield temporary
        flush(temporary)
        _move_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush(folder: Path) -> None:
    """Force every file of a folder, and the folder, onto the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _fsync(path)
    _fsync(folder)


def sweep(target: Path) -> None:
    """Remove what killed writers of this target left more than a day ago."""
    for path in target.parent.glob(f".{target.name}.tmp-*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write one file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _move_into_place(temporary: Path, target: Path) -> None:
    if target.exists():
        _exchange(temporary, target)  # the old folder is now the temporary one, which the caller removes
    else:
        temporary.rename(target)
    _fsync(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step where the system can (Linux), else in two renames."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            result = libc.renameat2(
                _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
            )
            if result == 0:
                return
            if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    aside = other.with_name(f".{other.name}.old-{uuid.uuid4().hex[:12]}")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
