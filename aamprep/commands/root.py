"""`aamprep root`: a tree without a root gets one, at its midpoint."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import InvalidDataError, UsageError


def root(
    tree: Annotated[Path, typer.Argument(help="Tree, rooted or not (.nwk, .qza).")],
    output: Annotated[Path, typer.Option(help="Newick file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Root a tree halfway between its two farthest tips, and write it as newick."""
    if output.exists() and not overwrite:
        raise UsageError("this exists already", str(output), "name another file, or add --overwrite")

    from aam_schemas.common.publish import replace_file
    from aamprep.commands.output import refuse
    from aamprep.read import roles
    from aamprep.rules import tables as rules
    from aamprep.rules.findings import Findings
    from aamprep.tree.midpoint import as_newick, root_at_midpoint

    findings = Findings()
    read = roles.tree(tree, findings, None, "tree to root")
    if read is None or not findings.valid:
        raise refuse(findings, json=False)
    for finding in findings.found:
        if finding.rule is not rules.NEWICK_UNROOTED:
            say(f"{finding.where}: {finding.rule.rule}: {finding.value}")
    if len(read.tips) < 2:
        raise InvalidDataError("this tree has no two tips", str(tree), "give a tree with more tips")
    if (read.parent == 0).sum() == 2:
        say(f"{tree}: this tree has a root already; by one at its midpoint, UniFrac is another")
    replace_file(output, as_newick(root_at_midpoint(read)).encode())
    print(f"{len(read.tips):,} tips, rooted at the midpoint: {output}")
