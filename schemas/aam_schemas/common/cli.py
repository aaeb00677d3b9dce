"""How both programs begin and end: an exit code for each kind of ending, no traceback for what a user did."""

import json
import os
import re
import sys
import traceback
from typing import Any

from aam_schemas.common.errors import AamError, UsageError, full_disk, is_disk_full

FILES = (
    "--rep-seqs", "--tree", "--metadata", "--taxonomy", "--distances", "--config", "--resume", "--output"
)  # fmt: skip
"""Options that take one file or folder."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

DONE, INVALID_DATA, WRONG_USAGE, INTERNAL_ERROR = 0, 1, 2, 3


def run(app: Any, program: str) -> None:
    """Run a typer application and leave the process with the right exit code.

    Parameters
    ----------
    app : typer.Typer
        The program's commands.
    program : str
        Its name, for messages.
    """
    try:
        _check_text(sys.argv[1:])
        _check_files(sys.argv[2:])
        app(prog_name=program)
    except AamError as error:
        say(f"{program}: {error}")
        _print_json_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output (`| head`) went away: nothing is wrong, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a crash must not look like bad data
        if is_disk_full(error):
            say(f"{program}: {full_disk(error, error.filename or '', 'free some space')}")
            sys.exit(WRONG_USAGE)
        traceback.print_exc()
        say(f"{program}: an internal error, which is a defect of {program}: please report the lines above.")
        sys.exit(INTERNAL_ERROR)


def _check_text(arguments: list[str]) -> None:
    """Refuse names that are no UTF-8: neither a manifest nor a JSON document can hold them."""
    for one in arguments:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise UsageError("this name is no UTF-8", ascii(one), "rename the file or folder") from None


def _check_files(arguments: list[str]) -> None:
    """Refuse two files for one option, of which the first would be ignored silently.

    Of numbers and words the last one counts, as in other programs: scripts add theirs to a line of defaults.
    """
    given = [one.partition("=")[0] for one in arguments]
    for option in FILES:
        if given.count(option) > 1:
            raise UsageError(f"given {given.count(option)} times, and one is taken", option, "give one")


def say(message: str) -> None:
    """Print a note to the user, on stderr, where it does not mix with results."""
    print(visible(message), file=sys.stderr, flush=True)


def visible(text: str) -> str:
    """Show control characters as `repr` does, but for line feeds: an id must not steer the terminal."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def _print_json_error(error: AamError) -> None:
    """With `--json`, a script gets its document for bad data, too."""
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
