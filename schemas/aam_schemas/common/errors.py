"""Errors of both programs that a user can fix."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeGuard

from aam_schemas.common.text import MOST_IN_MESSAGE, shorten

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers for a full disk, an exceeded quota, and a file at its size limit (ulimit)."""


class AamError(Exception):
    """Base class of the errors that the user can fix.

    Parameters
    ----------
    what : str
        The problem and its true cause, in words.
    where : str
        The file, sample, ASV, row or column.
    fix : str
        The action that solves the problem.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        # Parts of a message can come from a file or an argument, which may be of any length.
        self.what, self.where, self.fix = (shorten(part, MOST_IN_MESSAGE) for part in (what, where, fix))
        super().__init__(self.what)

    def __str__(self) -> str:
        """Return the message: where and what on the first line, the fix on a line of its own."""
        message = f"{self.where}: {self.what}" if self.where else self.what
        return f"{message}\n  Fix: {self.fix}" if self.fix else message


class InvalidDataError(AamError):
    """The content of an existing file is invalid. Exit code 1."""


class UsageError(AamError):
    """An argument is wrong: a missing file, a limit below 1, an existing output. Exit code 2."""

    exit_code: ClassVar[int] = 2


class NonFiniteError(AamError):
    """A value became non-finite during training. Exit code 3."""

    exit_code: ClassVar[int] = 3


class LostRankError(AamError):
    """Another rank of a distributed run has died. Exit code 3."""

    exit_code: ClassVar[int] = 3


def is_disk_full(error: BaseException) -> TypeGuard[OSError]:
    """Return whether an error was caused by a full disk, a quota or a limit on file sizes."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


def full_disk(error: OSError, where: str, fix: str) -> UsageError:
    """Return the error for a full disk. Exit code 2, as for any output that cannot be written."""
    return UsageError(
        f"no more data can be written to this disk: {os.strerror(error.errno or 0)}", where, fix
    )


@contextmanager
def naming_full_disk(where: str, fix: str) -> Iterator[None]:
    """Report where the block writes to if the disk is full, since the system's error does not name it."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise full_disk(error, where, fix) from error
        raise


_LIMIT_WORDS = (
    "can't start new thread",
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "failed to map segment",
    "too many open files",
    "could not create a primitive",
)
"""How Python, torch and the system's loader say that a limit is reached, in errors of many classes."""


def exhausted_limit(error: BaseException) -> UsageError | None:
    """Return the error for a limit of the system: memory, threads, processes or open files. Else None."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return _limit("the system lets this process open no more files", "raise the limit with `ulimit -n`")
    is_limit = isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN)
    text = str(error).lower()
    is_said = isinstance(error, RuntimeError | OSError | ImportError) and any(
        words in text for words in _LIMIT_WORDS
    )
    if not (isinstance(error, MemoryError) or is_limit or is_said):
        return None
    what = str(error).partition("\n")[0] or type(error).__name__
    return _limit(
        f"the system gives this process no more memory, threads or files: {what}",
        "use a machine with more memory, raise the limits (`ulimit -v`, `ulimit -u`, `ulimit -n`), "
        "or set fewer workers and smaller batches",
    )


def _limit(what: str, fix: str) -> UsageError:
    return UsageError(what, "limits of the system", fix)
