"""Publish a folder atomically: write it beside its target, flush it to disk, rename it to the target.

Whenever the writer is killed, a reader finds the old folder or the new one, never part of either. Beside a
target named `shards`, a killed writer can leave:

- `.shards.tmp-HOST-ID`: an unfinished folder, or one that was replaced. The next writer removes it.
- `.shards.old-HOST-ID`: the whole old folder, on systems that cannot swap two folders in one step. If the
  writer was killed between its two renames, `shards` is missing and this is the only copy.

`recover` renames such a copy back. Writers call it, and so do both programs for every folder that is named on
their command line. Readers never rename anything: `interrupted` finds the copy for their error message.

The ID proves that one of our writers made the name (see `names`). A folder is replaced, or removed as a
leftover, only if all of its content is of its kind (see `folders`). No link is followed.

A running process holds a lock on what it writes, so that no other process takes it for a leftover.
"""

import errno
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aam_schemas.common.errors import UsageError, naming_full_disk
from aam_schemas.common.files import Files, locked
from aam_schemas.common.folders import FolderKind
from aam_schemas.common.names import is_of_this_host, name_beside, names_beside, target_of
from aam_schemas.common.owner import owner_of

_LOGGER = logging.getLogger(__name__)

_STALE_SECONDS = 24 * 3600
"""Age at which a leftover is removed if the system cannot tell whether its writer is alive."""

# Another run can only remove a new folder in the moment before it is locked, so a few attempts suffice.
_ATTEMPTS = 10
_FILES = Files()
_OTHER = "choose another with --output"


@dataclass(frozen=True)
class OutputFolder:
    """A folder to be written, and what it may replace."""

    path: Path
    kind: FolderKind
    overwrite: bool = False
    """Replace an existing folder of this kind. The old one is removed after the new one is published."""
    inputs: tuple[Path, ...] = ()
    """Files and folders that are read meanwhile. The output neither contains one nor lies within one."""


def check_target(output: OutputFolder) -> None:
    """Refuse an output that exists and may not be replaced, before any work is done.

    Raises
    ------
    UsageError
        If the target exists and may not be replaced, or lies within an input.
    """
    path = output.path
    refuse_within(path, output.inputs)
    recover(path)
    if not os.path.lexists(path):
        return
    if not output.overwrite:
        raise _exists(path)
    if path.is_symlink():
        raise UsageError(
            "this output is a symbolic link, which --overwrite does not follow",
            str(path),
            f"name the folder that it points to, {os.path.realpath(path)}, or remove the link",
        )
    if not path.is_dir():
        raise UsageError("this output is a file, not a folder", str(path), _OTHER)
    owner = owner_of(path)
    if owner:
        raise UsageError(f"another process works in this folder: {owner}", str(path), f"{_OTHER}, or stop it")
    needed = _why_needed(output)
    if needed:
        raise UsageError(f"this folder is not replaced: {needed}", str(path), _OTHER)
    problem = output.kind.problem(path) if any(path.iterdir()) else None
    if problem:
        raise UsageError(
            f"this folder is not replaced: {problem}", str(path), f"{_OTHER}, or remove it yourself"
        )


