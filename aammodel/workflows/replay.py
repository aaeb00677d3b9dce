"""A step to be taken again: of a run to come, of a run that was begun, or of a batch that was kept."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from aam_schemas.common.errors import UsageError
from aammodel.batch import Batch
from aammodel.config.stored import load_train_config
from aammodel.config.train import TrainConfig
from aammodel.data.remote import ShardLocation
from aammodel.data.shards import open_shards
from aammodel.data.stream import BatchStream
from aammodel.diagnostics.trace import TraceInputs
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import add_heads, make_objectives
from aammodel.runs.checkpoint import STATE_FILE, list_checkpoints, load_checkpoint
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.load import check_fits, load_run
from aammodel.runs.progress import Progress
from aammodel.runs.saved_step import load_step, weights_beside
from aammodel.training.device import pick_device
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.setup import (
    Plan,
    adapt_to_model,
    first_batch,
    make_model_config,
    make_plan,
    make_stepper,
    train_stream,
)
from aammodel.training.step import Stepper
from aammodel.workflows.resume import read_plan

Tables = dict[str, dict[str, Any]]
"""What `read_config` gives: the tables [train] and [model] of a configuration."""


def from_shards(shards: ShardLocation, tables: Tables, step: int) -> TraceInputs:
    """Set up a step of a run that was not begun, with the weights that it would begin with.

    Parameters
    ----------
    shards : Path, or where they are behind a URL
    tables : dict
        Its configuration.
    step : int
        Whose samples to take.
    """
    plan = make_plan(shards, tables["model"], TrainConfig(**tables["train"]))
    stream = train_stream(plan)
    stepper = make_stepper(plan, first_batch(stream))
    return TraceInputs(stepper, _batches(stream, step), step, "as training begins")


def from_run(run: Path, shards: ShardLocation | None, step: int | None) -> TraceInputs:
    """Set up a step of a run, by default the next one, with the weights of its last checkpoint.

    Parameters
    ----------
    run : Path
        Its folder, the folder of one of its checkpoints, or a `model.safetensors`.
    shards : Path or None
        Shards in place of those that the run was begun with.
    step : int or None
        Whose samples to take.
    """
    is_checkpoint = (run / STATE_FILE).is_file()
    folder = run.absolute().parent.parent if is_checkpoint else run
    if not (folder / CONFIG_FILE).is_file():
        return _from_model(run, shards, step or 0)
    plan = read_plan(folder, shards, allow_changes=True).plan
    checkpoints = [run] if is_checkpoint else list_checkpoints(folder)
    if checkpoints:
        stepper, path = make_stepper(plan, None), checkpoints[-1]
        device = stepper.precision.device
        progress = load_checkpoint(path, stepper.model, stepper.optimizer, device)
        stepper.precision.load(progress.scaling)
    else:
        stepper, path, progress = _stepper(load_run(folder), plan.train), folder, Progress()
    chosen = progress.step if step is None else step
    return TraceInputs(stepper, _batches(train_stream(plan), chosen), chosen, str(path))


def from_batch(path: Path, run: Path | None, tables: Tables | None) -> TraceInputs:
    """Set up a step that was kept, with the weights that were kept with it.

    Parameters
    ----------
    path : Path
        What training wrote when a number stopped being finite.
    run : Path or None
        A run, or a `model.safetensors`, whose weights to take instead.
    tables : dict or None
        A configuration whose untrained weights to take instead.
    """
    saved, beside = load_step(path), weights_beside(path)
    if run is None and tables is None and beside.is_file() and beside != path:
        run = beside
    if run is not None:
        model, train, weights = load_run(run), _train_of(path.absolute().parent), str(run)
    else:
        tables = tables or {"model": {}, "train": {}}
        train = TrainConfig(**tables["train"])
        length = max(batch.tokens.shape[1] for batch in saved.batches)
        num_slots = max(batch.slot.shape[1] for batch in saved.batches)
        torch.manual_seed(train.seed)
        model = AamModel(make_model_config(length, num_slots, tables["model"], train))
        weights = "drawn anew, since none were kept with the batch: --run takes those of a run"
    stepper = _stepper(model, train)
    stepper.precision.load(saved.scaling)
    return TraceInputs(stepper, saved.batches, saved.step, weights, saved.rank)


def _from_model(path: Path, shards: ShardLocation | None, step: int) -> TraceInputs:
    """Set up a step of a model that knows nothing of how it was trained."""
    model = load_run(path)
    if shards is None:
        raise UsageError("this model does not know its shards", str(path), "name shards to try it on")
    opened = open_shards(shards)
    check_fits(model, opened)
    train = adapt_to_model(TrainConfig(), model.config)
    stream = train_stream(Plan(opened, model.config, train))
    return TraceInputs(_stepper(model, train), _batches(stream, step), step, str(path))


def _stepper(model: AamModel, train: TrainConfig) -> Stepper:
    device = pick_device(train.device)
    targets = {name: train.targets.get(name, 1.0) for name in model.config.targets}
    train = replace(train, targets=targets)
    model, objectives = model.to(device), make_objectives(train)
    # A model that was not trained with all of them gets new heads for the others.
    add_heads(model, (objective.name for objective in objectives))
    precision = Precision(train.precision, device)
    return Stepper(model, make_optimizer(model, train), precision, train, objectives)


def _batches(stream: BatchStream, step: int) -> list[Batch]:
    """Give the micro-batches of a step."""
    epoch, index = divmod(step, stream.steps_per_epoch)
    first = index * stream.config.accumulate
    number = min(stream.config.accumulate, stream.batches_per_epoch - first)
    return list(islice(stream.from_batch(epoch * stream.batches_per_epoch + first), number))


def _train_of(run: Path) -> TrainConfig:
    return load_train_config(read_config_of(run)["train"]) if (run / CONFIG_FILE).is_file() else TrainConfig()
