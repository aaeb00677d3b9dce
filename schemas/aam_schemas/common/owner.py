"""Own a folder while a process works in it, so that no second process does, and nobody replaces it.

The owner holds a lock (flock) on the file `.owner` in the folder. The lock ends with the process, however it
ends. The file only names the owner, for the message to others. A copy of it is no lock.

Over NFS, Linux passes these locks to the server, so they hold among hosts. File systems that keep locks to
one host (mounted with `nolock` or `localflock`), or have none, give no protection from other hosts.
"""

import errno
import fcntl
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from aam_schemas.common.errors import UsageError

OWNER_FILE = ".owner"
_LOGGER = logging.getLogger(__name__)
_MOST_BYTES = 4096
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Owner:
    """The process that works in a folder."""

    host: str
    process: int
    since: str
    """Local time at which it began, as 2026-01-31 13:00:00."""

    def __str__(self) -> str:
        """Return the owner in words."""
        return f"process {self.process} on {self.host}, since {self.since}"


class OwnedFolder:
    """The ownership of a folder by this process, until `release`."""

    def __init__(self, folder: Path) -> None:
        """Own a folder.

        Raises
        ------
        UsageError
            If another process owns it, or nothing can be written there.
        """
        self._folder = folder
        self._descriptor = _locked_file(folder)
        record = json.dumps(asdict(_this_process())) + "\n"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, record.encode(), 0)

    def renamed(self, folder: Path) -> None:
        """Note that the folder has a new name."""
        self._folder = folder

    def release(self) -> None:
        """Release the folder, and remove the file that names the owner."""
        path = self._folder / OWNER_FILE
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), path.lstat()):
                path.unlink()
        os.close(self._descriptor)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder during the block.

    Raises
    ------
    UsageError
        If another process owns it, or nothing can be written there.
    """
    ownership = OwnedFolder(folder)
    try:
        yield
    finally:
        ownership.release()


def owner_of(folder: Path) -> str | None:
    """Return which process owns a folder, in words. None if none does."""
    try:
        descriptor = os.open(folder / OWNER_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(_read(descriptor) or "an unknown process")
    except OSError:  # the file system has no locks
        owner = _read(descriptor)
        return str(owner) if owner and _runs_here(owner) else None
    finally:
        os.close(descriptor)
    return None


def _locked_file(folder: Path) -> int:
    """Open and lock the file that names the owner. Return its descriptor."""
    path = folder / OWNER_FILE
    for attempt in range(_ATTEMPTS):
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read(descriptor)
            os.close(descriptor)
            # `owner_of` has the lock for a moment, too.
            time.sleep(_PAUSE_SECONDS)
            if attempt == _ATTEMPTS - 1:
                raise _in_use(folder, owner) from None
            continue
        except OSError:
            _without_locks(folder, descriptor)
            return descriptor
        if _is_still(path, descriptor):
            _warn_of_other_host(folder, _read(descriptor))
            return descriptor
        os.close(descriptor)  # its owner has just released and removed it
    raise _in_use(folder, None)


def _opened(path: Path) -> int:
    try:
        # NFS locks only files that are open for writing.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    except OSError as error:
        raise UsageError(
            f"this file cannot be written: {error.strerror}",
            str(path),
            "check the permissions of its folder and the free space",
        ) from error


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _without_locks(folder: Path, descriptor: int) -> None:
    owner = _read(descriptor)
    if owner is not None and _runs_here(owner):
        os.close(descriptor)
        raise _in_use(folder, owner)
    _LOGGER.warning(
        "%s: this file system has no locks, so make sure that no other process works here", folder
    )


def _warn_of_other_host(folder: Path, previous: Owner | None) -> None:
    if previous is not None and previous.host != os.uname().nodename:
        _LOGGER.warning(
            "%s: the last owner, %s, was killed. If this file system does not share locks among hosts, "
            "make sure that it no longer runs",
            folder,
            previous,
        )


def _runs_here(owner: Owner) -> bool:
    if owner.host != os.uname().nodename or owner.process == os.getpid():
        return False
    try:
        os.kill(owner.process, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _this_process() -> Owner:
    return Owner(os.uname().nodename, os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))


def _read(descriptor: int) -> Owner | None:
    """Return the owner that a file names. None if it names none, or is not ours."""
    try:
        record = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
        return Owner(host=str(record["host"]), process=int(record["process"]), since=str(record["since"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _in_use(folder: Path, owner: Owner | None) -> UsageError:
    return UsageError(
        f"another process works in this folder: {owner or 'an unknown one'}",
        str(folder),
        "wait until it ends, or stop it. The folder is then free at once",
    )
