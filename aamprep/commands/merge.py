"""`aamprep merge`: merge shard sets into one."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from aamprep.commands import options


def merge(
    sets: Annotated[list[Path], typer.Argument(help="Folders of the shard sets, at least two.")],
    output: Annotated[Path, typer.Option(help="Folder of the merged shard set.")] = Path("shards"),
    tree: Annotated[
        Path | None,
        typer.Option(help="Rooted tree with the ASVs of all sets (.nwk, .qza), needed for UniFrac."),
    ] = None,
    token_limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of ASVs kept per sample. Default: the smallest limit of the sets."),
    ] = None,
    prefix_samples: options.PrefixSamples = False,
    strict: options.Strict = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Merge shard sets into one. ASVs with the same sequence become one ASV."""
    from aamprep import api
    from aamprep.commands.output import options_named, print_report, refuse
    from aamprep.report.report import InvalidStudyError

    try:
        with options_named():
            summary = api.merge(
                sets,
                output=output,
                tree=tree,
                token_limit=token_limit,
                prefix_samples=prefix_samples,
                strict=strict,
                overwrite=overwrite,
                command=shlex.join(["aamprep", *sys.argv[1:]]),
            )
    except InvalidStudyError as error:
        raise refuse(error, json) from None
    print_report(summary.report, json, on_stderr=True)
    if not json:
        print(summary)
