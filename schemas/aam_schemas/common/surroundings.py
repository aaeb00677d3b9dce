"""What surrounds a program: its standard streams, signals, Python's warnings, locale and working folder.

None of them may change what a program reports about the data. So output that nobody reads is dropped, a
character that a terminal cannot show is escaped, and a signal ends the program with one line.
"""

import codecs
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from types import FrameType
from typing import Any

from aam_schemas.common.errors import UsageError

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)
_SECONDS_OF_REPEATS = 2
"""`timeout` sends its signal to the process and again to its group. Within this time, it is one signal."""
_ERROR_STREAM = 2
_MOST_COLUMNS = 10_000


class StoppedError(BaseException):
    """A signal asks the program to stop. As no `Exception`, it passes code that handles errors."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class EscapedError(Exception):
    """An error of a command, as its cause, on its way past Typer.

    Typer would end the program with exit code 1, which means invalid data.
    """


@contextmanager
def settled() -> Iterator[None]:
    """Protect a program from its surroundings during the block.

    Signals to stop raise StoppedError. If this process belongs to the program alone, and is no test or
    notebook with streams of its own, output that cannot be encoded is escaped, output into a pipe that is
    closed is dropped, and warnings of libraries are not shown.
    """
    is_own = sys.stdout is sys.__stdout__
    with _stopped_by_signals(is_own):
        if not is_own:
            yield
            return
        _use_utf8_names()
        _open_closed_streams()
        _forget_odd_widths()
        before = sys.stdout, sys.stderr, logging.lastResort
        sys.stdout, sys.stderr = _output(1, sys.stdout), _output(_ERROR_STREAM, sys.stderr)
        with warnings.catch_warnings():
            # They are written for programmers. With PYTHONWARNINGS=error, they would even end the program.
            warnings.simplefilter("ignore")
            os.environ["PYTHONWARNINGS"] = "ignore"
            # Nor are the messages that they log.
            logging.lastResort = logging.NullHandler()
            try:
                yield
            finally:
                sys.stdout, sys.stderr, logging.lastResort = before


@contextmanager
def _stopped_by_signals(is_own: bool) -> Iterator[None]:
    last = float("-inf")

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        is_repeat = time.monotonic() < last + _SECONDS_OF_REPEATS
        last = time.monotonic()
        if not is_repeat:
            raise StoppedError(number)

    # Only the main thread can handle signals. A signal that is ignored stays so, as `nohup` wants it.
    is_main = threading.current_thread() is threading.main_thread()
    handled = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in handled if is_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            # While Python shuts down, its own handler of Ctrl-C would print tracebacks.
            signal.signal(number, signal.SIG_DFL if is_own else handler)


def _use_utf8_names() -> None:
    """Start the program again with UTF-8 names, if its locale (`LC_ALL=C`) has only ASCII."""
    if _codec(sys.getfilesystemencoding()) != "ascii" or os.environ.get("PYTHONUTF8") == "1":
        return
    more = {"PYTHONUTF8": "1", "PYTHONIOENCODING": sys.stdout.encoding if sys.stdout else "ascii"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | more)


def _open_closed_streams() -> None:
    """Open standard streams that are closed: else the next file would get their number, and our output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _forget_odd_widths() -> None:
    """Remove widths of the terminal that are none: Typer would fail, or fill that many columns."""
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        width = os.environ.get(name, "")
        if not (width.isascii() and width.isdigit() and 0 < int(width) <= _MOST_COLUMNS):
            os.environ.pop(name, None)


class _Output(TextIOWrapper):
    """Standard output or standard error. Once nobody can read it, it drops what is written.

    Errors are caught here and not below the buffer, which would write text again after a signal.
    """

    def write(self, text: str, /) -> int:
        """Write text.

        Raises
        ------
        UsageError
            If standard output is a file or device that takes no more.
        """
        with self._dropping():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered. Errors are those of `write`."""
        with self._dropping():
            super().flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() != _ERROR_STREAM and not isinstance(error, BrokenPipeError):
                raise UsageError(
                    f"no more can be written there: {error.strerror}",
                    "standard output",
                    "send it somewhere else, such as a file on a disk with space",
                ) from error


def _output(number: int, stream: Any) -> _Output:
    """Return a stream like the given one, or for one that was closed, that nothing disturbs."""
    return _Output(
        BufferedWriter(FileIO(number, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=stream.line_buffering if stream else False,
        write_through=stream.write_through if stream else False,
    )


def is_utf8(stream: Any) -> bool:
    """Return whether a text stream can show every character."""
    return _codec(getattr(stream, "encoding", None) or "utf-8") == "utf-8"


def _codec(name: str) -> str:
    return codecs.lookup(name).name


def check_working_folder() -> None:
    """Raise UsageError if the working folder was removed: no relative path means anything there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the working folder cannot be accessed: {error.strerror}",
            ".",
            "it may have been removed. Change to another folder (`cd`), then try again",
        ) from None
