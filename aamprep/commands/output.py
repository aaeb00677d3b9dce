"""What the commands share: the files of a study, errors that name options, findings and refusals."""

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
    """Name the option, and not the Python parameter, in the errors of wrong arguments."""
    try:
        yield
    except ParameterError as error:
        raise error.as_option() from None


def files_beside(tables: list[Path], beside: "Beside") -> dict[str, Path]:
    """Return the file of each role: the one that was named, or that lies beside the tables.

    Raises
    ------
    UsageError
        If a named file does not exist, a role has a file and is to have none, or two files could be meant.
    """
    from aamprep.study.discover import find_file_beside

    found = {}
    for role, (path, no) in vars(beside).items():
        option = role.replace("_", "-")
        if path is not None and no:
            raise ParameterError(f"--no-{option} was given, too", role, "give one of the two")
        if path is not None and not path.exists():
            raise ParameterError("there is no such file", role, "check the path", str(path))
        file = None if no else path or find_file_beside(role, tables)
        if file is not None:
            found[role] = file
    return found


def print_report(
    report: "Report", json: bool, *, on_stderr: bool = False, outcome: str | None = None, facts: bool = True
) -> None:
    """Print a report for people, or as one document."""
    from rich.console import Console

    from aamprep.report import terminal

    if json:
        print_json(report.to_dict())
    else:
        figures: dict[str, Any] = report.facts if facts else {}
        terminal.print_report(report.findings, figures, Console(stderr=on_stderr), outcome)


def refuse(error: "InvalidStudyError", json: bool, reason: str = "") -> typer.Exit:
    """Print the findings, and return the exit that says that nothing was written."""
    print_report(error.report, json, on_stderr=True, outcome="not written")
    say("nothing was written" + (f", since {reason}" if reason else ""))
    return typer.Exit(INVALID_DATA)
