"""`aammodel pretrain`: train a model on shards, or go on with a run."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aam_schemas.common.cli import say
from aam_schemas.common.errors import AamError, NonFiniteError, UsageError

if TYPE_CHECKING:
    from aammodel.training.setup import Plan
    from aammodel.training.trainer import Trainer
    from aammodel.workflows.resume import Resumed

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
        if resume is None and allow_changes:
            raise UsageError("no run goes on", "--allow-changes", "name its folder with --resume")
        if resume is not None and overwrite:
            raise UsageError(
                f"the run in {resume} goes on, and is not replaced", "--overwrite", "leave it out"
            )
        if resume is None:
            _begin(shards, output or Path("run"), given, config, overwrite)
        elif output is None:
            _resume(resume, shards, given, config, allow_changes)
        else:
            raise UsageError(f"the run in {resume} goes on where it is", "--output", "leave it out")


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
) -> None:
    if shards is None:
        raise UsageError("no shards were named", "pretrain", "name the folder that holds them")
    from aam_schemas.common.publish import check_target
    from aammodel.config.toml import read_config, with_options
    from aammodel.config.train import TrainConfig

    tables = read_config(config) if config else {"train": {}, "model": {}}
    train = TrainConfig(**with_options(tables["train"], given))
    check_target(output, overwrite, "config.json")

    from aammodel.data.remote import parse_location
    from aammodel.diagnostics.stop import stop_at_non_finite
    from aammodel.distributed.ranks import joined
    from aammodel.training.setup import make_plan, make_trainer
    from aammodel.workflows.pretrain import begin_run

    plan = make_plan(parse_location(shards), tables["model"], train)
    with joined() as ranks:
        trainer = make_trainer(plan, output, False, ranks, stop_at_non_finite)
        if ranks.is_main:
            begin_run(plan, output, overwrite)
            _describe(plan, trainer)
        _train(plan, trainer)


def _resume(
    run_folder: Path, shards: str | None, given: dict[str, Any], config: Path | None, allow_changes: bool
) -> None:
    from aammodel.config.toml import read_config, with_options
    from aammodel.data.remote import parse_location
    from aammodel.diagnostics.stop import stop_at_non_finite
    from aammodel.distributed.ranks import joined
    from aammodel.reports.run_report import REPORT_FILE, remove_report
    from aammodel.training.setup import make_trainer
    from aammodel.workflows.resume import read_plan, record

    tables = read_config(config) if config else {"train": {}, "model": {}}
    if tables["model"]:
        raise UsageError("a run keeps its model", str(config), "leave [model] out, or begin a new run")
    place = parse_location(shards) if shards is not None else None
    resumed = read_plan(run_folder, place, with_options(tables["train"], given), allow_changes)
    has_report = (run_folder / REPORT_FILE).exists()
    with joined() as ranks:
        trainer = make_trainer(resumed.plan, run_folder, True, ranks, stop_at_non_finite)
        trainer.progress = resumed.adjust(trainer.progress)
        is_over = trainer.progress.is_finished and has_report
        ranks.wait()  # for those that still read what is written next
        if resumed.changes and trainer.progress.step:
            # A run that is killed next goes on from what the changes made of its checkpoint.
            trainer.save()
        if ranks.is_main:
            if not is_over:
                remove_report(run_folder)
            _tell(run_folder, resumed, trainer.progress.step, is_over)
            record(run_folder, resumed, trainer.progress.step)
        if not is_over:
            _train(resumed.plan, trainer)


def _tell(run_folder: Path, resumed: "Resumed", step: int, is_over: bool) -> None:
    if is_over:
        say(f"{run_folder}: this run is finished, after {step} steps")
        return
    if resumed.changes:
        say(f"{run_folder}: goes on with other {', '.join(resumed.changes)} than it began with")
    say(f"{run_folder}: goes on after step {step}")


def _train(plan: "Plan", trainer: "Trainer") -> None:
    from aammodel.distances.metrics import METRICS
    from aammodel.workflows.pretrain import finish_run

    if not trainer.progress.is_finished:
        trainer.fit()
    if trainer.stop_signal:
        if trainer.ranks.is_main:
            step, run = trainer.progress.step, trainer.run
            say(f"stopped after step {step}; go on: aammodel pretrain --resume {run}")
        trainer.ranks.wait()
        sys.exit(128 + trainer.stop_signal)
    if not trainer.ranks.is_main:
        return
    predictions = finish_run(plan, trainer)
    best = trainer.progress
    if best.best_loss is not None:
        print(f"best validation loss {best.best_loss:.4f}, at step {best.best_step} of {best.step}")
    for one in predictions:
        pairs = f"{len(one.true):,} pairs of {one.num_samples:,} validation samples"
        print(
            f"{METRICS[one.target].words}, {pairs}: r = {one.r:.3f}, "
            f"mean absolute error {one.mean_absolute_error:.4f}"
        )
    print(f"model: {trainer.run}/model.safetensors, report: {trainer.run}/report.html")


def _places(trainer: "Trainer") -> str:
    size = trainer.ranks.size
    return str(trainer.device) if size == 1 else f"{size} x {trainer.device.type}"


def _describe(plan: "Plan", trainer: "Trainer") -> None:
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    manifest = plan.shards.manifest
    say(
        f"{num_parameters:,} parameters on {_places(trainer)}; {manifest.num_rows('train'):,} training and "
        f"{manifest.num_rows('validation'):,} validation samples; {trainer.num_steps:,} steps of "
        f"{plan.train.batch_size * plan.train.accumulate} samples"
    )
    from aammodel.distances.metrics import METRICS

    if not any(METRICS[target].is_available(plan.shards.metric_inputs) for target in plan.model.targets):
        say("these shards have no tree: the model learns from hidden bases alone, not from UniFrac")
    elif plan.train.batch_size == 1:
        say("a batch of one sample has no pair: distances are not learned; give --batch-size 2 or more")
    if not trainer.validation:
        say("there is no validation sample: the last weights are kept, not the best")
