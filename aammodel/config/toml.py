"""Read the TOML configuration file and combine it with command-line options."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aammodel.config.stored import RENAMED_KEYS
from aammodel.config.train import TrainConfig


def with_options(values: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Lay options over values of the configuration; epochs take the place of what steps were there.

    Parameters
    ----------
    values : dict
        Those of `[train]` in a file; empty where there is none.
    options : dict
        Those that were given; None for one that was not.

    Raises
    ------
    UsageError
        If steps and epochs were both given as options.
    """
    given = {name: one for name, one in options.items() if one is not None}
    if {"max_steps", "epochs"} <= given.keys():
        raise UsageError("--epochs was given, too", "--max-steps", "give one of the two")
    return values | ({"max_steps": None} if "epochs" in given else {}) | given


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file with the tables `[train]` and `[model]`.

    Raises
    ------
    UsageError
        If there is no such file, it is no TOML, or it holds a name that neither table has.
    """
    from aammodel.config.model import ModelConfig

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"this file cannot be read: {error.strerror}", str(path), "check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"this is no TOML: {error}", str(path), "see https://toml.io") from error
    known = {"train": TrainConfig, "model": ModelConfig}
    for table, values in document.items():
        if not isinstance(values, dict):
            raise UsageError(f"{table} stands in no table", str(path), "write it below [train] or [model]")
        if table not in known:
            raise UsageError(f"there is no table [{table}]", str(path), "use [train] and [model]")
        names = [one.name for one in fields(known[table])]
        for name in values:
            if name in RENAMED_KEYS[table]:
                fix = f"write {RENAMED_KEYS[table][name]} instead"
                raise UsageError(f"the key {name} of [{table}] has a new name", str(path), fix)
            if name not in names:
                raise UsageError(f"[{table}] has no {name!r}", str(path), f"choose among: {', '.join(names)}")
    return {table: document.get(table, {}) for table in known}
