"""`aammodel evaluate`: how good a model is on samples, beside what needs no learning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aam_schemas.common.cli import print_json, say
from aam_schemas.common.errors import UsageError

if TYPE_CHECKING:
    from aammodel.evaluation.evaluate import Evaluation


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run, of one of its checkpoints, or a model file.")],
    shards: Annotated[str, typer.Argument(help="Folder that `aamprep shard` wrote, or its URL.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    max_samples: Annotated[int, typer.Option(min=2, help="Of a larger split, so many are drawn.")] = 1000,
    token_limit: Annotated[
        int | None, typer.Option(min=1, help="Most ASVs per sample. Default: as the run was trained.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the pictures and evaluation.json.")] = Path(
        "evaluation"
    ),
    device: Annotated[str, typer.Option(help="cpu, cuda ... Default: a GPU where there is one.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Measure a model on samples that it never saw: distances, hidden bases, and baselines beside them."""
    from aam_schemas.common.publish import check_target, published_folder
    from aam_schemas.shards import SPLITS

    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}", "--split", f"choose among: {', '.join(SPLITS)}")
    check_target(output, overwrite, "evaluation.json")

    import json as json_library

    from aammodel.data.remote import parse_location
    from aammodel.data.shards import open_shards
    from aammodel.evaluation.evaluate import evaluate as measure
    from aammodel.reports.run_report import save_distances
    from aammodel.runs.load import load_run, log_mismatches
    from aammodel.training.device import pick_device

    model = load_run(run, pick_device(device))
    opened = open_shards(parse_location(shards))
    limit, origin = _limit(token_limit, run, opened.manifest.choices.token_limit)
    log_mismatches(run, opened)
    found = measure(model, opened, split, max_samples, limit)
    document = {
        "schema_version": 1,
        "run": str(run),
        "shards": str(opened.folder),
        "manifest_sha256": opened.manifest.sha256,
        "split": split,
        **found.as_dict(),
    }
    with published_folder(output, "evaluation.json", overwrite) as folder:
        for one in found.predictions:
            save_distances(one, folder / f"{one.target}.png")
        text = json_library.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / "evaluation.json").write_text(text, encoding="utf-8")
    if json:
        print_json(document)
    else:
        _print(found, split, origin)
    say(f"pictures and figures: {output}/")


def _limit(given: int | None, run: Path, kept: int) -> tuple[int, str]:
    """Choose how many ASVs of a sample the model reads, and say why so many."""
    from aammodel.runs.load import token_limit_of_training

    if given is not None:
        return given, "--token-limit"
    trained = token_limit_of_training(run)
    if trained is None:
        return kept, "as the shards have"
    if trained > kept:
        return kept, f"as the shards have; the run was trained with {trained}"
    return trained, "as the run was trained"


def _print(found: "Evaluation", split: str, origin: str) -> None:
    from aammodel.distances.metrics import METRICS

    print(f"{found.num_samples:,} {split} samples of up to {found.token_limit:,} ASVs ({origin})")
    for one in found.predictions:
        words = METRICS[one.target].words
        print(f"\n{words}: {len(one.true):,} pairs of {one.num_samples:,} samples")
        print(
            f"  model          r {one.r:.3f}   R2 {one.r_squared:.3f}   "
            f"mean absolute error {one.mean_absolute_error:.4f}"
        )
        for name, r in found.baselines[one.target].items():
            print(f"  {name.replace('_', ' '):<13}  r {r:.3f}")
    if not found.predictions:
        print("no distance: fewer than two samples have a true one by a target of the model")
    guessed = found.nucleotides
    if guessed.accuracy is not None:
        print(
            f"\nhidden bases: {guessed.accuracy:.1%} of {guessed.num_masked:,} guessed right, "
            f"loss {guessed.loss:.4f}"
        )
