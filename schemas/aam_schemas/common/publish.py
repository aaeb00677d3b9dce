"""Publish a folder atomically: write it beside its target, flush it to disk, rename it to the target.

Whenever the writer is killed, a reader finds the old folder or the new one, never part of either. Beside a
target named `shards`, a killed writer can leave:

- `.shards.tmp-HOST-ID`: an unfinished folder, or one that was replaced. The next writer removes it.
- `.shards.old-HOST-ID`: the whole old folder, on systems that cannot swap two folders in one step. If the
  writer was killed between its two renames, `shards` is missing and this is the only copy.

`recover` renames such a copy back. Writers call it, and so do both programs for every folder that is named on
their command line. Readers never rename anything: `interrupted` finds the copy for their error message.

A running process holds a lock on what it writes, so that no other process takes it for a leftover.
"""

import errno
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from aam_schemas.common.errors import UsageError, naming_full_disk
from aam_schemas.common.files import Files, locked

_LOGGER = logging.getLogger(__name__)

_STALE_SECONDS = 24 * 3600
"""Age at which a leftover is removed if the system cannot tell whether its writer is alive."""

# Another run can only remove a new folder in the moment before it is locked, so a few attempts suffice.
_ATTEMPTS = 10
_LEFTOVER = re.compile(r"\.(.+)\.(?:tmp|old)-[A-Za-z0-9]*-[0-9a-f]{12}")
_FILES = Files()


def check_target(target: Path, overwrite: bool, sign: str) -> None:
    """Refuse an output that exists, before any work is done.

    Parameters
    ----------
    target : Path
        The folder to be written.
    overwrite : bool
        Whether an existing folder may be replaced.
    sign : str
        Name of a file that every folder of this kind contains. A folder without it is never replaced.

    Raises
    ------
    UsageError
        If the target exists and may not be replaced.
    """
    recover(target)
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)
    if os.path.lexists(target) and not target.is_dir():
        raise UsageError("this output is a file, not a folder", str(target), "choose another with --output")
    if target.is_dir() and any(target.iterdir()) and not (target / sign).exists():
        raise UsageError(
            f"this folder has no {sign}, so it is something else, and --overwrite would remove it",
            str(target),
            "choose another with --output, or remove it yourself",
        )


@contextmanager
def published_folder(
    target: Path, sign: str, overwrite: bool = False, files: Files = _FILES
) -> Iterator[Path]:
    """Open a temporary folder to write to, and publish it as the target at the end of the block.

    If the block raises, nothing is published and nothing is left behind.

    Parameters
    ----------
    target : Path
        The folder to be written.
    sign : str
        Name of a file that every folder of this kind contains (see `check_target`).
    overwrite : bool
        Replace an existing folder. The old one is removed after the new one is published.
    files : Files
        The calls that change the disk.

    Yields
    ------
    Path
        An empty folder beside the target.

    Raises
    ------
    UsageError
        If the target exists and may not be replaced, cannot be written, or its disk is full.
    """
    # If the target is a symbolic link, keep the link and replace the folder that it points to.
    target = target.resolve()
    recover(target, files)
    check_target(target, overwrite, sign)
    sweep(target, files)
    fix = "free some space there, or choose another disk with --output"
    with naming_full_disk(str(target), fix), ExitStack() as stack:
        temporary = _new_folder(target, files, stack)
        yield temporary
        flush(temporary, files)
        _rename_to_target(temporary, target, overwrite, files)
        files.flush(target.parent)


