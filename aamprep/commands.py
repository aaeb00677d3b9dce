"""Commands about what is there already: inspect, verify, merge, limits.

Every import of a stage waits for its command, so that `aamprep --help` answers at once.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.command import INVALID_DATA, print_json, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from aamprep.findings import Findings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to a program."""
    for command in (verify,):
        app.command()(command)


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of a shard set.")] = Path("shards"),
    json: Json = False,
) -> None:
    """Check every byte and every number of a shard set. Exit code 1 where anything is wrong."""
    from aamprep.findings import Findings
    from aamprep.verify import verify_shards

    findings = Findings()
    manifest = verify_shards(shards, findings)
    figures: dict[str, Any] = {}
    if manifest is not None:
        size = sum(file.bytes for file in manifest.files)
        figures = {"files": len(manifest.files), "bytes": size, "samples": manifest.num_samples}
    _print_findings(findings, figures, json)
    if figures and not json:
        words = f"{figures['files']:,} files, {figures['bytes']:,} bytes, {figures['samples']:,} samples"
        print(f"{shards}: {words}: {'all as they were written' if findings.valid else 'not sound'}")
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)


def _print_findings(findings: "Findings", figures: dict[str, Any], json: bool) -> None:
    from rich.console import Console

    from aamprep.report import as_json, print_report

    if json:
        print_json(as_json(findings, figures))
    else:
        print_report(findings, {}, Console())
