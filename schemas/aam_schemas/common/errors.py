"""What both programs raise for anything that a user can mend."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, TypeGuard

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a user's share of it or a file takes no more: no fault of the data."""


class AamError(Exception):
    """Something is wrong that the user can mend.

    Parameters
    ----------
    what : str
        What is wrong, in words.
    where : str
        The file, sample, ASV, row or column.
    fix : str
        What to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """One paragraph: where, what, and the fix on a line of its own."""
        message = f"{self.where}: {self.what}" if self.where else self.what
        return f"{message}\n  Fix: {self.fix}" if self.fix else message


class InvalidDataError(AamError):
    """What lies in a file that exists is wrong: exit code 1."""


class UsageError(AamError):
    """What was typed is wrong (a missing file, a limit below 1, an output that exists): exit code 2."""

    exit_code: ClassVar[int] = 2


class NonFiniteError(AamError):
    """A number stopped being finite while the model trained: exit code 3."""

    exit_code: ClassVar[int] = 3


class LostRankError(AamError):
    """Another of the processes that train a model is gone: exit code 3."""

    exit_code: ClassVar[int] = 3


def is_disk_full(error: BaseException) -> TypeGuard[OSError]:
    """Tell whether an error says that a disk takes no more."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


def full_disk(error: OSError, where: str, fix: str) -> UsageError:
    """Say that a disk takes no more: exit code 2, as for an output that cannot be written."""
    return UsageError(f"this disk takes no more: {os.strerror(error.errno or 0)}", where, fix)


@contextmanager
def naming_full_disk(where: str, fix: str) -> Iterator[None]:
    """Name the place that the body writes to where its disk is full, since the system does not."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise full_disk(error, where, fix) from error
        raise
