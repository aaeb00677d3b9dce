"""Map rows of a module's tensors to the ASVs and samples that they represent."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.diagnostics.hooks import CHANGED, INPUT, OUTPUT, FirstNonFinite, TensorLocation
from aammodel.nn.encoders import ASVS_AT_ONCE
from aammodel.nn.model import AamModel

_ROWS_ARE_ASVS = ("asv_embedding",)
_ROWS_ARE_MASKED = ("nucleotide_logits", "nucleotide_head")


@dataclass(frozen=True)
class Asv:
    """Row and sequence of an ASV."""

    row: int
    """Row in asvs.parquet."""
    sequence: str
    """Bases of the ASV."""


@dataclass(frozen=True)
class Affected:
    """ASVs and samples with non-finite values."""

    asvs: tuple[Asv, ...] = ()
    samples: tuple[str, ...] = ()
    """Identifiers of the samples."""


def find_affected(model: AamModel, batch: Batch, first: FirstNonFinite) -> Affected:
    """Return the ASVs and samples whose values in a tensor are non-finite.

    If the values were computed per ASV, the samples are all that contain such an ASV. If they were computed
    per slot of a sample, the ASVs are those in the affected slots. If they belong to whole samples, no ASV is
    named. If they belong to the gradient of a weight, nothing is named.

    Parameters
    ----------
    model : AamModel
    batch : Batch
        Micro-batch in which the tensor was computed.
    first : FirstNonFinite

    Returns
    -------
    Affected
    """
    device = batch.slot.device
    asvs, samples = _rows(model, batch, first.location, first.is_nonfinite.to(device))
    if asvs and not samples:
        is_affected = torch.isin(batch.slot, torch.tensor(asvs, device=device)) & batch.is_real
        samples = is_affected.any(dim=1).nonzero().flatten().tolist()
    return Affected(
        tuple(asv_of(batch, row) for row in asvs), tuple(batch.sample_ids[row] for row in samples)
    )


def asv_of(batch: Batch, row: int) -> Asv:
    """Return the ASV in a row of `batch.tokens`."""
    tokens = batch.tokens[row : row + 1].cpu().numpy()
    # A damaged batch may hold invalid tokens. `decode` accepts valid ones only.
    letters = vocabulary.decode(tokens.clip(0, vocabulary.SIZE - 1).astype("uint8"))
    return Asv(int(batch.asv_row[row]), letters[0])


def _rows(
    model: AamModel, batch: Batch, location: TensorLocation, is_nonfinite: Bool[Tensor, "..."]
) -> tuple[list[int], list[int]]:
    """Return the affected rows of `batch.tokens`, and those of `batch.slot`."""
    name = location.module or location.part
    # Gradients of weights belong to no ASV.
    if location.module and location.part not in (OUTPUT, INPUT, CHANGED):
        return [], []
    if name in _ROWS_ARE_MASKED:
        return batch.masked[_nonfinite_rows(is_nonfinite), 0].unique().tolist(), []
    if name in _ROWS_ARE_ASVS:
        return _nonfinite_rows(is_nonfinite).tolist(), []
    if name.startswith("asv_encoder."):
        return _asvs_of_chunk(model, batch, location, is_nonfinite), []
    if name.startswith("sample_encoder"):
        chunk, front = list(model.sample_encoder.chunks(batch.is_real))[location.call]
        if is_nonfinite.dim() == 4:  # attention weights: (samples, heads, querying slots, attended slots)
            is_nonfinite = is_nonfinite.any(dim=3).any(dim=1)
        return _rows_of_slots(batch, is_nonfinite, chunk.rows[:, None].expand(front.shape), front)
    return _rows_of_distance_head(batch, name, is_nonfinite)


def _asvs_of_chunk(
    model: AamModel, batch: Batch, location: TensorLocation, is_nonfinite: Bool[Tensor, "N ..."]
) -> list[int]:
    rows = _nonfinite_rows(is_nonfinite)
    # The network over base positions takes ASVs in the order of the batch, so many per call.
    if location.module.startswith("asv_encoder.bases"):
        return (rows + location.call * ASVS_AT_ONCE).tolist()
    # The transformer takes encoded ASVs only, in chunks of similar length.
    encoded = batch.is_encoded.nonzero()[:, 0]
    chunk = model.asv_encoder.chunks(batch.tokens[encoded])[location.call]
    return encoded[chunk.rows[rows]].sort().values.tolist()


def _rows_of_distance_head(
    batch: Batch, name: str, is_nonfinite: Bool[Tensor, "..."]
) -> tuple[list[int], list[int]]:
    """Return the affected rows of a distance head's tensor, whose rows are slots or samples."""
    size, sample, slot = batch.num_samples, *batch.is_real.nonzero().T
    if is_nonfinite.shape[:2] == batch.is_real.shape and is_nonfinite.dim() == 3:
        return _rows_of_slots(batch, is_nonfinite, *torch.ones_like(batch.is_real).nonzero().T)
    if name.endswith(".logits") and len(is_nonfinite) == len(sample):
        return _rows_of_slots(batch, is_nonfinite, sample, slot)
    if len(is_nonfinite) != size:
        return [], []
    # A non-finite sample makes its own row of a distance matrix non-finite, and one value of each other row.
    is_whole_row = is_nonfinite.reshape(size, -1).all(dim=1)
    samples = is_whole_row.nonzero().flatten() if is_whole_row.any() else _nonfinite_rows(is_nonfinite)
    return [], samples.tolist()


def _rows_of_slots(
    batch: Batch, is_nonfinite: Bool[Tensor, "..."], sample: Tensor, slot: Tensor
) -> tuple[list[int], list[int]]:
    """Return rows of ASVs and samples whose real slots, at indices `sample` and `slot`, are non-finite."""
    is_nonfinite = is_nonfinite.reshape(*sample.shape, -1).any(dim=-1) & batch.is_real[sample, slot]
    samples, slots = sample[is_nonfinite], slot[is_nonfinite]
    return batch.slot[samples, slots].unique().tolist(), samples.unique().tolist()


def _nonfinite_rows(is_nonfinite: Bool[Tensor, "N ..."]) -> Tensor:
    return is_nonfinite.reshape(len(is_nonfinite), -1).any(dim=1).nonzero()[:, 0]
