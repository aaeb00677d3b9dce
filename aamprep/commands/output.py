"""Output that commands share: findings, and refusals."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json

if TYPE_CHECKING:
    from aamprep.rules.findings import Findings
from typing import TYPE_CHECKING

from rich.console import Console

from aam_schemas.common.cli import say
from aam_schemas.common.errors import UsageError
from aamprep.commands.options import Beside
from aamprep.report.documents import as_json, print_report
from aamprep.rules.findings import Findings
from aamprep.study.discover import find_beside, find_tables
from aamprep.study.study import Paths

if TYPE_CHECKING:
    pass


def print_findings(
    findings: "Findings", figures: dict[str, Any], json: bool, on_stderr: bool = False
) -> None:
    """Print findings for people, or as one document."""
    from rich.console import Console

    from aamprep.report.documents import as_json, print_report

    if json:
        print_json(as_json(findings, figures))
    else:
        print_report(findings, {}, Console(stderr=on_stderr))


def find_paths(tables: list[Path] | None, beside: Beside) -> Paths:
    """Find the files of the study, and say which were taken."""
    for role, (path, no) in beside.by_role().items():
        if path is not None and no:
            raise UsageError(f"--no-{role} was given, too", f"--{role}", "give one of the two")
    found = find_tables(tables)
    taken = {
        role: None if no else find_beside(role, found, path) for role, (path, no) in beside.by_role().items()
    }
    names = [str(path) for path in found] + [f"{path} ({role})" for role, path in taken.items() if path]
    say(f"reading {', '.join(names)}")
    return Paths(found, **{role.replace("-", "_"): path for role, path in taken.items()})


def refuse(findings: Findings, json: bool, strict: bool = False) -> typer.Exit:
    """Print the findings, and give the exit that says that nothing was written."""
    if json:
        print_json(as_json(findings, {}))
    else:
        print_report(findings, {}, Console(stderr=True), "not written")
    say("nothing was written" + (", since --strict was given and something was rejected" if strict else ""))
    return typer.Exit(INVALID_DATA)
