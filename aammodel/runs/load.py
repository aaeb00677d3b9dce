"""Load the model of a run, with the weights of the best validation, and check whether shards fit it."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from aam_schemas import vocabulary
from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.manifest import MANIFEST_FILE
from aam_schemas.preparation import Preparation
from aammodel.config.stored import load_model_config
from aammodel.data.shards import ShardSet
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import add_heads
from aammodel.runs.checkpoint import MODEL_FILE
from aammodel.runs.config_file import limit_in_config

_HEADS = "objective_heads."
_FIX = "copy the run again, or train a new model"


def load_run(run: Path, device: torch.device | str = "cpu") -> AamModel:
    """Load the model of a run.

    Parameters
    ----------
    run : Path
        Folder of the run, folder of one of its checkpoints, or a file `model.safetensors`, which includes the
        configuration of the model.
    device : torch.device or str

    Returns
    -------
    AamModel
        In evaluation mode.

    Raises
    ------
    UsageError
        If there is no such run.
    InvalidDataError
        If its file is damaged.
    """
    path = _model_path(run)
    try:
        with safe_open(path, framework="pt") as file:
            config = load_model_config(json.loads((file.metadata() or {})["model_config"]))
        model = AamModel(config)
        model.load_state_dict(_with_heads(model, load_file(path)))
    # A damaged or foreign file can fail at any step: safetensors, JSON, configuration, names or shapes.
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise InvalidDataError(f"this model cannot be read: {error}", str(path), _FIX) from error
    return model.to(device).eval()


def load_preparation(run: Path) -> Preparation | None:
    """Return how the samples that a model was trained on were prepared.

    Parameters
    ----------
    run : Path
        As for `load_run`.

    Returns
    -------
    Preparation or None
        None if the model was written before preparations were stored. `token_limit_of_training` also works
        for such runs.

    Raises
    ------
    UsageError
        If there is no such run.
    InvalidDataError
        If its file is damaged, or its preparation was stored by a later version.
    """
    path = _model_path(run)
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get("preparation")
        return None if stored is None else Preparation.from_dict(json.loads(stored))
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        raise InvalidDataError(f"this model cannot be read: {error}", str(path), _FIX) from error


def token_limit_of_training(run: Path) -> int | None:
    """Return the largest number of ASVs per sample that a model was trained with. None if it is unknown.

    Parameters
    ----------
    run : Path
        As for `load_run`.

    Raises
    ------
    UsageError, InvalidDataError
        As `load_preparation`.
    """
    preparation = load_preparation(run)
    return limit_in_config(run) if preparation is None else preparation.token_limit


def _model_path(run: Path) -> Path:
    path = run / MODEL_FILE if run.is_dir() else run
    if not path.is_file():
        is_shards = (run / MANIFEST_FILE).is_file()
        raise UsageError(
            f"there is no trained model here: {MODEL_FILE} is missing",
            str(run),
            "this is a shard set: give the run first" if is_shards else "give a run folder",
        )
    return path


def _with_heads(model: AamModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the heads of objectives in a model file to a model, and return the weights to load.

    Heads of objectives that are not registered are left out, since only their own loss needs them.
    """
    add_heads(model, {name.split(".")[1] for name in weights if name.startswith(_HEADS)})
    kept = tuple(f"{_HEADS}{name}." for name in model.objective_heads)
    return {
        name: tensor
        for name, tensor in weights.items()
        if name.startswith(kept) or not name.startswith(_HEADS)
    }


def check_fits(model: AamModel, shards: ShardSet, token_limit: int | None = None) -> None:
    """Raise an error if a model cannot process the samples of shards.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    token_limit : int or None
        Maximum number of ASVs in a sample, if it is below the limit of the shards.

    Raises
    ------
    UsageError
        If ASVs have more bases, or samples more ASVs, than the model has positions for.
    InvalidDataError
        If an ASV has an ambiguity code, and the model has no token for it.
    """
    config = model.config
    # One token is START.
    supported, longest = config.sequence_length - 1, shards.manifest.sequence_length - 1
    if longest > supported:
        raise UsageError(
            f"these shards have ASVs of up to {longest} bases, and the model has positions for {supported}",
            str(shards.folder),
            "trim the sequences to the length of the training samples' sequences, and shard them again",
        )
    limit = min(token_limit or shards.manifest.choices.token_limit, shards.manifest.choices.token_limit)
    if 0 < config.slot_positions < limit:
        raise UsageError(
            f"these shards have samples of up to {limit} ASVs, and the model has positions for "
            f"{config.slot_positions}",
            str(shards.folder),
            f"shard the table again with --token-limit {config.slot_positions}",
        )
    if config.vocabulary_size <= vocabulary.N:
        _check_bases(shards, config.vocabulary_size)


def _check_bases(shards: ShardSet, vocabulary_size: int) -> None:
    """Raise an error for ambiguity codes. Published models have no token for them."""
    is_ambiguous = (shards.tokens == vocabulary.N).any(axis=1)
    if is_ambiguous.any():
        raise InvalidDataError(
            f"this ASV has an ambiguity code such as N ({int(is_ambiguous.sum())} ASVs do), and the model's "
            f"vocabulary of {vocabulary_size} has no token for it",
            shards.asv_id(int(is_ambiguous.argmax())),
            "remove these ASVs from the table, and shard it again",
        )
