"""`aamprep root`: a tree without a root gets one, at its midpoint."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say


def root(
    tree: Annotated[Path, typer.Argument(help="Tree, rooted or not (.nwk, .qza).")],
    output: Annotated[Path, typer.Option(help="Newick file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Root a tree halfway between its two farthest tips, and write it as newick."""
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
        say(f"{tree}: this tree had a root already; with the new one, UniFrac distances differ")
    print(f"{rooted.num_tips:,} tips, rooted at the midpoint: {output}")
