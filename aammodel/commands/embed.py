"""`aammodel embed`: write the embeddings of samples or ASVs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import InvalidDataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_BESIDE = "Files that belong to a table"


def embed(
    table_or_shards: Annotated[
        str,
        typer.Argument(
            help="BIOM table, QIIME 2 artifact, folder written by `aamprep shard`, or its URL. A table is "
            "prepared as the samples were that the model was trained on."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a run or of a checkpoint, or a model file.")],
    output: Annotated[Path, typer.Option(help="Output file: .parquet or .tsv.")],
    asvs: Annotated[
        bool, typer.Option("--asvs", help="Embed ASVs, each on its own, instead of samples.")
    ] = False,
    asvs_in_samples: Annotated[
        bool,
        typer.Option("--asvs-in-samples", help="Embed the ASVs of each sample in the context of the sample."),
    ] = False,
    split: Annotated[
        str | None, typer.Option(help="Embed only this split: train, validation or test. Default: all.")
    ] = None,
    rep_seqs: Annotated[
        Path | None,
        typer.Option(help="Sequences of the features (.fasta, .qza).", rich_help_panel=_BESIDE),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="Sample metadata (.tsv). Also for shards.", rich_help_panel=_BESIDE),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(help="Taxonomy of the features (.tsv, .qza).", rich_help_panel=_BESIDE),
    ] = None,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot", help="Also draw the samples into a .png file beside the output: PCA and predicted PCoA."
        ),
    ] = False,
    color_by: Annotated[
        str | None, typer.Option(help="Metadata column by which the plot is colored. Implies --plot.")
    ] = None,
    token_limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of ASVs per sample. Default: as the run was trained."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device, as cpu or cuda. With auto, a GPU is used if there is one.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file of embeddings.")
    ] = False,
) -> None:
    """Write one vector per sample, as wide as the model, or one per ASV.

    What does not fit the model is reported with figures, such as ASVs that training never saw.
    """
    from aam_schemas.shards import SPLITS
    from aammodel.workflows.embedding_files import check_embedding_file, check_plot_file
    from aammodel.workflows.prepared import files_beside, is_table

    if asvs and asvs_in_samples:
        raise UsageError("give only one of the two", "--asvs and --asvs-in-samples", "run the command twice")
    if split not in (None, *SPLITS):
        raise UsageError(f"there is no split {split!r}", "--split", f"choose among: {', '.join(SPLITS)}")
    is_plotted = plot or color_by is not None
    if is_plotted and (asvs or asvs_in_samples):
        raise UsageError("a plot shows samples, and ASVs are embedded", "--plot", "leave one of the two out")
    given = {"rep_seqs": rep_seqs, "metadata": metadata, "taxonomy": taxonomy}
    inputs = [Path(table_or_shards), model, *(path for path in given.values() if path is not None)]
    check_embedding_file(output, overwrite, inputs)
    picture = output.with_suffix(".png")
    if is_plotted:
        check_plot_file(picture, overwrite, inputs)
    is_prepared = not is_table(table_or_shards)
    for option, path in (("--rep-seqs", rep_seqs), ("--taxonomy", taxonomy)):
        if is_prepared and path is not None:
            raise UsageError("shards were given, which were prepared already", option, "leave this out")

    # The options are checked before these imports, since torch takes seconds to import.
    from aammodel.api import load
    from aammodel.workflows.embed import asvs_in_samples as rows_in_samples
    from aammodel.workflows.embed import embed_asvs, embed_samples
    from aammodel.workflows.embedding_files import write_plot, write_rows

    loaded = load(model, device=device)
    files = given | {"metadata": None} if is_prepared else files_beside(table_or_shards, given)
    with _report_printed(), loaded.prepared(table_or_shards, split, token_limit, files) as todo:
        if asvs:
            tables: Iterable[pa.Table] = [embed_asvs(todo).table()]
        elif asvs_in_samples:
            tables = rows_in_samples(todo)
        else:
            samples = embed_samples(todo, metadata if is_prepared else None, is_plotted, color_by)
            tables = [samples.table()]
            if is_plotted:
                write_plot(picture, samples.plot(color_by))
                say(f"plot: {picture}")
        number = write_rows(output, tables, todo.provenance)
    rows = "ASVs" if asvs else "ASVs in samples" if asvs_in_samples else "samples"
    print(f"{number:,} {rows}, {loaded.network.config.width} numbers each: {output}")


@contextmanager
def _report_printed() -> Iterator[None]:
    """Print the report of a table that cannot be prepared."""
    try:
        yield
    except InvalidDataError as error:
        report = getattr(error, "report", None)
        if report is None:
            raise
        say(str(report))
        raise InvalidDataError(error.what, error.where, "correct what the report above names") from None
