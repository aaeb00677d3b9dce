"""`aammodel compare`: compare the configurations and results of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import print_json, say, visible
from aammodel.commands import options

if TYPE_CHECKING:
    from rich.table import Table

    from aammodel.reports.compare import Comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, finished or not.")],
    report: Annotated[
        Path | None, typer.Option(help="HTML page to write, with tables and plots (.html).")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare runs: the settings in which they differ, and their results."""
    from aammodel.reports import compare as reports

    comparison = reports.compare(runs, report=report)
    if json:
        print_json(comparison.as_dict())
    else:
        _print(comparison)
    if report is not None:
        say(f"wrote {report}")


def _print(comparison: "Comparison") -> None:
    from aam_schemas.common.terminal import plain_console
    from aammodel.reports.compare import as_rows

    console = plain_console()
    if not console.is_terminal:
        # In a file or a pipe, the table may be wider than a terminal.
        console.width = 60 + 30 * len(comparison.runs)
    console.print(_table("Results", comparison.runs, as_rows(comparison.results)))
    if comparison.differences:
        console.print(
            _table("Differences in configuration", comparison.runs, as_rows(comparison.differences))
        )
    if comparison.conclusion:
        print(comparison.conclusion)


def _table(title: str, runs: tuple[str, ...], rows: list[list[str]]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in runs:
        table.add_column(visible(name), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(visible, row))
    return table
