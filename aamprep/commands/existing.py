"""`aamprep inspect`, `limits` and `verify`: what is there already, and whether it is sound."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aamprep.commands import options
from schemas.command import INVALID_DATA, print_json
from schemas.errors import InvalidDataError

if TYPE_CHECKING:
    from aamprep.findings import Findings


def limits(
    tables: options.Tables = None,
    json: options.Json = False,
) -> None:
    """Show what token limits and rarefaction depths would keep of the samples, to choose them by."""
    from aamprep.commands.study import refuse
    from aamprep.findings import Findings
    from aamprep.gather import find_tables
    from aamprep.limits import as_document, measure
    from aamprep.read import read_table

    findings = Findings()
    read = [read_table(path, findings) for path in find_tables(tables)]
    usable = [table for table in read if table is not None]
    if len(usable) < len(read):
        raise refuse(findings, json)
    measured = measure(usable)
    if not len(measured.depth):
        raise InvalidDataError(
            "no sample has a read",
            ", ".join(table.path for table in usable),
            "see what `aamprep validate` says",
        )
    if json:
        print_json(as_document(measured))
    else:
        from aamprep.show import print_limits

        print_limits(measured)


def inspect(
    path: Annotated[Path, typer.Argument(help="Any file or folder.")],
    json: options.Json = False,
) -> None:
    """Say what a file is, and what is in it. Exit code 1 where it is nothing that is known."""
    from aamprep.findings import Findings
    from aamprep.inspect import inspect_path

    findings = Findings()
    facts = inspect_path(path, findings)
    if json:
        print_json(
            {"recognised": findings.valid, "facts": facts, "findings": [f.as_dict() for f in findings.found]}
        )
    else:
        from aamprep.show import print_facts

        print_facts(facts)
        if findings.found:
            print_findings(findings, {}, json, on_stderr=True)
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of a shard set.")] = Path("shards"),
    json: options.Json = False,
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
    print_findings(findings, figures, json)
    if figures and not json:
        words = f"{figures['files']:,} files, {figures['bytes']:,} bytes, {figures['samples']:,} samples"
        print(f"{shards}: {words}: {'all as they were written' if findings.valid else 'not sound'}")
    if not findings.valid:
        raise typer.Exit(INVALID_DATA)


def print_findings(
    findings: "Findings", figures: dict[str, Any], json: bool, on_stderr: bool = False
) -> None:
    """Print findings for people, or as one document."""
    from rich.console import Console

    from aamprep.report import as_json, print_report

    if json:
        print_json(as_json(findings, figures))
    else:
        print_report(findings, {}, Console(stderr=on_stderr))
