"""A rule that a batch must follow, and names for the ASVs and samples that break it."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig


@dataclass(frozen=True)
class BatchRule:
    """One rule and how to find what breaks it."""

    name: str
    says: str
    broken: Callable[[Batch, ModelConfig], list[str]]
    """Return a name for everything that breaks the rule; empty where it holds."""
    comes_first: bool = False
    """True for rules that must hold before the others can be checked."""


def asvs_where(batch: Batch, is_bad: Bool[Tensor, " U"]) -> list[str]:
    """Name the distinct ASVs of a batch that a mask selects."""
    return [f"ASV {row}" for row in batch.asv_row[is_bad].tolist()]


def samples_where(batch: Batch, is_bad: Bool[Tensor, "B _"]) -> list[str]:
    """Name the samples of a batch in whose row a mask is True anywhere."""
    return [f"sample {batch.sample_ids[row]}" for row in is_bad.any(dim=1).nonzero()[:, 0].tolist()]
