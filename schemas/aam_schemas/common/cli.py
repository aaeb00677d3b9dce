"""Startup and exit of both programs: messages on stderr, an exit code for each outcome."""

import json
import logging
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from aam_schemas.common.errors import AamError, UsageError, exhausted_limit, full_disk, is_disk_full
from aam_schemas.common.publish import recover
from aam_schemas.common.surroundings import (
    EscapedError,
    StoppedError,
    check_working_folder,
    is_utf8,
    settled,
)

SINGLE_FILE_OPTIONS = (
    "--rep-seqs", "--tree", "--metadata", "--taxonomy", "--distances", "--config", "--resume", "--output",
    "--model",
)  # fmt: skip
"""Options that take one file or folder."""

PACKAGES = ("aam_schemas", "aamprep", "aammodel")
"""Names of the loggers whose messages the programs print."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters, and those of Unicode that change the direction of text or are not seen."""

DONE, INVALID_DATA, WRONG_USAGE, INTERNAL_ERROR = 0, 1, 2, 3


def run(app: Any, program: str, address_space: int = 0) -> None:
    """Run a typer application and exit with the right code.

    Parameters
    ----------
    app : typer.Typer
        The program's commands.
    program : str
        Its name, for messages.
    address_space : int
        Bytes of address space that its libraries need. With less (`ulimit -v`), some of them abort.
    """
    # A signal can come when the work is done, too, before its handler is removed.
    sys.exit(_code_of(lambda: _run(app, program, address_space), program))


def _run(app: Any, program: str, address_space: int) -> NoReturn:
    with settled():
        code = _code_of(lambda: _start(app, program, address_space), program)
        sys.exit(_code_of(sys.stdout.flush, program) or code)


def _start(app: Any, program: str, address_space: int) -> None:
    with messages_on_stderr():
        check_address_space(address_space)
        check_working_folder()
        _check_text(sys.argv[1:])
        _check_files(sys.argv[2:])
        _recover_folders(sys.argv[2:])
        app(prog_name=program)


def _code_of(function: Callable[[], object], program: str) -> int:
    """Call a function, print its error if it raises one, and return the exit code."""
    try:
        function()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else DONE
    except BaseException as error:  # noqa: BLE001 - the last line of defense: a crash must not look like bad data
        return _report(error.__cause__ if isinstance(error, EscapedError) else error, program)
    return DONE


def _stop_within(error: BaseException | None) -> StoppedError | None:
    """Return the signal that led to an error: a library may raise one of its own after it."""
    while error is not None and not isinstance(error, StoppedError):
        if isinstance(error, KeyboardInterrupt):
            return StoppedError(signal.SIGINT)
        error = error.__cause__ or error.__context__
    return error


def _report(error: BaseException | None, program: str) -> int:
    error = _stop_within(error) or error
    if isinstance(error, StoppedError):
        # The main rank speaks for all.
        if os.environ.get("RANK", "0") == "0":
            say(f"{program}: stopped by {error}")
        return 128 + error.number
    if isinstance(error, OSError) and is_disk_full(error):
        error = full_disk(error, error.filename or "", "free some space")
    if isinstance(error, Exception) and not isinstance(error, AamError):
        error = exhausted_limit(error) or error
    if isinstance(error, AamError):
        say(f"{program}: {error}")
        document = partial(_print_json_error, error)
        return _code_of(document, program) or error.exit_code
    traceback.print_exception(error)
    say(f"{program}: internal error. This is a bug in {program}. Please report the lines above.")
    return INTERNAL_ERROR


@contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Print what the packages log, at level INFO and above, while the block lasts."""
    handler, loggers = _Stderr(), [logging.getLogger(name) for name in PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Stderr(logging.Handler):
    """Print messages as `say` does, without level and name: they are written for the user."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001 - a message that cannot be printed must not stop the work
            self.handleError(record)


def check_address_space(needed: int) -> None:
    """Refuse to go on with less address space (`ulimit -v`) than the libraries need.

    Parameters
    ----------
    needed : int
        Number of bytes.

    Raises
    ------
    UsageError
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < needed:
        what = f"this process may use {limit / 1e9:.1f} GB of address space, but needs {needed / 1e9:.1f} GB"
        raise UsageError(what, "limits of the system", "raise the limit with `ulimit -v`")


def _check_text(arguments: list[str]) -> None:
    """Refuse names that are not valid UTF-8: neither a manifest nor a JSON document can hold them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(
                "this name is not valid UTF-8", ascii(argument), "rename the file or folder"
            ) from None


def _check_files(arguments: list[str]) -> None:
    """Refuse an option that takes one file and is given twice: the first file would be ignored silently.

    For numbers and words the last value counts, as in other programs: scripts append theirs to defaults.
    """
    given = [argument.partition("=")[0] for argument in arguments]
    for option in SINGLE_FILE_OPTIONS:
        if given.count(option) > 1:
            raise UsageError(
                f"given {given.count(option)} times, but it takes one value", option, "give it once"
            )


def _recover_folders(arguments: list[str]) -> None:
    """Rename back each folder named on the command line whose replacement was interrupted."""
    for argument in arguments:
        option, _, value = argument.rpartition("=")
        if option or not argument.startswith("-"):
            # Leave a path that cannot be accessed to the command, which reports it.
            with suppress(OSError):
                recover(Path(value))


def say(message: str) -> None:
    """Print a message to the user on stderr, where it does not mix with results."""
    print(visible(message), file=sys.stderr, flush=True)


def visible(text: str) -> str:
    """Escape control characters, except line feeds: an id must not steer the terminal, or hide itself."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout, in ASCII if stdout is not in UTF-8."""
    print(json.dumps(document, indent=2, ensure_ascii=not is_utf8(sys.stdout), allow_nan=False))


def _print_json_error(error: AamError) -> None:
    """Print a JSON document for invalid data too, if `--json` was given: a script expects one."""
    if "--json" in sys.argv and error.exit_code == INVALID_DATA:
        finding = {
            "code": "unreadable",
            "severity": "error",
            "where": error.where,
            "value": "",
            "rule": error.what,
            "remedy": error.fix,
        }
        print_json({"valid": False, "findings": [finding]})
