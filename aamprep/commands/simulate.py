"""`aamprep simulate`: make a study with a known answer."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    samples: Annotated[int, typer.Option(help="Number of samples.", min=1)] = 200,
    asvs: Annotated[int, typer.Option(help="Number of ASVs.", min=2)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Make a study with a known answer: table.biom, tree.nwk and metadata.tsv."""
    from aam_schemas.common.publish import published_folder
    from aamprep.simulation import SIGN, simulate_study, write_study

    with published_folder(folder, SIGN, overwrite) as target:
        write_study(simulate_study(samples, asvs, seed), target)
    say(f"wrote {folder}/table.biom, tree.nwk and metadata.tsv: {samples} samples, {asvs} ASVs")
