"""The one type that the model takes in: samples as slots that point at their distinct ASVs.

Shape letters, here and in every tensor module: B samples, C samples of all ranks together (B where there is
one), S ASV slots per sample, U distinct ASVs, L tokens per ASV (START and bases), W ASVs read,
M masked bases, R real slots, D model width, K features, V vocabulary size, T targets (metrics of distance).
A mask says what True means: `is_real` is True for data and False for padding.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

IGNORED = -100
"""Token of a hidden base that counts in no loss, as torch has it."""


@dataclass(frozen=True)
class Labels:
    """What else is known of each sample, for objectives that learn it: one row of numbers for each label.

    All are of one type, as columns of metadata are: a measured value is itself, a class its number. So they
    travel as one tensor, whose shape is checked, and no objective needs a field of its own in `Batch`.
    """

    names: tuple[str, ...]
    values: Float[Tensor, "N B"]
    """NaN where a label of a sample is not known."""

    def of(self, name: str) -> Float[Tensor, " B"]:
        """Return one label of each sample.

        Raises
        ------
        ValueError
            If there is no label of that name.
        """
        return self.values[self.names.index(name)]


@dataclass(frozen=True)
class Batch:
    """Samples of one micro-batch, or those that one of several ranks takes of it.

    Each distinct ASV is there once, however many samples share it.
    """

    sample_ids: tuple[str, ...]
    tokens: Integer[Tensor, "U L"]
    """Token ids of the distinct ASVs: START, bases, padding at the end. Any integer type."""
    asv_row: Int[Tensor, " U"]
    """Row of each in asvs.parquet: its name for the drawing of masks."""
    is_encoded: Bool[Tensor, " U"]
    """True where the transformer over bases encodes the ASV. The model knows other ASVs by the embedding of
    their bases at each position alone, which saves most of the work."""
    slot: Int[Tensor, "B S"]
    """Position in `tokens` of the ASV in each slot; 0 where there is none."""
    count: Float[Tensor, "B S"]
    """Reads of the ASV in each slot; 0 where there is none."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""
    distance: Float[Tensor, "T B C"]
    """True distance of each sample to each of all ranks by each target; NaN where there is none (no tree, or
    no read in it)."""
    masked: Int[Tensor, "M 2"]
    """Row in `tokens` and position (1 to L - 1) of each base that the trainer hides."""
    masked_token: Int[Tensor, " M"]
    """What stood there; IGNORED where another rank has the same ASV and counts it."""
    position: Int[Tensor, " B"]
    """Which of the samples of all ranks each is."""
    micro_batch_size: int
    """Samples of the micro-batch, those of all ranks together, C."""
    labels: Labels | None = None
    """None where no objective learns labels."""
    is_repeated: bool = False
    """True if these samples count on another rank: a rank that gets no sample computes one of another's."""

    @property
    def num_samples(self) -> int:
        """Samples of the batch, B."""
        return len(self.sample_ids)

    @property
    def sample_counts(self) -> Bool[Tensor, " B"]:
        """True where a sample counts on this rank, for losses that are sums over samples."""
        return torch.full((self.num_samples,), not self.is_repeated, device=self.position.device)

    def to(self, device: torch.device | str) -> "Batch":
        """Copy every tensor to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy every tensor to pinned memory, for faster transfer to a device."""
        return self._map(Tensor.pin_memory)

    def alone(self) -> "Batch":
        """Give the part that one of several ranks takes as a batch of its own: pairs of its samples alone."""
        here = torch.arange(self.num_samples, device=self.position.device)
        distance = self.distance[:, :, self.position]
        size = self.num_samples
        return replace(self, distance=distance, position=here, micro_batch_size=size, is_repeated=False)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name, those of labels apart."""
        each = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in each.items() if isinstance(value, Tensor)}

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self.tensors().items()}
        if self.labels is not None:
            changed["labels"] = replace(self.labels, values=change(self.labels.values))
        return replace(self, **changed)
