"""Rules that a batch must follow, and the names of ASVs and samples that violate them."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig


@dataclass(frozen=True)
class BatchRule:
    """A rule, and a function that finds violations."""

    name: str
    statement: str
    """The rule as a sentence, for messages."""
    find_violations: Callable[[Batch, ModelConfig], list[str]]
    """Returns a name for each violation. Empty if the rule holds."""
    comes_first: bool = False
    """Whether other rules can only be checked if this one holds."""


def asvs_where(batch: Batch, is_bad: Bool[Tensor, " U"]) -> list[str]:
    """Return names of the distinct ASVs of a batch that a mask selects."""
    return [f"ASV {row}" for row in batch.asv_row[is_bad].tolist()]


def samples_where(batch: Batch, is_bad: Bool[Tensor, "B _"]) -> list[str]:
    """Return names of the samples of a batch whose rows of a mask contain True."""
    return [f"sample {batch.sample_ids[row]}" for row in is_bad.any(dim=1).nonzero()[:, 0].tolist()]
