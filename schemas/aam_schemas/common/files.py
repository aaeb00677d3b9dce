"""File system calls that publishing needs: all changes on disk, in one class, and locks.

A test passes a subclass that stops at the n-th call. It thereby simulates a kill at every possible point.
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

# Constants of renameat2(2), from <fcntl.h> and <linux/fs.h>. Python has no call that swaps two folders.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# Errors by which a kernel or a file system says that it cannot swap.
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class Files:
    """All calls with which publishing changes the disk."""

    def make_folder(self, path: Path) -> None:
        """Make a folder that does not exist yet."""
        path.mkdir()

    def make_file(self, path: Path) -> None:
        """Make an empty file that does not exist yet."""
        path.touch(exist_ok=False)

    def write(self, path: Path, *parts: bytes | memoryview) -> None:
        """Write the content of a file, part after part."""
        with path.open("wb") as file:
            file.writelines(parts)

    def flush(self, path: Path) -> None:
        """Flush the content of a file, or the list of names in a folder, to disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically. A folder replaces another folder only if that one is empty."""
        source.rename(target)

    def exchange(self, first: Path, second: Path) -> bool:
        """Swap two folders atomically, and return whether the system can (Linux, most file systems)."""
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform != "linux" or not hasattr(libc, "renameat2"):
            return False
        names = os.fsencode(first), os.fsencode(second)
        if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return True
        if ctypes.get_errno() in _NO_EXCHANGE:
            return False
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))

    def remove(self, path: Path) -> None:
        """Remove a file or a whole folder, and ignore what cannot be removed from the folder."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Lock a file or folder during the block. The lock also ends if its process is killed.

    Yields
    ------
    bool or None
        True if this process now has the lock. False if another process has it, or the path is gone, belongs
        to another user, or is a link. None if the file system has no locks.
    """
    try:
        # A pipe would be waited for without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        is_locked = _lock(descriptor)
        # The previous owner of the lock may have removed the path between our open and our lock.
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
