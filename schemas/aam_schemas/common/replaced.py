"""Notice that a folder is replaced by another one while it is read.

Our programs replace a folder by renaming a new one to its name. Whoever opens several files of it meanwhile
may read some of the old folder and some of the new one.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from aam_schemas.common.errors import UsageError

_ATTEMPTS = 5
_Result = TypeVar("_Result")


class ReplacedError(UsageError):
    """A folder was replaced while it was read. Exit code 2."""


@contextmanager
def refusing_replaced(folders: Sequence[Path]) -> Iterator[Callable[[], None]]:
    """Refuse the result of a block that reads folders if one was replaced meanwhile.

    An error of the block is replaced by a `ReplacedError`, since it may come from a mixture of two folders.

    Yields
    ------
    callable
        Call it when everything is read. It raises the error, too.

    Raises
    ------
    ReplacedError
    """
    with ExitStack() as stack:
        opened = []
        for folder in folders:
            with suppress(OSError):  # the block reports a folder that is missing
                # While it is open, no other folder gets its inode number.
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, descriptor)
                opened.append((folder, descriptor, os.fstat(descriptor).st_ctime_ns))

        def check() -> None:
            for folder, descriptor, changed in opened:
                if not _is_still(folder, descriptor, changed):
                    raise ReplacedError(
                        "this folder was replaced or changed while it was read",
                        str(folder),
                        "run the command again",
                    )

        try:
            yield check
        except Exception:
            check()
            raise


def read_one_version(folder: Path, read: Callable[[], _Result]) -> _Result:
    """Call a function that reads a folder. Call it again if the folder was replaced meanwhile.

    Raises
    ------
    ReplacedError
        If it is replaced again and again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with refusing_replaced([folder]) as check:
                result = read()
                check()
                return result
        except ReplacedError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _is_still(folder: Path, descriptor: int, changed: int) -> bool:
    """Return whether a folder is the one that is open, and neither it nor its list of files was changed."""
    try:
        now = folder.stat()
        return os.path.samestat(os.fstat(descriptor), now) and now.st_ctime_ns == changed
    except OSError:
        return False
