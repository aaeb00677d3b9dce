"""The step in which a non-finite value appeared, saved on disk and read back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aam_schemas.common.errors import UsageError
from aam_schemas.common.publish import replace_file
from aam_schemas.common.records import record_from_json
from aammodel.batch import Batch, Labels
from aammodel.runs.state_file import check_scaling
from aammodel.runs.tensor_file import Header, Kind, Tensors, read_header, read_tensors, tensor_file

_LABELS = "labels"
_KEYS = ("sample_ids", _LABELS, "step", "rank", "scaling")
_FIX = "give a file offending-batch-step-*.safetensors that training wrote"
_MOST = 10**15
"""Largest number of a step or rank."""

OLD_FIELDS = {"is_read": "is_encoded"}
"""Current names of fields of `Batch`, by their names in older files."""

_FLOATS = (torch.float32, torch.float64)
_FIELDS: dict[str, tuple[tuple[torch.dtype, ...], str]] = {
    "tokens": ((torch.uint8, torch.int64), "UL"),
    "asv_row": ((torch.int64,), "U"),
    "is_encoded": ((torch.bool,), "U"),
    "slot": ((torch.int64,), "BS"),
    "count": ((torch.float32,), "BS"),
    "is_real": ((torch.bool,), "BS"),
    "distance": (_FLOATS, "TBB"),
    "masked": ((torch.int64,), "M2"),
    "masked_token": ((torch.int64,), "M"),
    "position": ((torch.int64,), "B"),
}
"""Types and dimensions of the tensors of a `Batch`. The letters are those of `batch.py`."""


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
        f"{number}.{name}": tensor
        for number, batch in enumerate(batches)
        for name, tensor in batch.tensors().items()
    }
    labels = {number: batch.labels for number, batch in enumerate(batches) if batch.labels}
    content |= {f"{number}.{_LABELS}": values.values for number, values in labels.items()}
    header = {
        "sample_ids": [batch.sample_ids for batch in batches],
        "labels": [batch.labels.names if batch.labels else [] for batch in batches],
        "step": saved.step,
        "rank": saved.rank,
        "scaling": saved.scaling,
    }
    metadata = {name: json.dumps(value, ensure_ascii=False) for name, value in header.items()}
    replace_file(path, *tensor_file(content, metadata).parts)


@dataclass(frozen=True)
class _StepHeader:
    """Values in the header of a saved step."""

    sample_ids: tuple[tuple[str, ...], ...]
    step: int
    rank: int
    scaling: dict[str, float]
    labels: tuple[tuple[str, ...], ...] | None = None
    """None in files from before there were labels."""


def load_step(path: Path) -> SavedStep:
    """Read a saved step.

    Raises
    ------
    UsageError
        If there is no such file.
    InvalidDataError
        If the file is damaged, holds no batches, or a tensor has another type or shape than in a `Batch`.
    """
    if not path.is_file():
        raise UsageError("there is no such file", str(path), _FIX)
    header = read_header(path.resolve(), _KEYS, _FIX)
    try:
        values = record_from_json(_StepHeader, {key: header.json(key) for key in header.metadata})
        _check(header, values)
    except (TypeError, ValueError) as error:
        raise header.refuse(f"this file holds no batch: {error}") from error
    tensors = read_tensors(header)
    labels = values.labels or ((),) * len(values.sample_ids)
    batches = [
        _batch(ids, names, _with_prefix(tensors, f"{number}."))
        for number, (ids, names) in enumerate(zip(values.sample_ids, labels, strict=True))
    ]
    for batch in batches:
        if not torch.equal(batch.position, torch.arange(batch.num_samples)):
            raise header.refuse("this file holds no batch: position does not count its samples")
    return SavedStep(batches, values.step, values.rank, values.scaling)


def _check(header: Header, values: _StepHeader) -> None:
    """Refuse a step whose tensors are not those of its batches, or with impossible numbers."""
    if not values.sample_ids or not all(values.sample_ids):
        raise ValueError("it is empty")
    if not (0 <= values.step <= _MOST and 0 <= values.rank <= _MOST):
        raise ValueError(f"step is {values.step} and rank is {values.rank}")
    if values.scaling:
        check_scaling(values.scaling)
    labels = values.labels or ((),) * len(values.sample_ids)
    if len(labels) != len(values.sample_ids):
        raise ValueError("sample_ids and labels have different lengths")
    expected: set[str] = set()
    for number, (ids, names) in enumerate(zip(values.sample_ids, labels, strict=True)):
        expected |= _check_batch(header, number, len(ids), len(names))
    if header.kinds.keys() != expected:
        raise ValueError(f"unexpected tensor {min(header.kinds.keys() - expected)}")


def _check_batch(header: Header, number: int, num_samples: int, num_labels: int) -> set[str]:
    """Refuse a batch with a tensor of another type or shape. Return the names of its tensors in the file."""
    old_names = {new: old for old, new in OLD_FIELDS.items()}
    sizes, found = {"B": num_samples, "2": 2, "N": num_labels}, set()
    fields = _FIELDS | ({_LABELS: (_FLOATS, "NB")} if num_labels else {})
    for name, (dtypes, letters) in fields.items():
        full = f"{number}.{name}"
        full = full if full in header.kinds else f"{number}.{old_names.get(name, name)}"
        kind = header.kinds.get(full)
        if kind is None:
            raise ValueError(f"missing tensor {full}")
        if kind.dtype not in dtypes or not _fits(kind, letters, sizes):
            raise ValueError(f"the tensor {full} is {kind}, which does not fit {name} of the other tensors")
        found.add(full)
    return found


def _fits(kind: Kind, letters: str, sizes: dict[str, int]) -> bool:
    """Return whether a shape agrees with the sizes so far, and add its own sizes."""
    # Only masked bases may be absent.
    if len(kind.shape) != len(letters) or (0 in kind.shape and letters[0] != "M"):
        return False
    each = zip(letters, kind.shape, strict=True)
    return all(sizes.setdefault(letter, size) == size for letter, size in each)


def _batch(sample_ids: tuple[str, ...], labels: tuple[str, ...], tensors: dict[str, Any]) -> Batch:
    known = Labels(labels, tensors.pop(_LABELS)) if labels else None
    return Batch(sample_ids, **tensors, micro_batch_size=len(sample_ids), labels=known)


def _with_prefix(tensors: Tensors, prefix: str) -> Tensors:
    fields = {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }
    return {OLD_FIELDS.get(name, name): tensor for name, tensor in fields.items()}


def weights_beside(path: Path) -> Path:
    """Return the file with the weights of a saved step, which lies beside it."""
    return path.with_name(path.name.replace("offending-batch", "offending-model"))
