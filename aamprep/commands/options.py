"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

BESIDE = "Files that belong to the table"
READING = "Protection against damaged files"

Tables = Annotated[
    list[Path] | None,
    typer.Argument(
        help="BIOM tables or QIIME 2 artifacts. Default: table.biom or table.qza in the current folder."
    ),
]
RepSeqs = Annotated[
    Path | None, typer.Option(help="Sequences of the features (.fasta, .qza).", rich_help_panel=BESIDE)
]
NoRepSeqs = Annotated[
    bool,
    typer.Option(
        "--no-rep-seqs", help="Do not use rep-seqs that lie beside the table.", rich_help_panel=BESIDE
    ),
]
TreeFile = Annotated[
    Path | None, typer.Option(help="Rooted tree of the ASVs (.nwk, .qza).", rich_help_panel=BESIDE)
]
NoTree = Annotated[
    bool,
    typer.Option("--no-tree", help="Do not use a tree that lies beside the table.", rich_help_panel=BESIDE),
]
MetadataFile = Annotated[Path | None, typer.Option(help="Sample metadata (.tsv).", rich_help_panel=BESIDE)]
NoMetadata = Annotated[
    bool,
    typer.Option(
        "--no-metadata", help="Do not use metadata that lie beside the table.", rich_help_panel=BESIDE
    ),
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="Taxonomy of the features (.tsv, .qza).", rich_help_panel=BESIDE)
]
NoTaxonomy = Annotated[
    bool,
    typer.Option(
        "--no-taxonomy", help="Do not use a taxonomy that lies beside the table.", rich_help_panel=BESIDE
    ),
]
DistancesFile = Annotated[
    Path | None,
    typer.Option(
        help="Precomputed distances of the samples, stored with the shards (.tsv, .qza, .h5, .npy).",
        rich_help_panel=BESIDE,
    ),
]
NoDistances = Annotated[
    bool,
    typer.Option(
        "--no-distances", help="Do not use distances that lie beside the table.", rich_help_panel=BESIDE
    ),
]
NoIsolate = Annotated[
    bool,
    typer.Option(
        "--no-isolate",
        help="Read files in this process. By default, a child process protects it from damaged files.",
        rich_help_panel=READING,
    ),
]
Budget = Annotated[
    float,
    typer.Option(
        help="Refuse files that declare more than this many GiB.", min=0.001, rich_help_panel=READING
    ),
]
TokenLimit = Annotated[int, typer.Option(help="Maximum number of ASVs kept per sample.")]
RarefyDepth = Annotated[
    int | None,
    typer.Option(help="Rarefy every sample to this many reads. Samples with fewer reads are rejected."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Write nothing if any sample is rejected. The exit code is then 1.")
]
PrefixSamples = Annotated[
    bool,
    typer.Option(
        "--prefix-samples", help="Name samples STUDY.SAMPLE, so that ids of different studies cannot collide."
    ),
]


@dataclass(frozen=True)
class Beside:
    """Options for the files beside the table: for each role the given path, and whether to use no file."""

    rep_seqs: tuple[Path | None, bool]
    tree: tuple[Path | None, bool]
    metadata: tuple[Path | None, bool]
    taxonomy: tuple[Path | None, bool]
    distances: tuple[Path | None, bool]
