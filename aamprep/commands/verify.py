"""`aamprep verify`: check a shard set for damage."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import INVALID_DATA
from aamprep.commands import options


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of the shard set.")] = Path("shards"),
    json: options.Json = False,
) -> None:
    """Check every byte and every number of a shard set. The exit code is 1 if there is an error."""
    from aamprep import api
    from aamprep.commands.output import print_report

    report = api.verify(shards)
    print_report(report, json)
    if report.facts and not json:
        files, size, samples = (report.facts[name] for name in ("files", "bytes", "samples"))
        outcome = "unchanged and consistent" if report.is_valid else "damaged"
        print(f"{shards}: {files:,} files, {size:,} bytes, {samples:,} samples: {outcome}")
    if not report.is_valid:
        raise typer.Exit(INVALID_DATA)
