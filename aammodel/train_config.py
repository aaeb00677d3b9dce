"""How a model is trained, checked where it is made; and `--config FILE.toml`."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from schemas.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a model is trained."""

    max_steps: int | None = None
    """Optimiser steps; by default those of `epochs`."""
    epochs: int = 50
    """Times that every training sample is seen."""
    batch_size: int = 32
    """Samples of a micro-batch; distances are learned between samples of the same one."""
    accumulate: int = 1
    """Micro-batches of an optimiser step."""
    bucket: bool = False
    """Put samples with about as many ASVs into a batch: less padding, but distances are learned between
    samples of like richness."""
    token_limit: int | None = None
    """Most ASVs of a sample; by default the shards' limit."""
    seed: int = 0
    """Of the weights, the order of samples, the hidden bases and dropout."""
    learning_rate: float = 2e-3
    """The highest, after the warm-up; it falls to a hundredth along a cosine."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises from 0, at most a tenth of all steps."""
    weight_decay: float = 0.01
    """Of weight matrices, decoupled (AdamW)."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    mask_fraction: float = 0.15
    """Share of each ASV's bases that are hidden and predicted."""
    mask_span: int = 1
    """Neighbouring bases hidden together."""
    read_share: float = 0.25
    """Share of a batch's ASVs, drawn anew at each step, that the transformer over bases reads and learns
    from; the others are known by their bases by position alone. Validation reads all."""
    nucleotide_weight: float = 1.0
    """Weight of the loss of hidden bases."""
    unifrac_weight: float = 30.0
    """Weight of the squared error of distances, which is small beside the other loss."""
    validate_every: int | None = None
    """Steps between validations; by default an epoch's, but at most 100."""
    validation_samples: int = 128
    """Most samples of a validation."""
    patience: int = 10
    """Validations without a better loss after which training stops."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept, the last ones."""
    num_workers: int | None = None
    """Processes that read ahead; by default none on a CPU, whose cores the model needs, else two."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        at_least_one = (
            "epochs",
            "batch_size",
            "accumulate",
            "patience",
            "checkpoint_every",
            "keep_checkpoints",
        )
        optional = ("max_steps", "token_limit", "validate_every")
        for name in (*at_least_one, *(one for one in optional if getattr(self, one) is not None)):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name} must be at least 1, and is {getattr(self, name)}",
                    _option(name),
                    "give 1 or more",
                )
        if not 0 < self.read_share <= 1:
            raise UsageError(f"read_share must be above 0 and at most 1, and is {self.read_share}")
        if not 0 < self.mask_fraction < 1:
            raise UsageError(f"mask_fraction must lie between 0 and 1, and is {self.mask_fraction}")


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file with the tables `[train]` and `[model]`.

    Raises
    ------
    UsageError
        If there is no such file, it is no TOML, or it holds a name that neither table has.
    """
    from aammodel.config import ModelConfig

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"this file cannot be read: {error.strerror}", str(path), "check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"this is no TOML: {error}", str(path), "see https://toml.io") from error
    known = {"train": TrainConfig, "model": ModelConfig}
    for table, values in document.items():
        if table not in known or not isinstance(values, dict):
            raise UsageError(f"there is no table [{table}]", str(path), "use [train] and [model]")
        names = [one.name for one in fields(known[table])]
        for name in values:
            if name not in names:
                raise UsageError(f"[{table}] has no {name!r}", str(path), f"choose among: {', '.join(names)}")
    return {table: document.get(table, {}) for table in known}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
