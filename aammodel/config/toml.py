"""Read the TOML file of a configuration, and combine it with the options of a command."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aammodel.config.model import ModelConfig
from aammodel.config.stored import RENAMED_KEYS
from aammodel.config.train import TrainConfig

_TABLES = {"train": TrainConfig, "model": ModelConfig}


def with_options(values: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the values of `[train]` with the options of a command in their place.

    Parameters
    ----------
    values : dict
        Values of `[train]` in a file. It is empty if there is no file.
    options : dict
        Values of the options. None means that an option was not given.

    Raises
    ------
    UsageError
        If both steps and epochs were given as options.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if {"max_steps", "epochs"} <= given.keys():
        raise UsageError("--epochs was given, too", "--max-steps", "give only one of the two")
    # Epochs as an option replace the steps of a file, which would otherwise win.
    no_steps = {"max_steps": None} if "epochs" in given else {}
    return values | no_steps | given


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tables `[train]` and `[model]` of a TOML file, each empty if the file does not have it.

    Raises
    ------
    UsageError
        If the file cannot be read, is not valid TOML, or has an unknown table or key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"this file cannot be read: {error.strerror}", str(path), "check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"this file is not valid TOML: {error}", str(path), "correct it as https://toml.io describes"
        ) from error
    for table, values in document.items():
        if not isinstance(values, dict):
            raise UsageError(f"{table} is in no table", str(path), "write it below [train] or [model]")
        if table not in _TABLES:
            raise UsageError(f"the table [{table}] is unknown", str(path), "use [train] and [model]")
        for key in values:
            check_key(table, key, str(path))
    return {table: document.get(table, {}) for table in _TABLES}


def check_key(table: str, key: str, where: str) -> None:
    """Refuse a key that a table does not have.

    Parameters
    ----------
    table : {"train", "model"}
    key : str
    where : str
        Where the key was found, for the message.

    Raises
    ------
    UsageError
        Naming today's key if the key was renamed, or else all keys of the table.
    """
    renamed, keys = RENAMED_KEYS[table], [field.name for field in fields(_TABLES[table])]
    if key in renamed:
        raise UsageError(f"the key {key} of [{table}] has a new name", where, f"write {renamed[key]}")
    if key not in keys:
        raise UsageError(f"[{table}] has no key {key!r}", where, f"use one of: {', '.join(keys)}")
