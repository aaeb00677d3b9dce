"""`aammodel embed`: write the embeddings of samples or ASVs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from aam_schemas.common.cli import check_address_space, say
from aam_schemas.common.errors import InvalidDataError, UsageError

_BESIDE = "Files that belong to a table"
_ADDRESS_SPACE = 4_000_000_000
"""Bytes of address space that torch and the libraries that prepare a table need together."""


def embed(
    table_or_shards: Annotated[
        str,
        typer.Argument(
            help="BIOM table, QIIME 2 artifact, folder written by `aamprep shard`, or its URL. A table is "
            "prepared as the samples were that the model was trained on."
        ),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a run or of a checkpoint, or a model file.")],
    output: Annotated[Path, typer.Option(help="Output file: .parquet, .tsv or .h5ad (AnnData).")],
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
    tree: Annotated[
        Path | None,
        typer.Option(help="Rooted tree, for true distances in an .h5ad file.", rich_help_panel=_BESIDE),
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
    from aammodel.workflows.embedding_files import ANNDATA_SUFFIX, check_plot_file
    from aammodel.workflows.prepared import files_beside, is_table

    rows = "ASVs" if asvs else "ASVs in samples" if asvs_in_samples else "samples"
    is_plotted, is_anndata = plot or color_by is not None, output.suffix == ANNDATA_SUFFIX
    _check_options(asvs and asvs_in_samples, rows, split, is_plotted)
    if tree is not None and not is_anndata:
        raise UsageError("only an .h5ad file has true distances", "--tree", "leave it out: no tree is needed")
    given = {"rep_seqs": rep_seqs, "taxonomy": taxonomy, "metadata": metadata}
    inputs = [Path(table_or_shards), model, *(path for path in (*given.values(), tree) if path is not None)]
    _check_output(output, rows, overwrite, inputs)
    picture = output.with_suffix(".png")
    if is_plotted:
        check_plot_file(picture, overwrite, inputs)
    if is_table(table_or_shards):
        check_address_space(_ADDRESS_SPACE)
        files, later = files_beside(table_or_shards, given), None
        # A tree beside the table is not used, since distances of many samples take time.
        files |= files_beside(table_or_shards, {"tree": tree} if tree else {})
    else:
        _refuse_with_shards({"--rep-seqs": rep_seqs, "--taxonomy": taxonomy, "--tree": tree})
        files, later = {}, metadata

    # The options are checked before these imports, since torch takes seconds to import.
    from aammodel.api import load
    from aammodel.workflows.anndata_files import make_anndata, write_anndata
    from aammodel.workflows.embed import asvs_in_samples as rows_in_samples
    from aammodel.workflows.embed import embed_asvs, embed_samples
    from aammodel.workflows.embedding_files import write_plot, write_rows

    loaded = load(model, device=device)
    with _report_printed(), loaded.prepared(table_or_shards, split, token_limit, files) as todo:
        if rows == "samples":
            samples = embed_samples(todo, later, is_plotted or is_anndata, color_by)
            if is_anndata:
                write_anndata(output, make_anndata(todo, samples, loaded.preparation))
                number = len(samples.sample_ids)
            else:
                number = write_rows(output, [samples.table()], todo.provenance)
            if is_plotted:
                write_plot(picture, samples.plot(color_by))
                say(f"plot: {picture}")
        else:
            tables = rows_in_samples(todo) if asvs_in_samples else [embed_asvs(todo).table()]
            number = write_rows(output, tables, todo.provenance)
    print(f"{number:,} {rows}, {loaded.network.config.width} numbers each: {output}")


def _check_options(is_both: bool, rows: str, split: str | None, is_plotted: bool) -> None:
    from aam_schemas.shards import SPLITS

    if is_both:
        raise UsageError("give only one of the two", "--asvs and --asvs-in-samples", "run the command twice")
    if split not in (None, *SPLITS):
        raise UsageError(f"there is no split {split!r}", "--split", f"choose among: {', '.join(SPLITS)}")
    if is_plotted and rows != "samples":
        raise UsageError("a plot shows samples, and ASVs are embedded", "--plot", "leave one of the two out")


def _check_output(output: Path, rows: str, overwrite: bool, inputs: list[Path]) -> None:
    from aammodel.workflows.embedding_files import ANNDATA_SUFFIX, TABLE_SUFFIXES, check_embedding_file

    if rows == "samples":
        check_embedding_file(output, overwrite, inputs, (*TABLE_SUFFIXES, ANNDATA_SUFFIX))
    elif output.suffix == ANNDATA_SUFFIX:
        what = "an .h5ad file holds samples together with their ASVs"
        raise UsageError(
            what, str(output), "leave --asvs and --asvs-in-samples out, or name it .parquet or .tsv"
        )
    else:
        check_embedding_file(output, overwrite, inputs)


def _refuse_with_shards(given: dict[str, Path | None]) -> None:
    for option, path in given.items():
        if path is not None:
            raise UsageError("shards were given, which were prepared already", option, "leave this out")


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
