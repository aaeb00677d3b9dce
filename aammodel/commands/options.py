"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

_SHARDS = "Folder written by `aamprep shard`, or its URL."
_RUN = "Folder of a run or of a checkpoint, or a model file."

Shards = Annotated[str, typer.Argument(help=_SHARDS)]
OptionalShards = Annotated[str | None, typer.Argument(help=_SHARDS)]
TrainedRun = Annotated[Path, typer.Argument(help=_RUN)]
OptionalRun = Annotated[Path | None, typer.Option(help=_RUN)]
Config = Annotated[Path | None, typer.Option(help="TOML file with the tables [train] and [model].")]
MaxSteps = Annotated[
    int | None, typer.Option(help="Number of optimizer steps. Default: as many as --epochs takes.")
]
Epochs = Annotated[int | None, typer.Option(help="Number of passes over the training samples. Default: 50.")]
BatchSize = Annotated[int | None, typer.Option(help="Number of samples in a micro-batch. Default: 32.")]
TokenLimit = Annotated[
    int | None, typer.Option(help="Maximum number of ASVs per sample. Default: as the shards have.")
]
Device = Annotated[str | None, typer.Option(help="Device, as cpu or cuda. Default: a GPU if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")]
OverwriteRun = Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")]
OverwriteFolder = Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")]
