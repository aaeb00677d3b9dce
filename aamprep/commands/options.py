"""Options that several commands share, each said once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

BESIDE = "Files beside the table"
READING = "Reading files that may be hostile"

Tables = Annotated[
    list[Path] | None,
    typer.Argument(help="BIOM tables or QIIME 2 artifacts. Default: table.biom or table.qza here."),
]
RepSeqs = Annotated[
    Path | None, typer.Option(help="Sequences of the feature ids (.fasta, .qza).", rich_help_panel=BESIDE)
]
NoRepSeqs = Annotated[
    bool, typer.Option("--no-rep-seqs", help="Do not pick up rep-seqs.", rich_help_panel=BESIDE)
]
TreeFile = Annotated[
    Path | None, typer.Option(help="Rooted tree of the ASVs (.nwk, .qza).", rich_help_panel=BESIDE)
]
NoTree = Annotated[bool, typer.Option("--no-tree", help="Do not pick up a tree.", rich_help_panel=BESIDE)]
MetadataFile = Annotated[Path | None, typer.Option(help="Sample metadata (.tsv).", rich_help_panel=BESIDE)]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Do not pick up metadata.", rich_help_panel=BESIDE)
]
TaxonomyFile = Annotated[
    Path | None, typer.Option(help="Taxon of each feature (.tsv, .qza).", rich_help_panel=BESIDE)
]
NoTaxonomy = Annotated[
    bool, typer.Option("--no-taxonomy", help="Do not pick up a taxonomy.", rich_help_panel=BESIDE)
]
DistancesFile = Annotated[
    Path | None,
    typer.Option(
        help="Precomputed distance matrix (.tsv, .qza, .h5, .npy), kept with the shards.",
        rich_help_panel=BESIDE,
    ),
]
NoDistances = Annotated[
    bool, typer.Option("--no-distances", help="Do not pick up distances.", rich_help_panel=BESIDE)
]
NoIsolate = Annotated[
    bool,
    typer.Option(
        "--no-isolate", help="Read tables in this process, not in a child.", rich_help_panel=READING
    ),
]
Budget = Annotated[
    float, typer.Option(help="Most gibibytes that a file may declare.", min=0.001, rich_help_panel=READING)
]
TokenLimit = Annotated[int, typer.Option(help="Largest number of ASVs kept per sample.")]
RarefyDepth = Annotated[int | None, typer.Option(help="Draw every sample down to so many reads.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Write nothing, and exit 1, if any sample is rejected.")
]
PrefixSamples = Annotated[
    bool, typer.Option("--prefix-samples", help="Write STUDY.SAMPLE for sample ids, to tell studies apart.")
]


@dataclass(frozen=True)
class Beside:
    """Options for the files beside the table, by role: a path, and whether to take none."""

    rep_seqs: tuple[Path | None, bool]
    tree: tuple[Path | None, bool]
    metadata: tuple[Path | None, bool]
    taxonomy: tuple[Path | None, bool]
    distances: tuple[Path | None, bool]
