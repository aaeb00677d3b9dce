"""Read configurations that earlier versions wrote into run folders and model files."""

from collections.abc import Mapping
from typing import Any, TypeVar

from aam_schemas.common.text import shorten
from aammodel.config.checks import InvalidConfigError
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig

_Config = TypeVar("_Config", ModelConfig, TrainConfig)

RENAMED_KEYS = {
    "train": {"read_share": "asv_encode_fraction", "rarefy_share": "rarefy_fraction"},
    "model": {
        "heads": "attention_heads",
        "head": "distance_head",
        "head_layers": "distance_head_layers",
        "windows": "kmers",
    },
}
"""The key that replaced each old key, by table."""

DEFAULTS_FOR_OLD_CONFIGS: dict[str, dict[str, Any]] = {"train": {}, "model": {"kmers": False}}
"""The value that a key has where it is absent, by table. The configuration was then written before the key
existed, so the value is how models were made at that time, which need not be today's default."""


def with_current_keys(table: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored values of a table, "train" or "model", under today's keys.

    Raises
    ------
    ValueError
        If a key is there under both of its names.
    """
    for old, new in RENAMED_KEYS[table].items():
        if old in stored and new in stored:
            raise ValueError(f"{old} and its new name {new} are both there")
    renamed = {RENAMED_KEYS[table].get(key, key): value for key, value in stored.items()}
    return DEFAULTS_FOR_OLD_CONFIGS[table] | renamed


def load_model_config(stored: Mapping[str, Any]) -> ModelConfig:
    """Return the model configuration that a run folder or a model file holds.

    Raises
    ------
    ValueError
        If a key is unknown, or a value missing or invalid.
    """
    return _build(ModelConfig, "model", stored)


def load_train_config(stored: Mapping[str, Any]) -> TrainConfig:
    """Return the training configuration that a run folder holds.

    Raises
    ------
    ValueError
        If a key is unknown or a value invalid.
    """
    return _build(TrainConfig, "train", stored)


def _build(kind: type[_Config], table: str, stored: Mapping[str, Any]) -> _Config:
    try:
        return kind(**with_current_keys(table, stored))
    except InvalidConfigError as error:
        # Its fix is for a user who writes a configuration. Nobody wrote this one.
        raise ValueError(error.what) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(shorten(error)) from error
