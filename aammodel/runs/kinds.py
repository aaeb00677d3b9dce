"""The folders of runs, as kinds that may be replaced. They are recognized without importing torch."""

import re
from pathlib import Path

from aam_schemas.common.folders import (
    ANYTHING,
    FOLDER,
    HTML,
    JSON,
    PNG,
    SAFETENSORS,
    FolderKind,
    begins_like,
    json_or_none,
)
from aam_schemas.common.owner import OWNER_FILE
from aammodel.distances.metrics import METRICS

_CONFIG_FILE, _STATE_FILE = "config.json", "state.json"
_BEGIN = re.compile(rb'\{\s*"(model|imported)": \{\s*"\w+": ')
_STATE_BEGIN = re.compile(rb'\{\s*"step": \d+,')
_STEP = r"step-\d{6,}"
_CHECKPOINT = {
    r"(model|optimizer)\.safetensors": SAFETENSORS,
    re.escape(_STATE_FILE): JSON,
}
PLOT = rf"({'|'.join(METRICS)})\.png"
"""File names of plots of distances, as a regular expression."""


def _is_run(folder: Path) -> bool:
    """Return whether a configuration is that of a run. If it is damaged, its beginning shows it."""
    config = json_or_none(folder / _CONFIG_FILE)
    if isinstance(config, dict):
        shards = config.get("shards")
        is_trained = isinstance(shards, dict) and "manifest_sha256" in shards
        return isinstance(config.get("model"), dict) and (is_trained or "imported" in config)
    return begins_like(folder / _CONFIG_FILE, _BEGIN)


RUN = FolderKind(
    noun="a run",
    is_ours=_is_run,
    entries={
        re.escape(_CONFIG_FILE): JSON,
        r"metrics\.jsonl": JSON,
        r"(model|training-asvs)\.safetensors": SAFETENSORS,
        r"results\.json": JSON,
        r"report\.html": HTML,
        r"losses\.png": PNG,
        PLOT: PNG,
        r"offending-(batch|model)-step-\d{6,}\.safetensors": SAFETENSORS,
        re.escape(OWNER_FILE): ANYTHING,
        "tensorboard": FOLDER,
        r"tensorboard/events\.out\.tfevents\.\d{20}\..+": ANYTHING,
        "checkpoints": FOLDER,
        f"checkpoints/{_STEP}": FOLDER,
        **{f"checkpoints/{_STEP}/{name}": begins for name, begins in _CHECKPOINT.items()},
    },
)


def _has_state(folder: Path) -> bool:
    state = json_or_none(folder / _STATE_FILE)
    return "step" in state if isinstance(state, dict) else begins_like(folder / _STATE_FILE, _STATE_BEGIN)


CHECKPOINT = FolderKind(noun="a checkpoint", is_ours=_has_state, entries=_CHECKPOINT)
