"""Rewrite a run folder so that its configuration and metrics have the keys of earlier versions."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file

OLD_NAMES = {
    "asv_encode_fraction": "read_share",
    "rarefy_fraction": "rarefy_share",
    "attention_heads": "heads",
    "distance_head": "head",
    "distance_head_layers": "head_layers",
    "kmers": "windows",
}
OLD_METRICS = {
    "padding_fraction": "padding_share",
    "duplicate_fraction": "duplicate_share",
    "data_wait_fraction": "data_wait_share",
}


def give_old_keys(run: Path) -> None:
    """Rename the keys in `config.json`, `metrics.jsonl` and the header of every model file of a run."""
    path = run / "config.json"
    config = json.loads(path.read_text())
    old = {table: _renamed(config[table]) for table in ("model", "train")}
    path.write_text(json.dumps(config | old))
    metrics = run / "metrics.jsonl"
    text = metrics.read_text()
    for key, old_key in OLD_METRICS.items():
        assert f'"{key}"' in text
        text = text.replace(f'"{key}"', f'"{old_key}"')
    metrics.write_text(text)
    for file in run.rglob("model.safetensors"):
        give_old_keys_to_model(file)


def give_old_keys_to_model(path: Path) -> None:
    """Rename the keys in the header of a model file."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    config = _renamed(json.loads(metadata["model_config"]))
    save_file(load_file(path), path, metadata | {"model_config": json.dumps(config)})


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {OLD_NAMES.get(key, key): value for key, value in values.items()}
