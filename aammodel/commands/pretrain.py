"""`aammodel pretrain`: train a model on shards, or go on with a run."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.errors import AamError, NonFiniteError, UsageError

if TYPE_CHECKING:
    from aammodel.workflows.pretrain import Outcome

SECONDS_FOR_THE_MAIN_RANK = 10


def pretrain(
    shards: Annotated[
        str | None, typer.Argument(help="Folder that `aamprep shard` wrote, or the URL of one.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run. Default: run.")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Optimiser steps. Default: those of --epochs.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that every sample is seen. Default: 50.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples of a micro-batch. Default: 32.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Micro-batches of a step. Default: 1.")] = None,
    token_limit: Annotated[
        int | None, typer.Option(help="Most ASVs per sample. Default: the shards'.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC[=WEIGHT]",
            help="Distance to learn; may be given several times. Default: unweighted_unifrac.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and hidden bases. Default: 0.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda ... Default: a GPU where there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or fp16. Default: float32.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints. Default: 100.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with [train] and [model].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Go on with other shards or options than those begun with."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run's folder.")] = False,
) -> None:
    """Pretrain a model: predict hidden bases, and the distances of samples."""
    given = {
        "max_steps": max_steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "token_limit": token_limit,
        "targets": _targets(target) if target else None,
        "seed": seed,
        "device": device,
        "precision": precision,
        "checkpoint_every": checkpoint_every,
    }
    with main_rank_speaks_first():
        if resume is None:
            _require(not allow_changes, "--allow-changes", "it requires --resume")
            outcome = _begin(shards, output or Path("run"), given, config, overwrite)
        else:
            _require(not overwrite, "--overwrite", "a resumed run is not replaced")
            _require(output is None, "--output", "a resumed run keeps its folder")
            outcome = _resume(resume, shards, given, config, allow_changes)
    _print(outcome)
    if outcome.stop_signal:
        sys.exit(128 + outcome.stop_signal)


def _require(holds: bool, option: str, rule: str) -> None:
    if not holds:
        raise UsageError(f"{option} cannot be used here: {rule}", option, "leave it out")


@contextmanager
def main_rank_speaks_first() -> Iterator[None]:
    """Let a message that all ranks would print be printed once, by the main one.

    Its end makes `torchrun` end the others, who wait for that. One that nobody ends was alone with its
    error, and prints it.
    """
    try:
        yield
    except AamError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(SECONDS_FOR_THE_MAIN_RANK)
            if isinstance(error, NonFiniteError):
                # All ranks have the same to say.
                sys.exit(error.exit_code)
        raise


def _targets(given: list[str]) -> dict[str, float]:
    """Read `METRIC[=WEIGHT]`."""
    from aammodel.distances.metrics import METRICS

    targets = {}
    for one in given:
        name, _, weight = one.partition("=")
        if name not in METRICS:
            raise UsageError(
                f"there is no metric {name!r}", "--target", f"choose among: {', '.join(METRICS)}"
            )
        try:
            targets[name] = float(weight or 1)
        except ValueError:
            raise UsageError(f"{weight!r} is no weight", "--target", f"write {name}=0.5") from None
    return targets


def _begin(
    shards: str | None, output: Path, given: dict[str, Any], config: Path | None, overwrite: bool
) -> "Outcome":
    if shards is None:
        raise UsageError("no shards were given", "pretrain", "give the folder of a shard set")
    from aam_schemas.common.publish import check_target
    from aammodel.config.toml import read_config, with_options
    from aammodel.config.train import TrainConfig

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**with_options(tables["train"], given))
    check_target(output, overwrite, "config.json")

    from aammodel.data.remote import parse_location
    from aammodel.training.setup import make_plan
    from aammodel.workflows.pretrain import pretrain as run_pretraining

    return run_pretraining(make_plan(parse_location(shards), tables["model"], train), output, overwrite)


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
    """Print the results of a run that reached its end."""
    if not outcome.is_main or not outcome.is_trained:
        return
    from aammodel.distances.metrics import METRICS

    best = outcome.progress
    if best.best_loss is not None:
        print(f"best validation loss {best.best_loss:.4f}, at step {best.best_step} of {best.step}")
    for prediction in outcome.predictions:
        pairs = f"{len(prediction.true):,} pairs of {prediction.num_samples:,} validation samples"
        print(
            f"{METRICS[prediction.target].words}, {pairs}: r = {prediction.r:.3f}, "
            f"mean absolute error {prediction.mean_absolute_error:.4f}"
        )
    print(f"model: {outcome.run}/model.safetensors, report: {outcome.run}/report.html")
