"""Read `config.json` of a run, and collect the tool versions and the machine that it records."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from aam_schemas.common.errors import InvalidDataError, UsageError
from aammodel.config.stored import RENAMED_KEYS, with_current_keys
from aammodel.runs.checkpoint import CHECKPOINTS

CONFIG_FILE = "config.json"
_TABLES = ("model", "train", "shards", "versions")


def read_config_of(run: Path) -> dict[str, Any]:
    """Read the `config.json` of a run.

    Raises
    ------
    UsageError
        If there is no such run, or the run was imported from a checkpoint of another program.
    InvalidDataError
        If the file is damaged.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise UsageError(f"this is not a run folder: it has no {CONFIG_FILE}", str(run), "give a run folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        missing = {name for name in _TABLES if not isinstance(config.get(name), dict)}
    except (ValueError, AttributeError) as error:
        raise InvalidDataError(f"this file is damaged: {error}", str(path), "begin a new run") from error
    if "imported" in config:
        raise UsageError(
            "this run was imported, so it has no training to resume", str(run), "begin a new run"
        )
    if missing:
        raise InvalidDataError(f"this file lacks {', '.join(sorted(missing))}", str(path), "begin a new run")
    return _with_current_keys(config)


def _with_current_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a `config.json` with current names of keys, whichever version wrote it."""
    current = config | {table: with_current_keys(table, config[table]) for table in ("model", "train")}
    if "changes" in config:
        new_names = RENAMED_KEYS["train"]
        current["changes"] = [
            change | {"was": {new_names.get(key, key): value for key, value in change["was"].items()}}
            for change in config["changes"]
        ]
    return current


def limit_in_config(run: Path) -> int | None:
    """Return the token limit in a run's `config.json`. None if it was the limit of the shards, or is unknown.

    This is for runs from before model files held a `Preparation`. See `load.token_limit_of_training`.

    Parameters
    ----------
    run : Path
        Folder of the run, or of one of its checkpoints.

    Raises
    ------
    InvalidDataError
        If the run's configuration is damaged.
    """
    folder = run.absolute()
    path = (folder.parents[1] if folder.parent.name == CHECKPOINTS else folder) / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        limit: int | None = json.loads(path.read_text("utf-8")).get("train", {}).get("token_limit")
    except (ValueError, AttributeError) as error:
        raise InvalidDataError(
            f"this file is damaged: {error}", str(path), "copy the run again, or give --token-limit"
        ) from error
    return limit


def tool_versions() -> dict[str, str]:
    """Return the version of each tool that the results depend on."""
    tools = {tool: version(tool) for tool in ("aamprep", "torch", "numpy", "pyarrow")}
    return {"python": platform.python_version(), **tools}


def machine() -> dict[str, str | int]:
    """Return a description of the machine, on which speed and the last bits of the results depend."""
    description: dict[str, str | int] = {"system": platform.platform(), "cpus": os.cpu_count() or 1}
    description["threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        description["gpu"] = torch.cuda.get_device_name()
    return description


def read_results(path: Path) -> dict[str, Any] | None:
    """Read the `results.json` of a run; None if it has none yet.

    Raises
    ------
    InvalidDataError
        If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InvalidDataError(
            f"this file is damaged: {error}", str(path), "delete it, and resume the run to write it again"
        ) from error
