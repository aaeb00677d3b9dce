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
    from aamprep import api

    written = api.simulate(folder, samples=samples, asvs=asvs, seed=seed, overwrite=overwrite)
    say(f"wrote {written}/table.biom, tree.nwk and metadata.tsv: {samples} samples, {asvs} ASVs")
