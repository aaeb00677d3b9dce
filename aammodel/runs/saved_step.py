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
"""Current names of fields of `Batch`, by their names in older files."""


@dataclass(frozen=True)
class SavedStep:
    """A step of one rank, as stored in a file."""

    batches: list[Batch]
    """Micro-batches of the step."""
    step: int = 0
    rank: int = 0
    """Rank that took the step. Dropout is seeded by step and rank."""
    scaling: dict[str, float] = field(default_factory=dict)
    """State of loss scaling before the step. Empty without loss scaling."""


def save_step(saved: SavedStep, path: Path) -> None:
    """Write a step as safetensors: tensors by micro-batch and name, the rest as JSON in the header."""
    # The file holds the samples of this rank only, so their distances to those of other ranks are left out.
    batches = [batch.alone() for batch in saved.batches]
    content = {
        f"{number}.{name}": tensor.cpu().contiguous()
        for number, batch in enumerate(batches)
        for name, tensor in batch.tensors().items()
    }
    labels = {number: batch.labels for number, batch in enumerate(batches) if batch.labels}
    content |= {f"{number}.{_LABELS}": values.values.cpu().contiguous() for number, values in labels.items()}
    header = {
        "sample_ids": [batch.sample_ids for batch in batches],
        "labels": [batch.labels.names if batch.labels else [] for batch in batches],
        "step": saved.step,
        "rank": saved.rank,
        "scaling": saved.scaling,
    }
    metadata = {name: json.dumps(value, ensure_ascii=False) for name, value in header.items()}
    replace_file(path, save(content, metadata=metadata))


def load_step(path: Path) -> SavedStep:
    """Read a saved step.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If the file is damaged, or holds no batches.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), "give a file offending-batch-step-*.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            header = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        if not header["sample_ids"]:
            raise ValueError("it is empty")
        tensors = load_file(path)
        # Files from before there were labels have none.
        names = header.get("labels", [[] for _ in header["sample_ids"]])
        batches = [
            _batch(ids, labels, _with_prefix(tensors, f"{number}."))
            for number, (ids, labels) in enumerate(zip(header["sample_ids"], names, strict=True))
        ]
        return SavedStep(batches, header["step"], header["rank"], header["scaling"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InvalidDataError(
            f"this file holds no batch: {error}", str(path), "give a file offending-batch-step-*.safetensors"
        ) from error


def _batch(sample_ids: list[str], labels: list[str], tensors: dict[str, Any]) -> Batch:
    known = Labels(tuple(labels), tensors.pop(_LABELS)) if labels else None
    return Batch(tuple(sample_ids), **tensors, micro_batch_size=len(sample_ids), labels=known)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    fields = {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }
    return {OLD_FIELDS.get(name, name): tensor for name, tensor in fields.items()}


def weights_beside(path: Path) -> Path:
    """Return the file with the weights of a saved step, which lies beside it."""
    return path.with_name(path.name.replace("offending-batch", "offending-model"))
