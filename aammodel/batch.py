"""`Batch`, the input of the model: samples as slots that point to distinct ASVs.

Shape letters, here and in all modules with tensors: B samples, C samples of all ranks together (B if there is
one rank), S ASV slots per sample, U distinct ASVs, L tokens per ASV (START and bases), W encoded ASVs, M
masked bases, R real slots, D model width, K distance features, V vocabulary size, T targets (distance
metrics). The name of a mask says what True means: `is_real` is True for data and False for padding.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

IGNORED = -100
"""Token of a masked base that counts in no loss. It is the default of `ignore_index` in torch."""


@dataclass(frozen=True)
class Labels:
    """Labels of samples, for objectives that learn them: one row of numbers per label.

    Labels are columns of metadata, all of one type. A measured value is stored as it is, and a class as its
    number. So all labels fit into one tensor with a checked shape, and no objective needs a field of its own
    in `Batch`.
    """

    names: tuple[str, ...]
    values: Float[Tensor, "N B"]
    """NaN where a label of a sample is unknown."""

    def of(self, name: str) -> Float[Tensor, " B"]:
        """Return the values of one label for all samples.

        Raises
        ------
        ValueError
            If there is no label of that name.
        """
        return self.values[self.names.index(name)]


@dataclass(frozen=True)
class Batch:
    """Samples of a micro-batch, or the part of it that one of several ranks takes.

    Each distinct ASV is stored once, however many samples contain it.
    """

    sample_ids: tuple[str, ...]
    tokens: Integer[Tensor, "U L"]
    """Token ids of the distinct ASVs: START, bases, padding at the end. Any integer type."""
    asv_row: Int[Tensor, " U"]
    """Row of each ASV in asvs.parquet. Masks are drawn by this number, so they depend on no other ASV."""
    is_encoded: Bool[Tensor, " U"]
    """True where the transformer over bases encodes the ASV. Other ASVs are represented by the network over
    base positions alone, which saves most of the work."""
    slot: Int[Tensor, "B S"]
    """Row in `tokens` of the ASV in each slot. 0 in slots without an ASV."""
    count: Float[Tensor, "B S"]
    """Number of reads of the ASV in each slot. 0 in slots without an ASV."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""
    distance: Float[Tensor, "T B C"]
    """True distance from each sample to each sample of all ranks, for each target. NaN where there is none,
    because there is no tree, or none of a sample's reads is in it."""
    masked: Int[Tensor, "M 2"]
    """Row in `tokens` and position (1 to L - 1) of each masked base."""
    masked_token: Int[Tensor, " M"]
    """Token of each masked base. IGNORED where another rank has the same ASV and counts it."""
    position: Int[Tensor, " B"]
    """Index of each sample among the samples of all ranks, between 0 and C - 1."""
    micro_batch_size: int
    """Number of samples of the micro-batch over all ranks, C."""
    labels: Labels | None = None
    """None if no objective learns labels."""
    is_repeated: bool = False
    """Whether these samples count on another rank only. A rank without samples of its own repeats a sample,
    since all ranks must exchange gradients."""

    @property
    def num_samples(self) -> int:
        """Number of samples of the batch, B."""
        return len(self.sample_ids)

    @property
    def sample_counts(self) -> Bool[Tensor, " B"]:
        """Return which samples count on this rank, for losses that are sums over samples."""
        return torch.full((self.num_samples,), not self.is_repeated, device=self.position.device)

    def to(self, device: torch.device | str) -> "Batch":
        """Copy every tensor to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy every tensor to pinned memory, for faster transfer to a device."""
        return self._map(Tensor.pin_memory)

    def alone(self) -> "Batch":
        """Return the part of one rank as a whole micro-batch, with distances among its own samples only."""
        position = torch.arange(self.num_samples, device=self.position.device)
        distance = self.distance[:, :, self.position]
        size = self.num_samples
        return replace(self, distance=distance, position=position, micro_batch_size=size, is_repeated=False)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, except that of the labels."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self.tensors().items()}
        if self.labels is not None:
            changed["labels"] = replace(self.labels, values=change(self.labels.values))
        return replace(self, **changed)
