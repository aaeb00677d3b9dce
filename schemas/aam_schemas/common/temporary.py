"""Temporary folders that a killed process does not leave for ever.

A folder is named `aam-HOST-ID` and holds a marker file and the folder `content`. Its process holds a lock on
it, which ends with the process. The next process that needs such a folder removes those without a lock: only
folders of this user and this host that hold nothing but the marker and `content`.
"""

import errno
import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from aam_schemas.common.errors import UsageError, naming_full_disk
from aam_schemas.common.files import locked

_LOGGER = logging.getLogger(__name__)

_MARKER = "temporary-folder-of-aam"
_CONTENT = "content"
_FIX = "free some space there, or set TMPDIR to another folder"

# Another process can remove a new folder only in the moment before it is locked, so a few attempts suffice.
_ATTEMPTS = 10
_ID_BYTES = 16
"""Random bytes of an id: enough that no folder of this name exists already."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder that is removed after the block.

    If the process is killed, the next call removes it, in any process of this user and host.

    Raises
    ------
    UsageError
        If there is no folder for temporary files, it cannot be written, or its disk is full.
    """
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UsageError("there is no folder for temporary files", str(error.strerror), _FIX) from error
    with naming_full_disk(str(parent), _FIX), ExitStack() as stack:
        try:
            # Leftovers of others are no reason to stop: the folder may be writable, but not readable.
            with suppress(OSError):
                _sweep(parent)
            folder = _new_folder(parent, stack)
        except OSError as error:
            what = f"no temporary folder can be made here: {error.strerror}"
            raise UsageError(what, str(parent), _FIX) from error
        yield folder / _CONTENT


def _new_folder(parent: Path, stack: ExitStack) -> Path:
    for _ in range(_ATTEMPTS):
        folder = parent / f"{_prefix()}{secrets.token_hex(_ID_BYTES)}"
        # A signal can end the process in the next moment, so its removal is planned before it exists.
        stack.callback(_remove, folder)
        folder.mkdir(mode=0o700)
        is_locked = stack.enter_context(locked(folder))
        if is_locked is not False:
            (folder / _MARKER).touch()
            (folder / _CONTENT).mkdir()
            return folder
        # Another process took it for a leftover in the moment before it was locked.
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _sweep(parent: Path) -> None:
    """Remove the temporary folders of killed processes."""
    # Earlier versions gave the folders ids of 8 characters.
    name = re.compile(re.escape(_prefix()) + f"([a-z0-9_]{{8}}|[0-9a-f]{{{2 * _ID_BYTES}}})")
    with os.scandir(parent) as entries:
        candidates = [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]
    for path in candidates:
        # Another process may be removing it right now.
        with suppress(OSError):
            if not _is_own_folder(path):
                continue
            with locked(path) as is_free:
                if is_free and _is_temporary(path):
                    _remove(path)
                    _LOGGER.info("removed %s, which a killed run left", path)


def _is_own_folder(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_temporary(path: Path) -> bool:
    """Return whether a folder is empty, or holds the marker and nothing foreign."""
    names = set(os.listdir(path))
    return not names or (_MARKER in names and names <= {_MARKER, _CONTENT})


def _remove(folder: Path) -> None:
    # The marker goes last: without it, a folder that is only half removed would stay for ever.
    shutil.rmtree(folder / _CONTENT, ignore_errors=True)
    with suppress(OSError):
        (folder / _MARKER).unlink(missing_ok=True)
        folder.rmdir()


def _prefix() -> str:
    # Locks of other hosts may be invisible here, so each host removes only its own folders.
    return f"aam-{re.sub(r'[^A-Za-z0-9]', '', os.uname().nodename)}-"
