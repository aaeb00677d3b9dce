"""`aamprep inspect`: say what a file is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json
from aamprep.commands import options

if TYPE_CHECKING:
    pass
from aamprep.commands.output import print_findings


def inspect(
    path: Annotated[Path, typer.Argument(help="Any file or folder.")],
    json: options.Json = False,
) -> None:
    """Say what a file is, and what is in it. Exit code 1 where it is nothing that is known."""
    from aamprep.report.inspect import inspect_path
    from aamprep.rules.findings import Findings

    findings = Findings()
    facts = inspect_path(path, findings)
    if json:
        print_json(
            {"recognised": findings.valid, "facts": facts, "findings": [f.as_dict() for f in findings.found]}
        )
    else:
        from aamprep.report.terminal import print_facts

        print_facts(facts)
        if findings.found:
            print_findings(findings, {}, json, on_stderr=True)
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)
