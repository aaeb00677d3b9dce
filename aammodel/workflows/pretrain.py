"""Pretrain a model, from a plan to the report of the trained model; or resume a run that was stopped.

    plan      shards and configuration (training/setup.py, workflows/resume.py)
    trainer   model, optimizer and streams (training/setup.py)
    fit       steps, validations, checkpoints (training/trainer.py)
    report    distances of the validation samples by the best weights (reports/run_report.py)

Under `torchrun` every process (rank) runs this file. Only the main rank writes files and messages.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from aam_schemas.common.owner import OwnedFolder, owned
from aam_schemas.common.publish import OutputFolder, published_folder, replace_file
from aam_schemas.common.text import as_argument
from aammodel.data.remote import ShardLocation
from aammodel.diagnostics.stop import stop_at_non_finite
from aammodel.distributed.ranks import Ranks, joined
from aammodel.evaluation.distances import Prediction, predict_distances
from aammodel.reports.run_report import REPORT_FILE, remove_report, write_report
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.kinds import RUN
from aammodel.runs.load import load_run
from aammodel.runs.progress import Progress
from aammodel.runs.training_asvs import TRAINING_ASVS_FILE, find_training_asvs, read_training_asvs
from aammodel.training.setup import Plan, make_trainer, shortcomings, validation_stream
from aammodel.training.trainer import Trainer
from aammodel.workflows.resume import Resumed, read_plan, record_changes

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Result of a call of `pretrain` or `resume`."""

    run: Path
    progress: Progress
    predictions: tuple[Prediction, ...] = ()
    """Distances of the validation samples by the best weights. Empty if the run was stopped."""
    is_trained: bool = False
    """Whether this call trained the run to its end. False if it was stopped, or was finished before."""
    stop_signal: int = 0
    """The signal that stopped the run before its end; 0 if none did."""
    is_main: bool = True
    """False on all ranks but the main one."""
    best_metric: str = "loss"
    """The metric that chose the weights."""


def pretrain(plan: Plan, run: Path, overwrite: bool = False) -> Outcome:
    """Train a model as planned.

    Parameters
    ----------
    plan : Plan
    run : Path
        The run's folder. It is made when the model is ready to be trained.
    overwrite : bool
        Replace a run in this folder.

    Raises
    ------
    UsageError
        If the folder exists and is not to be replaced, or the device cannot be used.
    InvalidDataError
        If a file of the shards is damaged.
    NonFiniteError
        If a loss or gradient is NaN or infinite. The batch is kept in the run's folder.
    """
    with joined() as ranks, ExitStack() as stack:
        trainer = make_trainer(plan, run, False, ranks, stop_at_non_finite)
        if ranks.is_main:
            stack.enter_context(begin_run(plan, run, overwrite))
            _describe(plan, trainer)
        return _train(plan, trainer)


def resume(
    run: Path,
    shards: ShardLocation | None = None,
    settings: dict[str, Any] | None = None,
    allow_changes: bool = False,
) -> Outcome:
    """Resume a run from its last checkpoint. A run that is finished stays as it is.

    Parameters
    ----------
    run : Path
        The run's folder.
    shards : ShardLocation, optional
        Where its shards are now; by default where they were.
    settings : dict, optional
        Settings of `[train]` that are given now.
    allow_changes : bool
        Resume even if shards or settings differ from those that the run began with.

    Raises
    ------
    UsageError, InvalidDataError, NonFiniteError
        As for `pretrain`, or if something differs that may not.
    """
    read_config_of(run)  # raises if this is not a run folder
    with joined() as ranks, owned(run) if ranks.is_main else nullcontext():
        resumed = read_plan(run, shards, settings, allow_changes)
        has_report = (run / REPORT_FILE).exists()
        trainer = make_trainer(resumed.plan, run, True, ranks, stop_at_non_finite)
        trainer.progress = resumed.adjust(trainer.progress)
        is_over = trainer.progress.is_finished and has_report
        ranks.wait()  # for ranks that still read what is written next
        if resumed.changes and trainer.progress.step:
            # If the run is killed next, it resumes from what the changes made of its checkpoint.
            trainer.save()
        if ranks.is_main:
            _update_run(run, resumed, trainer.progress.step, is_over)
        return _outcome(trainer) if is_over else _train(resumed.plan, trainer)


