"""Read the plan of a run that is resumed: the one it began with, or a changed one if that is allowed."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import replace_file
from aammodel.config.model import ModelConfig
from aammodel.config.stored import load_model_config, load_train_config
from aammodel.config.train import TrainConfig
from aammodel.data.order import count_batches
from aammodel.data.remote import ShardLocation, parse_location
from aammodel.data.shards import ShardSet, open_shards
from aammodel.objectives.registry import loss_defining_keys
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.load import asvs_too_long
from aammodel.runs.progress import Progress
from aammodel.training.best_metric import check_best_metric
from aammodel.training.setup import Plan, adapt_to_model, check_shards

HARDWARE_KEYS = ("device", "num_workers", "sharding")
"""Keys of `[train]` that may change at any time, since no sample and no step depends on them."""

_NEW_RUN = "start a new run"


@dataclass(frozen=True)
class Resumed:
    """A run that is resumed."""

    plan: Plan
    previous: TrainConfig
    """Configuration with which the run was trained until now."""
    changes: dict[str, object]
    """Previous values of all settings that change, by name. Empty if nothing changes."""

    def adjust(self, progress: Progress) -> Progress:
        """Return the progress with which a run continues.

        A changed run may take further steps, and its patience starts anew. If a change affects the meaning
        of the validation loss, or the metric that chooses the weights, the best value is forgotten too.
        """
        if not self.changes:
            return progress
        # The best loss before such a change cannot be compared with a loss after it.
        if (loss_defining_keys() | {"best_metric"}) & self.changes.keys():
            progress = replace(progress, best_loss=None)
        return replace(
            progress,
            batches=self._batches(progress.batches),
            validations_since_best=0,
            validations_since_reduction=0,
            is_finished=False,
        )

    def _batches(self, batches: int) -> int:
        """Convert a number of micro-batches to the new batch size.

        It is rounded down, so the samples of a partial micro-batch are seen again.
        """
        new, old = self.plan.train.batch_size, self.previous.batch_size
        num_samples = self.plan.shards.manifest.num_rows("train")
        epoch, batch = divmod(batches, count_batches(num_samples, old))
        return epoch * count_batches(num_samples, new) + batch * old // new


def read_plan(
    run: Path,
    shards: ShardLocation | None = None,
    chosen: dict[str, Any] | None = None,
    allow_changes: bool = False,
) -> Resumed:
    """Read the plan of a run, changed as asked.

    Parameters
    ----------
    run : Path
        The run's folder.
    shards : ShardLocation, optional
        Where its shards are now. If not given, they are where they were.
    chosen : dict, optional
        Values of the training configuration that are asked for now.
    allow_changes : bool
        Whether shards and values may differ from those that the run began with.

    Raises
    ------
    UsageError, InvalidDataError
        If there is no such run, if its shards are missing, or if there is a change that is not allowed.
    """
    config = read_config_of(run)
    model, previous = _read_configs(config, run / CONFIG_FILE)
    train = adapt_to_model(replace(previous, **(chosen or {})), model)
    changes = _changed_values(previous, train)
    if set(train.targets) != set(model.targets):
        raise UsageError("the targets of a run cannot be changed", str(run), _NEW_RUN)
    if _optimizer_state(train) != _optimizer_state(previous):
        raise UsageError(
            f"{_optimizer_state(train)} cannot resume from the optimizer state of "
            f"{_optimizer_state(previous)}",
            str(run),
            _NEW_RUN,
        )
    if changes and not allow_changes:
        raise _refuse_changes(run, changes)
    check_best_metric(train)  # raises if an objective is not registered
    # The terms of the distance loss are in the order of the model's targets.
    train = replace(train, targets={name: train.targets[name] for name in model.targets})
    opened = open_shards(shards or parse_location(config["shards"]["folder"]))
    if opened.manifest.sha256 != config["shards"]["manifest_sha256"]:
        _check_other_shards(opened, model, train, allow_changes)
        changes["shards"] = config["shards"]
    return Resumed(Plan(opened, model, train), previous, changes)


def _optimizer_state(train: TrainConfig) -> str:
    """Return an optimizer's name, unless another one stores the same tensors for each weight."""
    if train.optimizer == "sgd":
        return "sgd" if train.momentum else "sgd without momentum"
    return "adamw or adam"


def record_changes(run: Path, resumed: Resumed, step: int) -> None:
    """Update `config.json`: the current plan, and the previous values with the step until which they held.

    Parameters
    ----------
    run : Path
        The run's folder.
    resumed : Resumed
    step : int
        Number of steps that the run has taken.
    """
    old, new = read_config_of(run), resumed.plan.as_dict()
    changes = old.pop("changes", [])
    # JSON turns tuples into lists, so the new plan is compared as it would be read back.
    if old == json.loads(json.dumps(new)):
        return
    was = dict(resumed.changes)
    for name in ("versions", "machine"):
        if old.get(name) != new[name] and name in old:
            was[name] = old[name]
    changes += [{"until_step": step, "was": was}] if was else []
    content = json.dumps(new | ({"changes": changes} if changes else {}), indent=2, ensure_ascii=False)
    replace_file(run / CONFIG_FILE, (content + "\n").encode())


def _changed_values(previous: TrainConfig, train: TrainConfig) -> dict[str, object]:
    """Return the previous values of all keys that differ, except for those of the hardware."""
    names = (field.name for field in fields(TrainConfig) if field.name not in HARDWARE_KEYS)
    old = {name: getattr(previous, name) for name in names}
    return {name: value for name, value in old.items() if value != getattr(train, name)}


def _refuse_changes(run: Path, changes: dict[str, object]) -> UsageError:
    return UsageError(
        f"a run resumes with its own settings, and this changes {', '.join(changes)}",
        str(run),
        f"leave this out, add --allow-changes, or {_NEW_RUN}",
    )


def _read_configs(config: dict[str, Any], path: Path) -> tuple[ModelConfig, TrainConfig]:
    try:
        return load_model_config(config["model"]), load_train_config(config["train"])
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"this run was written by another version of aammodel: {error}", str(path), _NEW_RUN
        ) from error


def _check_other_shards(shards: ShardSet, model: ModelConfig, train: TrainConfig, is_allowed: bool) -> None:
    if not is_allowed:
        raise InvalidDataError(
            "the shards are not those that this run began with",
            str(shards.folder),
            f"restore the previous ones, add --allow-changes, or {_NEW_RUN}",
        )
    check_shards(shards, train)
    if shards.manifest.sequence_length > model.sequence_length:
        raise asvs_too_long(shards, model.sequence_length, str(shards.folder))
