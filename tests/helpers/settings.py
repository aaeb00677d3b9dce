"""The classes of the configuration, for tests of all its keys."""

from typing import Any

from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig

TABLES: dict[str, Any] = {"train": TrainConfig, "model": ModelConfig}
"""The class of each table of a configuration file, by its name."""
