"""The one type that the model takes in: samples as slots that point at their distinct ASVs.

Shape letters, here and in every tensor module: B samples, C samples of all ranks together (B where there is
one), S ASV slots per sample, U distinct ASVs, L tokens per ASV (START and bases), W ASVs read,
M masked bases, R real slots, D model width, K features, V vocabulary size, T targets (metrics of distance).
A mask says what True means: `is_real` is True for data and False for padding.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

IGNORED = -100
"""Token of a hidden base that counts in no loss, as torch has it."""


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
    """True where the transformer over bases reads the ASV; False where the ASV is known by its bases by
    position alone, which spares the most of the work."""
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

    @property
    def num_samples(self) -> int:
        """Samples of the batch, B."""
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> "Batch":
        """Copy every tensor to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy every tensor to pinned memory, for faster transfer to a device."""
        return self._map(Tensor.pin_memory)

    def alone(self) -> "Batch":
        """Give the part that one of several ranks takes as a batch of its own: pairs of its samples alone."""
        here = torch.arange(self.num_samples, device=self.position.device)
        return replace(self, distance=self.distance[:, :, self.position], position=here)

    def tensors(self) -> dict[str, Tensor]:
        """Give every tensor by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "sample_ids"}

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(self.sample_ids, **{name: change(tensor) for name, tensor in self.tensors().items()})
