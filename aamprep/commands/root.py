"""`aamprep root`: root a tree at its midpoint."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say


def root(
    tree: Annotated[Path, typer.Argument(help="Tree to root (.nwk, .qza). An existing root is replaced.")],
    output: Annotated[Path, typer.Option(help="Newick file of the rooted tree.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
) -> None:
    """Root a tree halfway between its two most distant tips, and write it as newick."""
    from aamprep import api
    from aamprep.commands.output import options_named, refuse
    from aamprep.report.report import InvalidStudyError
    from aamprep.rules import tables as rules

    try:
        with options_named():
            rooted = api.root(tree, output=output, overwrite=overwrite)
    except InvalidStudyError as error:
        raise refuse(error, json=False) from None
    for finding in rooted.findings:
        if finding.rule is not rules.NEWICK_UNROOTED:
            say(f"{finding.where}: {finding.rule.requirement}: {finding.value}")
    if rooted.was_rooted:
        say(f"{tree}: this tree already had a root. UniFrac distances change with the new root")
    print(f"{rooted.num_tips:,} tips, rooted at the midpoint: {output}")
