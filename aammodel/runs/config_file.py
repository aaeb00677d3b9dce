"""Read `config.json` and `results.json`, and collect the tool versions and machine that a run records."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.json_files import read_json
from aam_schemas.common.records import record_from_json
from aam_schemas.common.text import shorten
from aammodel.config.stored import RENAMED_KEYS, with_current_keys
from aammodel.runs.checkpoint import CHECKPOINTS

CONFIG_FILE = "config.json"
MOST_BYTES = 1 << 22
"""Largest `config.json` or `results.json` that is read. They have about 3 kB, and more with many changes."""
_TABLES = ("model", "train", "shards", "versions")
_FIX = "restore it from a copy, or begin a new run"


def read_config_of(run: Path) -> dict[str, Any]:
    """Read the `config.json` of a run.

    Raises
    ------
    UsageError
        If there is no such run, or the run was imported from a checkpoint of another program.
    InvalidDataError
        If the file is damaged, or a value has a wrong type.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        fix = "give a folder that `aammodel pretrain` wrote"
        raise UsageError(f"this is not a run folder: it has no {CONFIG_FILE}", str(run), fix)
    config = _read_object(path, _FIX)
    if "imported" in config:
        raise UsageError(
            "this run was imported, so it has no training to resume", str(run), "begin a new run"
        )
    missing = [name for name in _TABLES if name not in config]
    if missing:
        raise InvalidDataError(f"this file lacks {', '.join(missing)}", str(path), _FIX)
    for problem in _problems(config):
        raise InvalidDataError(f"this file is damaged: {problem}", str(path), _FIX)
    try:
        return _with_current_keys(config)
    except ValueError as error:
        raise InvalidDataError(f"this file is damaged: {error}", str(path), _FIX) from error


def _read_object(path: Path, fix: str) -> dict[str, Any]:
    document = read_json(path, MOST_BYTES)
    if not isinstance(document, dict):
        raise InvalidDataError("this file is damaged: it must hold a JSON object", str(path), fix)
    return document


def _problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield the values of a `config.json` that have a wrong type, beside those of [model] and [train].

    These two are checked when they are used: to list them, any value will do.
    """
    for name in (*_TABLES, "machine", "preparation"):
        if not isinstance(config.get(name, {}), dict):
            yield f"{name} must be an object, not {shorten(repr(config[name]))}"
    for name in ("folder", "manifest_sha256"):
        value = config["shards"].get(name)
        if not isinstance(value, str) or not value or "\0" in value:
            yield f"shards.{name} must be text, not {shorten(repr(value))}"
    changes = config.get("changes", [])
    if not isinstance(changes, list):
        yield f"changes must be a list, not {shorten(repr(changes))}"
    for number, change in enumerate(changes):
        if not _is_change(change):
            yield f"changes[{number}] must have until_step, a whole number, and was, an object"


def _is_change(change: object) -> bool:
    if not isinstance(change, dict) or not isinstance(change.get("was"), dict):
        return False
    step = change.get("until_step")
    return type(step) is int and step >= 0


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
    fix = "copy the run again, or give --token-limit"
    train = _read_object(path, fix).get("train", {})
    limit = train.get("token_limit") if isinstance(train, dict) else "no object"
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidDataError(f"train.token_limit must be a number above 0, not {limit!r}", str(path), fix)
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


@dataclass(frozen=True)
class TargetResult:
    """Quality of the predicted distances of a target, in `results.json`."""

    r: float | None
    mean_absolute_error: float | None = None
    num_pairs: int | None = None
    num_samples: int | None = None


@dataclass(frozen=True)
class Results:
    """Content of `results.json`."""

    best: dict[str, float]
    """Lowest validation losses by name."""
    targets: dict[str, TargetResult]
    steps: int | None = None
    best_step: int | None = None
    minutes: float | None = None
    samples_per_second: float | None = None
    memory_mib: float | None = None


def read_results(path: Path) -> dict[str, Any] | None:
    """Read the `results.json` of a run; None if it has none yet.

    Returns
    -------
    dict or None
        The values of `Results`, and those that a later version has added.

    Raises
    ------
    InvalidDataError
        If the file is damaged, or a value has a wrong type.
    """
    if not os.path.lexists(path):
        return None
    fix = "move it away with the report, and resume the run to write them again"
    document = _read_object(path, fix)
    try:
        record_from_json(Results, document)
    except TypeError as error:
        raise InvalidDataError(f"this file is damaged: {error}", str(path), fix) from error
    return document
