"""`aamprep verify`: check a shard set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.cli import INVALID_DATA
from aamprep.commands import options

if TYPE_CHECKING:
    pass
from aamprep.commands.output import print_findings


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of a shard set.")] = Path("shards"),
    json: options.Json = False,
) -> None:
    """Check every byte and every number of a shard set. Exit code 1 where anything is wrong."""
    from aamprep.rules.findings import Findings
    from aamprep.verification.verify import verify_shards

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
