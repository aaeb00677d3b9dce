"""Which versions of the tools, and which machine, made a run."""

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
        If there is no such run, or it was imported.
    InvalidDataError
        If the file is damaged.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise UsageError(
            f"there is no run here: it has no {CONFIG_FILE}", str(run), "name the folder of a run"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        missing = {name for name in _TABLES if not isinstance(config.get(name), dict)}
    except (ValueError, AttributeError) as error:
        raise InvalidDataError(f"this file is damaged: {error}", str(path), "begin a new run") from error
    if "imported" in config:
        raise UsageError(
            "this run was imported, so it has nothing to go on with", str(run), "begin a new run"
        )
    if missing:
        raise InvalidDataError(f"this file lacks {', '.join(sorted(missing))}", str(path), "begin a new run")
    return _with_current_keys(config)


def _with_current_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a `config.json` with today's keys, whichever version wrote it."""
    now = config | {table: with_current_keys(table, config[table]) for table in ("model", "train")}
    if "changes" in config:
        renamed = RENAMED_KEYS["train"]
        now["changes"] = [
            each | {"was": {renamed.get(key, key): value for key, value in each["was"].items()}}
            for each in config["changes"]
        ]
    return now


def limit_in_config(run: Path) -> int | None:
    """Return the token limit in a run's `config.json`; None if it was its shards' limit, or is not known.

    For runs written before model files held a `Preparation`: see `load.token_limit_of_training`.

    Parameters
    ----------
    run : Path
        The folder of a run or of one of its checkpoints.

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
    """Give the version of each tool that numbers depend on."""
    tools = {tool: version(tool) for tool in ("aamprep", "torch", "numpy", "pyarrow")}
    return {"python": platform.python_version(), **tools}


def machine() -> dict[str, str | int]:
    """Say what a run computes on, which decides its speed and its last bits."""
    found: dict[str, str | int] = {"system": platform.platform(), "cpus": os.cpu_count() or 1}
    found["threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


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
