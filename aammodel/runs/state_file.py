"""Read and write `state.json` of a checkpoint: the progress of the run, and the hashes of the other files.

The file also has a hash of itself: SHA-256 of its other values as JSON with sorted keys and without spaces.
So a model or an optimizer of another step is refused, and so is a changed digit.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import read_json
from aam_schemas.common.records import record_from_json
from aam_schemas.common.text import shorten
from aammodel.runs.progress import Progress
from aammodel.runs.tensor_file import DIGEST

STATE_FILE = "state.json"
_FILES = "files"
_MOST = 10**15
"""Largest number of steps or micro-batches. `TrainConfig` allows no more."""
_COUNTS = ("growth_interval", "_growth_tracker")
"""Values of the state of loss scaling that are whole numbers."""
_LOGGER = logging.getLogger(__name__)

MOST_STATE_BYTES = 1 << 16
"""Largest `state.json` that is read. It has about 500 bytes."""


@dataclass(frozen=True)
class State:
    """Content of a `state.json`."""

    progress: Progress
    digests: dict[str, str] | None
    """Hash of each other file of the checkpoint, by its name. None in files of earlier versions."""


def state_file(progress: Progress, digests: Mapping[str, str]) -> bytes:
    """Return the content of a `state.json`.

    Parameters
    ----------
    progress : Progress
    digests : mapping of str to str
        Hash of each other file of the checkpoint, by its name.
    """
    values: dict[str, Any] = {**asdict(progress), _FILES: dict(digests)}
    return (json.dumps(values | {DIGEST: _hash_of(values)}, indent=2, allow_nan=False) + "\n").encode()


def _hash_of(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_state(path: Path, fix: str) -> State:
    """Read a `state.json`.

    Parameters
    ----------
    path : Path
    fix : str
        What to do about a damaged file.

    Raises
    ------
    InvalidDataError
        If the file was changed, a value has a wrong type or is impossible, or its step is not that in the
        name of its folder.
    """
    values = read_json(path, MOST_STATE_BYTES)
    try:
        state = _state(values)
        _check_progress(state.progress)
        _check_folder(path.absolute().parent.name, state.progress.step)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"this file is damaged: {error}", str(path), fix) from error
    if state.digests is None:
        _LOGGER.info("%s: written by an earlier version, without hashes, so damage may go unseen", path)
    return state


def _state(values: Any) -> State:
    progress = record_from_json(Progress, values)
    unknown = values.keys() - {field.name for field in fields(Progress)}
    if not unknown:
        return State(progress, None)
    if DIGEST not in values:
        raise ValueError(f"it has no {DIGEST}, but a key {shorten(repr(min(unknown)))}")
    expected = _hash_of({name: value for name, value in values.items() if name != DIGEST})
    if values[DIGEST] != expected:
        raise ValueError(f"its values differ from the {DIGEST} in it")
    digests = values.get(_FILES)
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        raise TypeError(f"{_FILES} must be an object of text")
    return State(progress, digests)


def _check_progress(progress: Progress) -> None:
    counts = {name: value for name, value in asdict(progress).items() if type(value) is int}
    for name, value in counts.items():
        if not 0 <= value <= _MOST:
            raise ValueError(f"{name} must lie between 0 and {_MOST:,}, and is {value:,}")
    for name, most in (("best_step", "step"), ("skipped", "step"), ("skipped_in_a_row", "skipped")):
        if counts[name] > counts[most]:
            raise ValueError(f"{name} is {counts[name]}, but {most} is {counts[most]}")
    if progress.scaling:
        check_scaling(progress.scaling)


def check_scaling(scaling: Mapping[str, float]) -> None:
    """Refuse a state of loss scaling that torch cannot have written.

    Raises
    ------
    ValueError
    """
    if scaling.keys() != {"scale", "growth_factor", "backoff_factor", *_COUNTS}:
        raise ValueError("scaling does not have the keys of torch.amp.GradScaler")
    counts = [scaling[name] for name in _COUNTS]
    # The scale is a float32.
    is_valid = (
        0 < scaling["scale"] < 2.0**128 and scaling["growth_factor"] > 1 > scaling["backoff_factor"] > 0
    )
    if not is_valid or not all(type(count) is int and 0 <= count <= _MOST for count in counts):
        raise ValueError("scaling has values that torch.amp.GradScaler cannot have")


def _check_folder(name: str, step: int) -> None:
    # A checkpoint may be copied to a folder of any other name.
    if re.fullmatch(r"step-\d+", name) and int(name.removeprefix("step-")) != step:
        raise ValueError(f"its step is {step}, but its folder is {name}")