@contextmanager
def begin_run(plan: Plan, run: Path, overwrite: bool) -> Iterator[None]:
    """Make the run's folder with its configuration, and own it during the block."""
    target = OutputFolder(run, RUN, overwrite, (Path(str(plan.shards.folder)),))
    with ExitStack() as stack:
        # The folder has an owner before others can see it.
        with published_folder(target) as folder:
            content = json.dumps(plan.as_dict(), indent=2, ensure_ascii=False) + "\n"
            (folder / CONFIG_FILE).write_text(content, encoding="utf-8")
            seen = find_training_asvs(plan.shards, plan.train)
            (folder / TRAINING_ASVS_FILE).write_bytes(bytes(seen.file()))
            ownership = OwnedFolder(folder)
            stack.callback(ownership.release)
        ownership.renamed(run.absolute())
        yield


def _update_run(run: Path, resumed: Resumed, step: int, is_over: bool) -> None:
    """Record what the run is resumed with, and log it."""
    if is_over:
        _LOGGER.info("%s: this run is finished, after %s steps", run, step)
    else:
        # The old report would be taken for that of the new end.
        remove_report(run)
        if resumed.changes:
            _LOGGER.info("%s: these differ from the original run: %s", run, ", ".join(resumed.changes))
        _LOGGER.info("%s: resuming after step %s", run, step)
        if resumed.changes:
            _add_training_asvs(run, resumed.plan)
    record_changes(run, resumed, step)


def _add_training_asvs(run: Path, plan: Plan) -> None:
    """Add the ASVs of a changed plan, such as those of other shards, to the ASVs that the run has seen."""
    seen = read_training_asvs(run)
    if seen is not None:  # a run of an earlier version has no file, and its former ASVs are not known
        seen = seen.with_others(find_training_asvs(plan.shards, plan.train))
        replace_file(run / TRAINING_ASVS_FILE, *seen.file().parts)


def _train(plan: Plan, trainer: Trainer) -> Outcome:
    if not trainer.progress.is_finished:
        trainer.fit()
    if trainer.stop_signal:
        if trainer.ranks.is_main:
            step, run = trainer.progress.step, trainer.run
            resumed = f"aammodel pretrain --resume {as_argument(run)}"
            _LOGGER.info("stopped after step %s; to resume: %s", step, resumed)
        trainer.ranks.wait()
        return _outcome(trainer)
    return _outcome(trainer, finish_run(plan, trainer) if trainer.ranks.is_main else [], is_trained=True)


def _outcome(trainer: Trainer, predictions: Sequence[Prediction] = (), is_trained: bool = False) -> Outcome:
    return Outcome(
        run=trainer.run,
        progress=trainer.progress,
        predictions=tuple(predictions),
        is_trained=is_trained,
        stop_signal=trainer.stop_signal,
        is_main=trainer.ranks.is_main,
        best_metric=trainer.config.best_metric,
    )


def finish_run(plan: Plan, trainer: Trainer) -> list[Prediction]:
    """Predict the distances of the validation samples by the best weights, and write the report."""
    model = load_run(trainer.run, trainer.device)
    stream = validation_stream(plan)
    samples = list(islice(stream.samples(), plan.train.validation_samples))
    predictions = predict_distances(model, plan.shards, samples, stream.token_limit)
    write_report(trainer.run, read_config_of(trainer.run), predictions)
    return predictions


def _describe(plan: Plan, trainer: Trainer) -> None:
    """Log the size of the model and of the data, and warn of losses that cannot be learned."""
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    manifest = plan.shards.manifest
    _LOGGER.info(
        "%s parameters on %s; %s training and %s validation samples; %s steps of %s samples",
        f"{num_parameters:,}",
        _devices(trainer.device.type, str(trainer.device), trainer.ranks),
        f"{manifest.num_rows('train'):,}",
        f"{manifest.num_rows('validation'):,}",
        f"{trainer.num_steps:,}",
        plan.train.batch_size * plan.train.accumulate,
    )
    for sentence in shortcomings(plan):
        _LOGGER.warning(sentence)


def _devices(kind: str, name: str, ranks: Ranks) -> str:
    return name if ranks.size == 1 else f"{ranks.size} x {kind}"
