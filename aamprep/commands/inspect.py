"""`aamprep inspect`: describe a file or folder."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA, print_json
from aamprep.commands import options


def inspect(
    path: Annotated[Path, typer.Argument(help="File or folder to describe.")],
    json: options.Json = False,
) -> None:
    """Describe a file or folder: its type and content. The exit code is 1 if the type is unknown."""
    from aam_schemas.common.terminal import plain_console
    from aamprep import api
    from aamprep.report import terminal

    inspection = api.inspect(path)
    if json:
        print_json(inspection.to_dict())
    else:
        terminal.print_facts(inspection.facts)
        if inspection.findings:
            terminal.print_report(inspection.findings, {}, plain_console(stderr=True))
    if not inspection.is_recognized:
        raise typer.Exit(INVALID_DATA)
