"""`aammodel crossval`: predict labels by cross-validation, with a model and with baselines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aam_schemas.common.cli import check_address_space, print_json, say, visible
from aammodel.commands import options

if TYPE_CHECKING:
    from aammodel.cross_validation.result import Crossval

_ADDRESS_SPACE = 1_500_000_000
"""Bytes of address space that torch and scikit-learn need. With 1 GB, loading scipy never ends."""


def crossval(
    shards: options.Shards,
    target: Annotated[list[str], typer.Option(help="Metadata column to predict. Repeatable.")],
    model: Annotated[
        Path | None,
        typer.Option("--from", help="Run whose embeddings are compared with the baselines."),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="Metadata in QIIME 2's format. Default: those of the shards.")
    ] = None,
    task: Annotated[
        Literal["classification", "regression"] | None,
        typer.Option(
            help="classification or regression. Default: numbers are regressed, text is classified."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    repeats: Annotated[int, typer.Option(help="Number of times that samples are divided into folds.")] = 1,
    group_by: Annotated[
        str | None, typer.Option(help="Column of subjects or plates. A fold does not divide their samples.")
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option(help="Column whose values are left out in turn, such as a study.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Method to fit. Repeatable. Default: all that can be fitted.")
    ] = None,
    permutations: Annotated[
        int, typer.Option(help="Number of permutations of the labels, for the p-value of the best method.")
    ] = 0,
    draws: Annotated[int, typer.Option(help="Number of draws of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the folds and of the bootstrap.")] = 0,
    token_limit: options.TokenLimit = None,
    device: Annotated[
        str, typer.Option(help="Device, as cpu or cuda. With auto, a GPU is used if there is one.")
    ] = "auto",
    output: Annotated[Path, typer.Option(help="Folder for predictions, scores and the report.")] = Path(
        "crossval"
    ),
    json: options.Json = False,
    overwrite: options.OverwriteFolder = False,
) -> None:
    """Predict a metadata column for every sample, each by fits that did not see it.

    All methods use the same folds: guesses without microbes, a forest, kernels on distances, k-mers and, with
    --from, the embedding of a model.
    """
    from aam_schemas.common.publish import OutputFolder, check_target, published_folder

    check_address_space(_ADDRESS_SPACE)
    # The options are checked before these imports, which take seconds.
    from aammodel.api import crossval as run
    from aammodel.cross_validation.files import CROSSVAL, folder_names, write_crossval

    inputs = [Path(shards), *(path for path in (metadata, model) if path is not None)]
    target_folder = OutputFolder(output, CROSSVAL, overwrite, tuple(inputs))
    check_target(target_folder)
    results = {
        name: run(
            shards,
            name,
            model=model,
            metadata=metadata,
            task=task,
            folds=folds,
            repeats=repeats,
            group_by=group_by,
            leave_out=leave_out,
            methods=method,
            permutations=permutations,
            draws=draws,
            seed=seed,
            token_limit=token_limit,
            device=device,
        )
        for name in target
    }
    folders = folder_names(list(results))
    with published_folder(target_folder) as folder:
        for name, result in results.items():
            place = folder if len(results) == 1 else folder / folders[name]
            place.mkdir(exist_ok=True)
            write_crossval(result, place)
    if json:
        print_json(
            {"schema_version": 1, "targets": {name: result.as_dict() for name, result in results.items()}}
        )
    else:
        for result in results.values():
            _print(result)
    say(f"predictions, scores and report: {output}/")


def _print(result: "Crossval") -> None:
    from rich.table import Table

    from aam_schemas.common.terminal import plain_console
    from aammodel.cross_validation.scores import SCORES, score_words
    from aammodel.methods.registry import words_of

    for warning in result.warnings:
        say(f"warning: {warning}")
    print(visible(f"{result.target.column}: {len(result.target.values):,} samples, {result.folds.words}"))
    console = plain_console()
    if not console.is_terminal:
        # In a file or a pipe, the table may be wider than a terminal.
        console.width = 160
    table = Table(box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    scores = list(SCORES[result.target.task])
    for score in scores:
        table.add_column(score_words(score).partition(",")[0], justify="right")
    table.add_column("95 % interval", justify="right")
    for name in result.ranking:
        main = result.interval(name)
        cells = [f"{result.interval(name, score).value:.3f}" for score in scores]
        table.add_row(visible(words_of(name)), *cells, f"{main.low:.3f} to {main.high:.3f}")
    console.print(table)
    for sentence in result.conclusion():
        print(visible(sentence))