def replace_file(path: Path, content: bytes, files: Files = _FILES) -> None:
    """Replace the content of a file atomically: a reader sees the old content or the new one.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    sweep(path, files)
    try:
        with ExitStack() as stack:
            temporary = _new(path, files.make_file, files, stack)
            files.write(temporary, content)
            files.flush(temporary)
            files.rename(temporary, path)
            files.flush(path.parent)
    except OSError as error:
        raise _unwritable(
            error, path, "check the permissions of its folder and the free space, or choose another path"
        ) from error


def remove_folder(folder: Path, files: Files = _FILES) -> None:
    """Remove a folder atomically: a reader sees the whole folder or none."""
    # A kill during the removal leaves a temporary folder, which the next writer removes.
    gone = _beside(folder, "tmp")
    files.rename(folder, gone)
    files.remove(gone)


def sweep_all(folder: Path, files: Files = _FILES) -> None:
    """Recover or remove all leftovers of killed writers in a folder, for every target in it."""
    hidden = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    names = {match[1] for name in hidden if (match := _LEFTOVER.fullmatch(name))}
    for name in sorted(names):
        recover(folder / name, files)
        sweep(folder / name, files)


def flush(folder: Path, files: Files = _FILES) -> None:
    """Flush every file of a folder, and the folder itself, to disk."""
    # Reverse order flushes the content of a folder before the folder.
    for path in sorted(folder.rglob("*"), reverse=True):
        files.flush(path)
    files.flush(folder)


def recover(target: Path, files: Files = _FILES) -> None:
    """Rename an old folder back to its name if its writer was killed while replacing it.

    Nothing happens if the target exists, or another process is replacing it right now.
    """
    if os.path.lexists(target):
        return
    for path in _leftovers(target, "old"):
        with locked(path) as is_free:
            if is_free is False or os.path.lexists(target):
                continue
            with suppress(OSError):  # the folder may be read-only
                files.rename(path, target)
                _LOGGER.warning("%s: recovered; an earlier run was killed while replacing it", target)


def interrupted(target: Path) -> Path | None:
    """Return the whole old folder that `recover` would rename to the target; None if there is none."""
    return None if os.path.lexists(target) else next(iter(_leftovers(target, "old")), None)


def sweep(target: Path, files: Files = _FILES) -> None:
    """Remove the leftovers of killed writers of this target."""
    for path in _leftovers(target, "old"):
        with locked(path) as is_free:
            # An `old` folder must always be intact, so rename it before its files are removed one by one.
            if target.exists() and _is_abandoned(path, is_free):
                files.rename(path, _beside(target, "tmp"))
    for path in _leftovers(target, "tmp"):
        with locked(path) as is_free:
            if _is_abandoned(path, is_free):
                files.remove(path)
                _LOGGER.warning("removed %s, which a killed run left beside %s", path.name, target)


def _new_folder(target: Path, files: Files, stack: ExitStack) -> Path:
    try:
        _make_parents(target.parent, files)
        return _new(target, files.make_folder, files, stack)
    except OSError as error:
        raise _unwritable(error, target, "choose another with --output") from error


def _make_parents(folder: Path, files: Files) -> None:
    if not folder.exists():
        _make_parents(folder.parent, files)
        files.make_folder(folder)
        files.flush(folder.parent)


def _new(target: Path, make: Callable[[Path], None], files: Files, stack: ExitStack) -> Path:
    """Make a temporary folder or file, locked until the stack closes, which removes it if it still exists."""
    for _ in range(_ATTEMPTS):
        temporary = _beside(target, "tmp")
        make(temporary)
        is_locked = stack.enter_context(locked(temporary))
        stack.callback(files.remove, temporary)
        if is_locked is not False:
            return temporary
        # Another run took it for a leftover in the moment before it was locked.
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def _rename_to_target(temporary: Path, target: Path, overwrite: bool, files: Files) -> None:
    """Rename the new folder to the target. A replaced folder then has the temporary name."""
    if overwrite and target.exists():
        if not files.exchange(temporary, target):
            _exchange_in_two_steps(temporary, target, files)
        return
    try:
        files.rename(temporary, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another run was faster
            raise _exists(target) from None
        raise


def _exchange_in_two_steps(temporary: Path, target: Path, files: Files) -> None:
    """Swap by three renames. If the process is killed between the first two, `recover` undoes the first."""
    aside = _beside(target, "old")
    with locked(target):
        files.rename(target, aside)
        try:
            files.rename(temporary, target)
        except BaseException:
            files.rename(aside, target)
            raise
        files.flush(target.parent)
        files.rename(aside, temporary)


def _beside(target: Path, kind: str) -> Path:
    """Return a new name for a temporary folder or file beside a target. The kind is tmp or old."""
    # The host is part of the name because a lock held on another host may be invisible here.
    return target.with_name(f".{target.name}.{kind}-{_host()}-{uuid.uuid4().hex[:12]}")


def _leftovers(target: Path, kind: str) -> list[Path]:
    if not target.parent.is_dir():
        return []
    prefix = f".{target.name}.{kind}-"
    return sorted(path for path in target.parent.iterdir() if path.name.startswith(prefix))


def _is_abandoned(path: Path, is_free: bool | None) -> bool:
    """Return whether the writer of a leftover is dead.

    Some network file systems do not show locks of other hosts, so a free lock is proof only on the same host.
    """
    if is_free and f"-{_host()}-" in path.name:
        return True
    return is_free is not False and time.time() - path.stat().st_mtime > _STALE_SECONDS


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", os.uname().nodename)


def _unwritable(error: OSError, target: Path, fix: str) -> UsageError:
    return UsageError(f"this output cannot be written: {error.strerror}", str(target), fix)


def _exists(target: Path) -> UsageError:
    return UsageError(
        "this output exists already",
        str(target),
        "choose another with --output, or replace it with --overwrite",
    )
