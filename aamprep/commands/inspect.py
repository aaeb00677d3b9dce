"""`aamprep inspect`: say what a file is."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json
from aamprep.commands import options


def inspect(
    path: Annotated[Path, typer.Argument(help="Any file or folder.")],
    json: options.Json = False,
) -> None:
    """Say what a file is, and what is in it. Exit code 1 where it is nothing that is known."""
    from rich.console import Console

    from aamprep import api
    from aamprep.report import terminal

    found = api.inspect(path)
    if json:
        print_json(found.to_dict())
    else:
        terminal.print_facts(found.facts)
        if found.findings:
            terminal.print_report(found.findings, {}, Console(stderr=True))
    if not found.is_recognized:
        raise typer.Exit(INVALID_DATA)
