"""Set up a step for diagnosis: of untrained weights on shards, of a run, or of a saved batch."""

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
from aammodel.nn.sizes import require_weights_fit
from aammodel.objectives.registry import add_heads, make_objectives
from aammodel.runs.checkpoint import list_checkpoints, load_checkpoint
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.load import check_fits, load_run
from aammodel.runs.progress import Progress
from aammodel.runs.saved_step import load_step, weights_beside
from aammodel.runs.state_file import STATE_FILE
from aammodel.training.device import pick_device
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.setup import (
    COPIES,
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
"""Tables `[train]` and `[model]` of a configuration, as `read_config` returns them."""


def from_shards(shards: ShardLocation, tables: Tables, step: int) -> TraceInputs:
    """Set up a step of a new run, with its initial weights.

    Parameters
    ----------
    shards : ShardLocation
    tables : dict
        Configuration of the run.
    step : int
        Index of the step whose samples are used.
    """
    plan = make_plan(shards, tables["model"], TrainConfig(**tables["train"]))
    stream = train_stream(plan)
    stepper = make_stepper(plan, first_batch(stream))
    return TraceInputs(stepper, _batches(stream, step), step, "initial weights of a new run")


def from_run(run: Path, shards: ShardLocation | None, step: int | None) -> TraceInputs:
    """Set up a step of a run, with the weights of its last checkpoint.

    Parameters
    ----------
    run : Path
        A run folder, the folder of one of its checkpoints, or a `model.safetensors`.
    shards : ShardLocation or None
        Shards in place of those of the run.
    step : int or None
        Index of the step whose samples are used. If None, it is the next step.

    Raises
    ------
    UsageError
        If a model file is given without shards, or there is no such run.
    """
    is_checkpoint = (run / STATE_FILE).is_file()
    # A checkpoint is at checkpoints/step-... below the folder of its run.
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
        stepper, path, progress = _make_stepper(load_run(folder), plan.train), folder, Progress()
    step = progress.step if step is None else step
    return TraceInputs(stepper, _batches(train_stream(plan), step), step, str(path))


def from_batch(path: Path, run: Path | None, tables: Tables | None) -> TraceInputs:
    """Set up a saved step, with the weights that were saved with it.

    Parameters
    ----------
    path : Path
        The file that training wrote at a non-finite value.
    run : Path or None
        A run or a `model.safetensors` whose weights are used instead.
    tables : dict or None
        A configuration whose initial weights are used instead.
    """
    saved, saved_weights = load_step(path), weights_beside(path)
    if run is None and tables is None and saved_weights.is_file() and saved_weights != path:
        run = saved_weights
    if run is not None:
        # The weights may be what is non-finite.
        model, train = load_run(run, must_be_finite=False), _read_train_config(path.absolute().parent)
        weights = str(run)
        _check_targets(saved.batches, model, run)
    else:
        tables = tables or {"model": {}, "train": {}}
        train = TrainConfig(**tables["train"])
        # The shards may be gone, so the sizes of the model follow from the batches.
        length = max(batch.tokens.shape[1] for batch in saved.batches)
        num_slots = max(batch.slot.shape[1] for batch in saved.batches)
        config = make_model_config(length, num_slots, tables["model"], train)
        require_weights_fit(config, COPIES[train.optimizer], pick_device(train.device))
        torch.manual_seed(train.seed)
        model = AamModel(config)
        weights = "random, since none were saved with the batch; --run uses those of a run"
    stepper = _make_stepper(model, train)
    stepper.precision.load(saved.scaling)
    return TraceInputs(stepper, saved.batches, saved.step, weights, saved.rank)


def _check_targets(batches: list[Batch], model: AamModel, run: Path) -> None:
    number, targets = len(batches[0].distance), model.config.targets
    if any(len(batch.distance) != len(targets) for batch in batches):
        raise UsageError(
            f"this model predicts {len(targets)} distances, but the batch has {number}",
            str(run),
            "give the run that saved the batch",
        )


def _from_model(path: Path, shards: ShardLocation | None, step: int) -> TraceInputs:
    """Set up a step of a model file, which has neither shards nor a training configuration."""
    model = load_run(path)
    if shards is None:
        raise UsageError("a model file needs shards", str(path), "give the folder of a shard set, too")
    opened = open_shards(shards)
    check_fits(model, opened)
    train = adapt_to_model(TrainConfig(), model.config)
    stream = train_stream(Plan(opened, model.config, train))
    return TraceInputs(_make_stepper(model, train), _batches(stream, step), step, str(path))


def _make_stepper(model: AamModel, train: TrainConfig) -> Stepper:
    device = pick_device(train.device)
    # A model file may have targets that the training configuration does not have.
    targets = {name: train.targets.get(name, 1.0) for name in model.config.targets}
    train = replace(train, targets=targets)
    model, objectives = model.to(device), make_objectives(train)
    # Objectives that the model was not trained with get new heads.
    add_heads(model, (objective.name for objective in objectives))
    precision = Precision(train.precision, device)
    return Stepper(model, make_optimizer(model, train), precision, train, objectives)


def _batches(stream: BatchStream, step: int) -> list[Batch]:
    """Return the micro-batches of a step. The last step of an epoch may have fewer."""
    epoch, index = divmod(step, stream.steps_per_epoch)
    first = index * stream.config.accumulate
    number = min(stream.config.accumulate, stream.batches_per_epoch - first)
    return list(islice(stream.from_batch(epoch * stream.batches_per_epoch + first), number))


def _read_train_config(run: Path) -> TrainConfig:
    return load_train_config(read_config_of(run)["train"]) if (run / CONFIG_FILE).is_file() else TrainConfig()
