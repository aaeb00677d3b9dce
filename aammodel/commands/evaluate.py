"""`aammodel evaluate`: compare the predictions of a model with the true values and with baselines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import print_json, say
from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import decimals
from aammodel.commands import options

if TYPE_CHECKING:
    from aam_schemas.common.folders import FolderKind
    from aammodel.evaluation.evaluate import Evaluation

_USED_FOR = {"train": "are those it learned from", "validation": "chose its weights"}


def evaluate(
    run: options.TrainedRun,
    shards: options.Shards,
    split: Annotated[str, typer.Option(help="Split to evaluate: test, validation or train.")] = "test",
    max_samples: Annotated[
        int, typer.Option(min=2, help="Maximum number of samples; a larger split is subsampled.")
    ] = 1000,
    token_limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of ASVs per sample. Default: as the run was trained."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the plots and evaluation.json.")] = Path(
        "evaluation"
    ),
    device: Annotated[
        str, typer.Option(help="Device, as cpu or cuda. With auto, a GPU is used if there is one.")
    ] = "auto",
    json: options.Json = False,
    overwrite: options.OverwriteFolder = False,
) -> None:
    """Evaluate a model: its predicted distances and masked bases, compared with baselines.

    The default split is test, which training never saw. The validation samples chose the weights.
    """
    from aam_schemas.common.publish import OutputFolder, check_target, published_folder
    from aam_schemas.shards import SPLITS

    if split not in SPLITS:
        fix = f"choose among: {', '.join(SPLITS)}; one is evaluated at a time"
        raise UsageError(f"there is no split {split!r}", "--split", fix)
    target = OutputFolder(output, _evaluation(), overwrite, (Path(shards), *([run] if run.is_file() else [])))
    check_target(target)

    # The options are checked before these imports, since torch takes seconds to import.
    import json as json_library

    from aammodel.api import load
    from aammodel.data.remote import parse_location
    from aammodel.data.shards import open_shards
    from aammodel.reports.run_report import save_distances

    model = load(run, device=device)
    opened = open_shards(parse_location(shards))
    evaluation = model.evaluate(opened, split=split, max_samples=max_samples, token_limit=token_limit)
    document = {
        "schema_version": 1,
        "run": str(run),
        "shards": str(opened.folder),
        "manifest_sha256": opened.manifest.sha256,
        "split": split,
        **evaluation.as_dict(),
    }
    with published_folder(target) as folder:
        for prediction in evaluation.predictions:
            save_distances(prediction, folder / f"{prediction.target}.png")
        text = json_library.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / "evaluation.json").write_text(text, encoding="utf-8")
    if json:
        print_json(document)
    else:
        shards_limit = opened.manifest.choices.token_limit
        _print(evaluation, split, _reason(token_limit, model.token_limit, shards_limit))
        for note in evaluation.notes:
            print(f"\n{note}")
    say(f"plots and results: {output}/")


def _evaluation() -> "FolderKind":
    from aam_schemas.common.folders import JSON, PNG, FolderKind, json_or_none
    from aammodel.runs.kinds import PLOT

    def has_results(folder: Path) -> bool:
        document = json_or_none(folder / "evaluation.json")
        return isinstance(document, dict) and {"run", "manifest_sha256", "split"} <= document.keys()

    return FolderKind("the output of evaluate", has_results, {r"evaluation\.json": JSON, PLOT: PNG})


def _reason(given: int | None, trained: int | None, shards_limit: int) -> str:
    """Return why the model used its token limit, in words.

    Parameters
    ----------
    given : int or None
        Value of the option `--token-limit`.
    trained : int or None
        Token limit of the run, if it is known.
    shards_limit : int
        Token limit of the shards.
    """
    if given is not None:
        is_other = trained is not None and given != trained
        return f"--token-limit; the run was trained with {trained}" if is_other else "--token-limit"
    if trained is None:
        return "as the shards have"
    if trained <= shards_limit:
        return "as the run was trained"
    return f"the shards' limit; the run was trained with {trained}"


def _print(evaluation: "Evaluation", split: str, reason: str) -> None:
    from aammodel.distances.metrics import METRICS

    num_samples, limit = evaluation.num_samples, evaluation.token_limit
    print(f"{num_samples:,} {split} samples of up to {limit:,} ASVs ({reason})")
    if split != "test":
        print(
            f"If the model was trained on these shards, its {split} samples {_USED_FOR[split]}, so expect "
            "better results than on test samples."
        )
    for prediction in evaluation.predictions:
        words = METRICS[prediction.target].words
        print(f"\n{words}: {prediction.pairs} of {prediction.num_samples:,} samples")
        print(
            f"  model          r {decimals(prediction.r)}   R2 {decimals(prediction.r_squared)}   "
            f"mean absolute error {prediction.mean_absolute_error:.4f}"
        )
        for name, r in evaluation.baselines[prediction.target].items():
            print(f"  {name.replace('_', ' '):<13}  r {decimals(r)}")
        if prediction.why_undefined:
            print(f"  A correlation is undefined, since {prediction.why_undefined}.")
    nucleotides = evaluation.nucleotides
    if nucleotides.accuracy is not None:
        print(
            f"\nmasked bases: {nucleotides.accuracy:.1%} of {nucleotides.num_masked:,} predicted correctly, "
            f"loss {nucleotides.loss:.4f}"
        )
