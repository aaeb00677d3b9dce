"""From a run's folder to its model, with the weights that were best in validation."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from aammodel.checkpoint import MODEL_FILE
from aammodel.config import ModelConfig
from aammodel.model import AamModel
from aammodel.shards import ShardSet
from schemas.errors import InvalidDataError, UsageError

_REMEDY = "copy the run again, or train it anew"


def load_run(run: Path, device: torch.device | str = "cpu") -> AamModel:
    """Load the model of a run.

    Parameters
    ----------
    run : Path
        The run's folder, or a `model.safetensors` by itself: it knows the model's configuration.
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
    path = run / MODEL_FILE if run.is_dir() else run
    if not path.is_file():
        raise UsageError(
            f"there is no trained model here: it has no {MODEL_FILE}", str(run), "name the folder of a run"
        )
    try:
        with safe_open(path, framework="pt") as file:
            config = ModelConfig(**json.loads((file.metadata() or {})["model_config"]))
        model = AamModel(config)
        model.load_state_dict(load_file(path))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise InvalidDataError(f"this model cannot be read: {error}", str(path), _REMEDY) from error
    return model.to(device).eval()


def check_fits(model: AamModel, shards: ShardSet) -> None:
    """Refuse shards whose ASVs are longer than a model can read.

    Raises
    ------
    UsageError
    """
    most, found = model.config.sequence_length - 1, shards.manifest.sequence_length - 1
    if found > most:
        raise UsageError(
            f"these shards have ASVs of up to {found} bases, and the model reads {most}",
            str(shards.folder),
            "trim the sequences to the length of those that the model was trained on, and shard them again",
        )
