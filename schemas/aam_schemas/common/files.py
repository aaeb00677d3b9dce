"""What publishing asks of the system: the calls that change the disk, in one class, and locks.

A test hands in a class of its own that stops at the n-th call, and so tries every place where a program can
be killed.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class Files:
    """Every call by which publishing changes the disk."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that does not exist yet."""
        path.mkdir()

    def make_file(self, path: Path) -> None:
        """Make an empty file that does not exist yet."""
        path.touch(exist_ok=False)

    def write(self, path: Path, content: bytes) -> None:
        """Write a file's content."""
        path.write_bytes(content)

    def flush(self, path: Path) -> None:
        """Force a file's content, or a folder's list of names, onto the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, one: Path, other: Path) -> None:
        """Rename in one step; a folder takes the place of no other that holds anything."""
        one.rename(other)

    def exchange(self, one: Path, other: Path) -> bool:
        """Swap two folders in one step; False where the system cannot (it can on Linux, on most disks)."""
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform != "linux" or not hasattr(libc, "renameat2"):
            return False
        names = os.fsencode(one), os.fsencode(other)
        if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return True
        if ctypes.get_errno() in _NO_EXCHANGE:
            return False
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))

    def remove(self, path: Path) -> None:
        """Remove a file or a whole folder, as far as that is possible."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock a file or folder while the block lasts; the lock ends with its process, however that ends.

    Yields
    ------
    bool or None
        True where it is locked now; False where another process has the lock, or the path is gone or somebody
        else's; None where the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        yield False
        return
    try:
        is_locked = _lock(descriptor)
        # Whoever had the lock before may have removed what it was on.
        yield is_locked if path.exists() else False
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
