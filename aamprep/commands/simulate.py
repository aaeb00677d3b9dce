"""`aamprep simulate`: write a simulated study."""

from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import say


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder of the simulated study.")],
    samples: Annotated[int, typer.Option(help="Number of samples.", min=1)] = 200,
    asvs: Annotated[int, typer.Option(help="Number of ASVs.", min=2)] = 1000,
    seed: Annotated[int, typer.Option(help="Random seed. The same seed gives the same study.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
) -> None:
    """Write a simulated study with known properties: table.biom, tree.nwk and metadata.tsv."""
    from aamprep import api

    written = api.simulate(folder, samples=samples, asvs=asvs, seed=seed, overwrite=overwrite)
    say(f"wrote {written}/table.biom, tree.nwk and metadata.tsv: {samples} samples, {asvs} ASVs")
