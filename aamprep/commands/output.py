"""Shared by the commands: the files of a study, errors that name options, and printed reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json, say
from aamprep.errors import ParameterError

if TYPE_CHECKING:
    from aamprep.commands.options import Beside
    from aamprep.report.report import InvalidStudyError, Report


@contextmanager
def options_named() -> Iterator[None]:
    """Name the option instead of the Python parameter in errors about invalid arguments."""
    try:
        yield
    except ParameterError as error:
        raise error.as_option() from None


def files_beside(tables: list[Path], beside: "Beside") -> dict[str, Path]:
    """Return the file of each role. If none is given, it is looked for beside the tables.

    Raises
    ------
    UsageError
        If a given file does not exist, a role has both a file and its `--no-` option, or several files
        beside the tables fit one role.
    """
    from aamprep.study.discover import find_file_beside

    files = {}
    for role, (path, no) in vars(beside).items():
        option = role.replace("_", "-")
        if path is not None and no:
            raise ParameterError(f"--no-{option} was given, too", role, "give only one of the two")
        if path is not None and not path.exists():
            raise ParameterError("there is no such file", role, "check the path", str(path))
        file = None if no else path or find_file_beside(role, tables)
        if file is not None:
            files[role] = file
        if file is not None and path is None and role == "distances":
            # It may be what `aammodel distances` wrote, and need not be stored with the shards.
            say(f"{file} lies beside the table: used as precomputed distances (not with --no-distances)")
    return files


def print_report(
    report: "Report", json: bool, *, on_stderr: bool = False, outcome: str | None = None, facts: bool = True
) -> None:
    """Print a report as text, or as one JSON document."""
    from aam_schemas.common.terminal import plain_console
    from aamprep.report import terminal

    if json:
        print_json(report.to_dict())
    else:
        figures: dict[str, Any] = report.facts if facts else {}
        terminal.print_report(report.findings, figures, plain_console(stderr=on_stderr), outcome)


def refuse(error: "InvalidStudyError", json: bool, reason: str = "") -> typer.Exit:
    """Print the report of a command that wrote nothing, and return the exception that ends the program."""
    print_report(error.report, json, on_stderr=True, outcome="nothing written")
    say("nothing was written" + (f", because {reason}" if reason else ""))
    return typer.Exit(INVALID_DATA)
