"""What both programs raise for anything that a user can mend."""

from typing import ClassVar


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
        return f"{message}\n  To mend it: {self.fix}" if self.fix else message


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
