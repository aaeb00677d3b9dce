"""`aammodel pretrain`: train a model on shards, or resume a run."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.errors import AamError, NonFiniteError, UsageError
from aam_schemas.common.text import decimals
from aammodel.commands import options

if TYPE_CHECKING:
    from aammodel.workflows.pretrain import Outcome

_OBJECTIVE_WEIGHT = 0.1
"""Weight of an objective that was given without."""
SECONDS_FOR_MAIN_RANK = 10
"""Seconds that another rank waits with an error, so that the main rank can print it first."""


def pretrain(
    shards: options.OptionalShards = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run. Default: run.")] = None,
    max_steps: options.MaxSteps = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Number of micro-batches in a step. Default: 1.")
    ] = None,
    token_limit: options.TokenLimit = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC[=WEIGHT]",
            help="Distance to learn. You can repeat this option. Default: unweighted_unifrac.",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]",
            help="Further task for the embedding: embedding_distance, faith_pd or richness. Repeatable.",
        ),
    ] = None,
    best_metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Validation metric that chooses the weights to keep, such as distance_loss or "
            "unweighted_unifrac_r. Default: loss.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed for initial weights, sample order and masking. Default: 0."),
    ] = None,
    device: options.Device = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Precision of matrix products: float32, bf16 or fp16. Default: float32."),
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Number of steps between checkpoints. Default: 100.")
    ] = None,
    config: options.Config = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder.")] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Resume even if shards or options have changed."),
    ] = False,
    overwrite: options.OverwriteRun = False,
) -> None:
    """Pretrain a model to predict masked bases and distances between samples."""
    given = {
        "max_steps": max_steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "token_limit": token_limit,
        "targets": _targets(target) if target else None,
        "objectives": _weights(objective, "--objective", _OBJECTIVE_WEIGHT) if objective else None,
        "best_metric": best_metric,
        "seed": seed,
        "device": device,
        "precision": precision,
        "checkpoint_every": checkpoint_every,
    }
    with errors_of_main_rank():
        if resume is None:
            _require(not allow_changes, "--allow-changes", "it requires --resume")
            outcome = _start(shards, output or Path("run"), given, config, overwrite)
        else:
            _require(not overwrite, "--overwrite", "a resumed run is not replaced")
            _require(output is None, "--output", "a resumed run keeps its folder")
            outcome = _resume(resume, shards, given, config, allow_changes)
    _print(outcome)
    if outcome.stop_signal:
        # The exit code of a shell for a program that a signal ended.
        sys.exit(128 + outcome.stop_signal)


def _require(holds: bool, option: str, rule: str) -> None:
    if not holds:
        raise UsageError(f"{option} cannot be used here: {rule}", option, "leave it out")


@contextmanager
def errors_of_main_rank() -> Iterator[None]:
    """Return a context in which an error that all ranks have is printed by the main rank only.

    When the main rank ends, `torchrun` ends the others, which wait for that. If a rank is still there after
    the wait, it alone has the error, and prints it.
    """
    try:
        yield
    except AamError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(SECONDS_FOR_MAIN_RANK)
            # All ranks have this error, even if `torchrun` was slow to end them.
            if isinstance(error, NonFiniteError):
                sys.exit(error.exit_code)
        raise


def _targets(given: list[str]) -> dict[str, float]:
    """Return weights by metric, from values like `METRIC` and `METRIC=WEIGHT`."""
    from aammodel.distances.metrics import METRICS

    targets = _weights(given, "--target", 1.0)
    for name in targets:
        if name not in METRICS:
            raise UsageError(
                f"there is no metric {name!r}", "--target", f"choose among: {', '.join(METRICS)}"
            )
    return targets


def _weights(given: list[str], option: str, default: float) -> dict[str, float]:
    weights = {}
    for value in given:
        name, _, weight = value.partition("=")
        try:
            weights[name] = float(weight or default)
        except ValueError:
            raise UsageError(
                f"the weight {weight!r} is not a number", option, f"write for instance {name}=0.5"
            ) from None
    return weights


def _start(
    shards: str | None, output: Path, given: dict[str, Any], config: Path | None, overwrite: bool
) -> "Outcome":
    if shards is None:
        raise UsageError("no shards were given", "pretrain", "add the folder of a shard set")
    from aam_schemas.common.publish import OutputFolder, check_target
    from aam_schemas.manifest import read_manifest
    from aammodel.config.toml import read_config, with_options
    from aammodel.config.train import TrainConfig
    from aammodel.data.remote import parse_location
    from aammodel.runs.kinds import RUN

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**with_options(tables["train"], given))
    location = parse_location(shards)
    if isinstance(location, Path):
        read_manifest(location)  # a wrong folder is named before the output
    inputs = (Path(shards), *([config] if config else []))
    check_target(OutputFolder(output, RUN, overwrite, inputs))

    # The options are checked before these imports, since torch takes seconds to import.
    from aammodel.training.setup import make_plan
    from aammodel.workflows.pretrain import pretrain as run_pretraining

    return run_pretraining(make_plan(location, tables["model"], train), output, overwrite)


def _resume(
    run: Path, shards: str | None, given: dict[str, Any], config: Path | None, allow_changes: bool
) -> "Outcome":
    from aammodel.config.toml import read_config, with_options
    from aammodel.data.remote import parse_location
    from aammodel.workflows.pretrain import resume

    tables = read_config(config) if config else {"train": {}, "model": {}}
    if tables["model"]:
        raise UsageError(
            "[model] cannot be changed when resuming", str(config), "leave [model] out, or start a new run"
        )
    location = parse_location(shards) if shards is not None else None
    return resume(run, location, with_options(tables["train"], given), allow_changes)


def _print(outcome: "Outcome") -> None:
    """Print the results of a run that was trained to its end."""
    if not outcome.is_main or not outcome.is_trained:
        return
    from aammodel.distances.metrics import METRICS
    from aammodel.training.best_metric import best_in_words

    progress = outcome.progress
    if progress.best_loss is not None:
        best = best_in_words(outcome.best_metric, progress.best_loss)
        print(f"{best}, at step {progress.best_step} of {progress.step}")
    for prediction in outcome.predictions:
        pairs = f"{prediction.pairs} of {prediction.num_samples:,} validation samples"
        print(
            f"{METRICS[prediction.target].words}, {pairs}: r = {decimals(prediction.r)}, "
            f"mean absolute error {prediction.mean_absolute_error:.4f}"
        )
        if prediction.caution:
            print(prediction.caution)
    print(f"model: {outcome.run}/model.safetensors, report: {outcome.run}/report.html")
