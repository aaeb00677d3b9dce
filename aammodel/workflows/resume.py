"""From the folder of a run to the plan by which it goes on: the one it began with, unless told otherwise."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import replace_file
from aammodel.config.model import ModelConfig
from aammodel.config.stored import load_model_config, load_train_config
from aammodel.config.train import TrainConfig
from aammodel.data.remote import ShardLocation, parse_location
from aammodel.data.shards import ShardSet, open_shards
from aammodel.objectives.registry import loss_defining_keys, make_objectives
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.progress import Progress
from aammodel.training.setup import Plan, adapt_to_model, check_shards

PLACES = ("device", "num_workers", "sharding")
"""Where a run computes: free to change, since no sample and no step depends on it."""

_HOW = "leave this out, go on all the same with --allow-changes, or begin a new run"


@dataclass(frozen=True)
class Resumed:
    """A run that goes on."""

    plan: Plan
    begun: TrainConfig
    """How it was trained until now."""
    changes: dict[str, object]
    """What it began with and does not go on with, by name: empty unless that was allowed."""

    def adjust(self, progress: Progress) -> Progress:
        """Let a changed run take further steps, and find its best anew where losses do not compare."""
        if not self.changes:
            return progress
        if loss_defining_keys() & self.changes.keys():
            progress = replace(progress, best_loss=None)
        return replace(
            progress,
            batches=self._batches(progress.batches),
            validations_since_best=0,
            validations_since_reduction=0,
            is_finished=False,
        )

    def _batches(self, batches: int) -> int:
        """Count micro-batches of the size now in what was seen; part of one is seen again."""
        now, num_samples = self.plan.train.batch_size, self.plan.shards.manifest.num_rows("train")
        before = self.begun.batch_size
        epoch, batch = divmod(batches, -(-num_samples // before))
        return epoch * -(-num_samples // now) + batch * before // now


def read_plan(
    run: Path,
    shards: ShardLocation | None = None,
    chosen: dict[str, Any] | None = None,
    allow_changes: bool = False,
) -> Resumed:
    """Read the plan of a run that was begun.

    Parameters
    ----------
    run : Path
        The run's folder.
    shards : Path, optional
        Where its shards are now; by default where they were.
    chosen : dict, optional
        Values of the training configuration that are asked for now.
    allow_changes : bool
        Whether shards and values may differ from those that the run began with.

    Raises
    ------
    UsageError, InvalidDataError
        If there is no such run, its shards are gone, or something differs that may not.
    """
    config = read_config_of(run)
    model, begun = _configs(config, run / CONFIG_FILE)
    train = adapt_to_model(replace(begun, **(chosen or {})), model)
    changes: dict[str, object] = {
        one.name: getattr(begun, one.name)
        for one in fields(TrainConfig)
        if getattr(begun, one.name) != getattr(train, one.name) and one.name not in PLACES
    }
    if changes and not allow_changes:
        names = ", ".join(changes)
        raise UsageError(f"a run goes on as it was begun, and this changes {names}", str(run), _HOW)
    if set(train.targets) != set(model.targets):
        raise UsageError("a run cannot go on with other targets", str(run), "begin a new run")
    if "optimizer" in changes and "sgd" in (begun.optimizer, train.optimizer):
        raise UsageError(
            f"{train.optimizer} cannot go on with what {begun.optimizer} kept", str(run), "begin a new run"
        )
    make_objectives(train)  # which refuses one that is not registered
    # Terms of the distance loss are in the order of the model's targets.
    train = replace(train, targets={name: train.targets[name] for name in model.targets})
    found = open_shards(shards or parse_location(config["shards"]["folder"]))
    if found.manifest.sha256 != config["shards"]["manifest_sha256"]:
        _check_other_shards(found, model, train, allow_changes)
        changes["shards"] = config["shards"]
    return Resumed(Plan(found, model, train), begun, changes)


def record(run: Path, resumed: Resumed, step: int) -> None:
    """Bring `config.json` up to date: what the run goes on with, and what it was until which step."""
    before, now = read_config_of(run), resumed.plan.as_dict()
    changes = before.pop("changes", [])
    if before == json.loads(json.dumps(now)):
        return
    was = dict(resumed.changes)
    for name in ("versions", "machine"):
        if before.get(name) != now[name] and name in before:
            was[name] = before[name]
    changes += [{"until_step": step, "was": was}] if was else []
    content = json.dumps(now | ({"changes": changes} if changes else {}), indent=2, ensure_ascii=False)
    replace_file(run / CONFIG_FILE, (content + "\n").encode())


def _configs(config: dict[str, Any], path: Path) -> tuple[ModelConfig, TrainConfig]:
    try:
        return load_model_config(config["model"]), load_train_config(config["train"])
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"this run was begun by another version of aammodel: {error}", str(path), "begin a new run"
        ) from error


def _check_other_shards(found: ShardSet, model: ModelConfig, train: TrainConfig, is_allowed: bool) -> None:
    if not is_allowed:
        raise InvalidDataError(
            "the shards are not those that this run began with",
            str(found.folder),
            "bring the old ones back, go on all the same with --allow-changes, or begin a new run",
        )
    check_shards(found, train)
    if found.manifest.sequence_length > model.sequence_length:
        raise UsageError(
            f"these shards have ASVs of up to {found.manifest.sequence_length - 1} bases, "
            f"and the model reads {model.sequence_length - 1}",
            str(found.folder),
            "trim the sequences, and shard them again",
        )
