"""The step in which a non-finite value appeared, saved on disk and read back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import replace_file
from aammodel.batch import Batch, Labels

_LABELS = "labels"

OLD_FIELDS = {"is_read": "is_encoded"}
"""Current names of fields of `Batch` that older files have under another name."""


@dataclass(frozen=True)
class SavedStep:
    """What one rank took a step with, as it lies in a file."""

    batches: list[Batch]
    """Its micro-batches."""
    step: int = 0
    rank: int = 0
    """Dropout follows from the step and the rank."""
    scaling: dict[str, float] = field(default_factory=dict)
    """State of loss scaling before the step; empty where there is none."""


def save_step(saved: SavedStep, path: Path) -> None:
    """Write a step as safetensors: tensors by micro-batch and name, the rest as JSON in the header."""
    # Those of a rank as its own: there is no other to compare distances with.
    batches = [batch.alone() for batch in saved.batches]
    content = {
        f"{number}.{name}": tensor.cpu().contiguous()
        for number, batch in enumerate(batches)
        for name, tensor in batch.tensors().items()
    }
    labels = {number: batch.labels for number, batch in enumerate(batches) if batch.labels}
    content |= {f"{number}.{_LABELS}": each.values.cpu().contiguous() for number, each in labels.items()}
    header = {
        "sample_ids": [batch.sample_ids for batch in batches],
        "labels": [batch.labels.names if batch.labels else [] for batch in batches],
        "step": saved.step,
        "rank": saved.rank,
        "scaling": saved.scaling,
    }
    told = {name: json.dumps(value, ensure_ascii=False) for name, value in header.items()}
    replace_file(path, save(content, metadata=told))


def load_step(path: Path) -> SavedStep:
    """Read a step that was kept.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If it holds no batches.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), "name an offending-batch-step-*.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            header = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        if not header["sample_ids"]:
            raise ValueError("it is empty")
        tensors = load_file(path)
        # Steps that were kept before there were labels have none.
        names = header.get("labels", [[] for _ in header["sample_ids"]])
        batches = [
            _batch(ids, labels, _with_prefix(tensors, f"{number}."))
            for number, (ids, labels) in enumerate(zip(header["sample_ids"], names, strict=True))
        ]
        return SavedStep(batches, header["step"], header["rank"], header["scaling"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidDataError(
            f"this file holds no batch: {error}", str(path), "name an offending-batch-step-*.safetensors"
        ) from error


def _batch(sample_ids: list[str], labels: list[str], tensors: dict[str, Any]) -> Batch:
    known = Labels(tuple(labels), tensors.pop(_LABELS)) if labels else None
    return Batch(tuple(sample_ids), **tensors, micro_batch_size=len(sample_ids), labels=known)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {OLD_FIELDS.get(name, name): tensor for name, tensor in found.items()}


def weights_beside(path: Path) -> Path:
    """Name the file of the weights that a kept batch was computed with."""
    return path.with_name(path.name.replace("offending-batch", "offending-model"))