def refuse_within(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output in a folder that is read.

    Raises
    ------
    UsageError
    """
    for source in inputs:
        if _is_within(path, source) and not _is_same(path, source):
            raise UsageError(f"this output lies within an input, {source}", str(path), _OTHER)


def _why_needed(output: OutputFolder) -> str | None:
    """Return why a folder must stay whatever it contains. None if it may be replaced."""
    path = output.path
    for source in output.inputs:
        if _is_within(source, path):
            return f"it contains an input, {source}" if not _is_same(source, path) else "it is an input"
    with suppress(OSError):
        if _is_within(Path.cwd(), path):
            return "it contains the working folder"
    if _is_within(Path(os.path.expanduser("~")), path):
        return "it contains your home folder"
    if os.path.ismount(path):
        return "a file system is mounted on it"
    return None


def _absolute(path: Path) -> Path:
    """Return a path that stays valid if the working folder changes. A link at its end is kept."""
    if path.name in ("", ".."):
        return path.resolve()
    return path.parent.resolve() / path.name


def _is_within(path: Path, folder: Path) -> bool:
    """Return whether a path is a folder or lies in it, by identity and not by name."""
    real = Path(os.path.realpath(path))
    return any(_is_same(each, folder) for each in (real, *real.parents))


def _is_same(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


@contextmanager
def published_folder(output: OutputFolder, files: Files = _FILES) -> Iterator[Path]:
    """Open a temporary folder to write to, and publish it as the target at the end of the block.

    If the block raises, nothing is published and nothing is left behind.

    Parameters
    ----------
    output : OutputFolder
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
    output = replace(output, path=_absolute(output.path))
    target = output.path
    recover(target, files)
    check_target(output)
    sweep(target, output.kind, files)
    fix = "free some space there, or choose another disk with --output"
    with naming_full_disk(str(target), fix), ExitStack() as stack:
        temporary = _new_folder(target, files, stack)
        yield temporary
        flush(temporary, files)
        _rename_to_target(temporary, output, files)
        files.flush(target.parent)


@contextmanager
def published_file(path: Path, files: Files = _FILES) -> Iterator[Path]:
    """Open a temporary file to write to, and publish it under a path at the end of the block.

    A reader sees the old content or the new one. If the block raises, the old content stays.

    Yields
    ------
    Path
        An empty file beside the path.

    Raises
    ------
    UsageError
        If the file cannot be written, or its disk is full.
    """
    sweep(path, None, files)
    try:
        with ExitStack() as stack:
            temporary = _new(path, files.make_file, files, stack)
            yield temporary
            files.flush(temporary)
            files.rename(temporary, path)
            files.flush(path.parent)
    except OSError as error:
        raise _unwritable(
            error, path, "check the permissions of its folder and the free space, or choose another path"
        ) from error


def replace_file(path: Path, *parts: bytes | memoryview, files: Files = _FILES) -> None:
    """Replace the content of a file atomically: a reader sees the old content or the new one.

    Parameters
    ----------
    path : Path
    *parts : bytes or memoryview
        The new content, part after part.
    files : Files
        The calls that change the disk.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    with published_file(path, files) as temporary:
        files.write(temporary, *parts)


def remove_folder(folder: Path, files: Files = _FILES) -> None:
    """Remove a folder atomically: a reader sees the whole folder or none."""
    # A kill during the removal leaves a temporary folder, which the next writer removes.
    gone = name_beside(folder, "tmp")
    files.rename(folder, gone)
    files.remove(gone)


def sweep_all(folder: Path, kind: FolderKind, files: Files = _FILES) -> None:
    """Recover or remove all leftovers of killed writers in a folder, for every target in it."""
    names = os.listdir(folder) if folder.is_dir() else []
    for name in sorted({target for name in names if (target := target_of(name))}):
        recover(folder / name, files)
        sweep(folder / name, kind, files)


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
    for path in _old_folders(target):
        with locked(path) as is_free:
            if is_free is False or os.path.lexists(target):
                continue
            with suppress(OSError):  # the folder may be read-only
                files.rename(path, target)
                _LOGGER.warning("%s: recovered; an earlier run was killed while replacing it", target)


def interrupted(target: Path) -> Path | None:
    """Return the whole old folder that `recover` would rename to the target; None if there is none."""
    return None if os.path.lexists(target) else next(iter(_old_folders(target)), None)


def _old_folders(target: Path) -> list[Path]:
    return [path for path in names_beside(target, "old") if _is_folder(path)]


def sweep(target: Path, kind: FolderKind | None, files: Files = _FILES) -> None:
    """Remove the leftovers of killed writers of this target.

    Parameters
    ----------
    target : Path
    kind : FolderKind or None
        What the target is if it is a folder. A leftover with content of anything else is left alone.
    files : Files
        The calls that change the disk.
    """
    for path in _old_folders(target):
        with locked(path) as is_free:
            # An `old` folder must always be intact, so rename it before its files are removed one by one.
            if target.exists() and _is_abandoned(path, is_free):
                files.rename(path, name_beside(target, "tmp"))
    for path in names_beside(target, "tmp"):
        with locked(path) as is_free:
            if _is_abandoned(path, is_free) and _is_removable(path, kind):
                files.remove(path)
                _LOGGER.warning("removed %s, which a killed run left beside %s", path.name, target)


def _is_removable(path: Path, kind: FolderKind | None) -> bool:
    if not _is_folder(path):
        return stat.S_ISREG(path.lstat().st_mode)
    foreign = kind.foreign(path, is_unfinished=True) if kind else ["a folder"]
    if foreign:
        _LOGGER.warning("%s: not removed, since no program of ours writes %s", path, foreign[0])
    return not foreign


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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
        temporary = name_beside(target, "tmp")
        make(temporary)
        is_locked = stack.enter_context(locked(temporary))
        stack.callback(files.remove, temporary)
        if is_locked is not False:
            return temporary
        # Another run took it for a leftover in the moment before it was locked.
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))


def _rename_to_target(temporary: Path, output: OutputFolder, files: Files) -> None:
    """Rename the new folder to the target. A replaced folder then has the temporary name."""
    target = output.path
    if output.overwrite and os.path.lexists(target):
        checked = target.lstat()
        # The folder may have got other content while the new one was written.
        check_target(output)
        _exchange(temporary, target, files)
        if not os.path.samestat(checked, temporary.lstat()):
            # Another run published its folder after the check. It was not checked, so it goes back.
            _exchange(temporary, target, files)
            raise UsageError("another program has just written this folder", str(target), _OTHER)
        return
    try:
        files.rename(temporary, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # another run was faster
            raise _exists(target) from None
        raise


def _exchange(temporary: Path, target: Path, files: Files) -> None:
    if files.exchange(temporary, target):
        return
    # By three renames. If the process is killed between the first two, `recover` undoes the first.
    aside = name_beside(target, "old")
    with locked(target):
        files.rename(target, aside)
        try:
            files.rename(temporary, target)
        except BaseException:
            files.rename(aside, target)
            raise
        files.flush(target.parent)
        files.rename(aside, temporary)


def _is_abandoned(path: Path, is_free: bool | None) -> bool:
    """Return whether the writer of a leftover is dead.

    Some network file systems do not show locks of other hosts, so a free lock is proof only on the same host.
    """
    if is_free and is_of_this_host(path):
        return True
    return is_free is not False and time.time() - path.lstat().st_mtime > _STALE_SECONDS


def _unwritable(error: OSError, target: Path, fix: str) -> UsageError:
    return UsageError(f"this output cannot be written: {error.strerror}", str(target), fix)


def _exists(target: Path) -> UsageError:
    return UsageError(
        "this output exists already",
        str(target),
        "choose another with --output, or replace it with --overwrite",
    )
