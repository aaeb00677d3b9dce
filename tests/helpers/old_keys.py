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
    for checkpoint in (run / "checkpoints").glob("step-*"):
        forget_hashes(checkpoint)


def give_old_keys_to_model(path: Path) -> None:
    """Rename the keys in the header of a model file, which then has no hash."""
    metadata = metadata_of(path)
    config = _renamed(json.loads(metadata["model_config"]))
    save_without_hash(path, metadata | {"model_config": json.dumps(config)})


def metadata_of(path: Path) -> dict[str, str]:
    """Return the text in the header of a file of tensors, by key."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def save_without_hash(path: Path, metadata: dict[str, str]) -> None:
    """Write a file of tensors with another header, and without the hash, as earlier versions did."""
    metadata.pop("sha256", None)
    save_file(load_file(path), path, metadata)


def forget_hashes(checkpoint: Path) -> None:
    """Remove the hashes of a checkpoint, as earlier versions wrote it."""
    state = json.loads((checkpoint / "state.json").read_text())
    (checkpoint / "state.json").write_text(
        json.dumps({name: value for name, value in state.items() if name not in ("files", "sha256")})
    )
    for name in ("model.safetensors", "optimizer.safetensors"):
        save_without_hash(checkpoint / name, metadata_of(checkpoint / name))


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    return {OLD_NAMES.get(key, key): value for key, value in values.items()}
