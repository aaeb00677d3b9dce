"""Read the TOML file of a configuration, and combine it with the options of a command."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.json_files import read_bounded
from aam_schemas.common.text import shorten
from aammodel.config.model import ModelConfig
from aammodel.config.stored import RENAMED_KEYS
from aammodel.config.train import TrainConfig

_TABLES = {"train": TrainConfig, "model": ModelConfig}
MOST_BYTES = 1 << 16
"""Largest file that is read. All keys together take about 2 kB."""


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
    document = _parse(path)
    for table, values in document.items():
        if not isinstance(values, dict):
            raise UsageError(
                f"{shorten(table)} is in no table", str(path), "write it below [train] or [model]"
            )
        if table not in _TABLES:
            raise UsageError(f"the table [{shorten(table)}] is unknown", str(path), "use [train] and [model]")
        for key in values:
            check_key(table, key, str(path))
    return {table: document.get(table, {}) for table in _TABLES}


def _parse(path: Path) -> dict[str, Any]:
    try:
        # A file that is named itself may be a link.
        content = read_bounded(path.resolve(), MOST_BYTES)
    except InvalidDataError as error:
        raise UsageError(error.what, str(path), f"give a TOML file of up to {MOST_BYTES:,} bytes") from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        # Also text that is not UTF-8, and integers of thousands of digits.
        problem = shorten(error)
    raise UsageError(
        f"this file is not valid TOML: {problem}", str(path), "correct it as https://toml.io describes"
    )


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
        raise UsageError(
            f"[{table}] has no key {shorten(repr(key))}", where, f"use one of: {', '.join(keys)}"
        )
