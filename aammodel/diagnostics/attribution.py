"""Who stands where: from a row of what a module takes and gives to the ASV and the sample that it is of."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.diagnostics.hooks import CHANGED, INPUT, OUTPUT, Birth, Passage
from aammodel.nn.encoders import ASVS_AT_ONCE
from aammodel.nn.model import AamModel

_ROWS_ARE_ASVS = ("asv_embedding",)
_ROWS_ARE_MASKED = ("nucleotide_logits", "nucleotide_head")


@dataclass(frozen=True)
class Asv:
    """An ASV by its names."""

    row: int
    """Its row in asvs.parquet."""
    sequence: str
    """Its bases."""


@dataclass(frozen=True)
class Concerned:
    """Whom something concerns."""

    asvs: tuple[Asv, ...] = ()
    samples: tuple[str, ...] = ()


def concerned(model: AamModel, batch: Batch, birth: Birth) -> Concerned:
    """Name the ASVs and the samples whose numbers are not finite.

    Of a fault in the reading of ASVs, the samples are those that have the ASV; of one in a sample, the ASVs
    are those whose slots it struck; none where it concerns whole samples, or the gradient of a weight.

    Parameters
    ----------
    model : AamModel
    batch : Batch
        The micro-batch in which it happened.
    birth : Birth
    """
    device = batch.slot.device
    asvs, samples = _rows(model, batch, birth.passage, birth.is_bad.to(device))
    if asvs and not samples:
        has = torch.isin(batch.slot, torch.tensor(asvs, device=device)) & batch.is_real
        samples = has.any(dim=1).nonzero().flatten().tolist()
    return Concerned(
        tuple(asv_of(batch, row) for row in asvs), tuple(batch.sample_ids[row] for row in samples)
    )


def asv_of(batch: Batch, row: int) -> Asv:
    """Name an ASV of a batch."""
    tokens = batch.tokens[row : row + 1].cpu().numpy()
    # What is no token cannot be written as a base.
    letters = vocabulary.decode(tokens.clip(0, vocabulary.SIZE - 1).astype("uint8"))
    return Asv(int(batch.asv_row[row]), letters[0])


def _rows(
    model: AamModel, batch: Batch, passage: Passage, is_bad: Bool[Tensor, "..."]
) -> tuple[list[int], list[int]]:
    """Give rows of `batch.tokens`, and rows of `batch.slot`."""
    name = passage.module or passage.part
    if passage.module and passage.part not in (OUTPUT, INPUT, CHANGED):
        return [], []
    if name in _ROWS_ARE_MASKED:
        return batch.masked[_bad_rows(is_bad), 0].unique().tolist(), []
    if name in _ROWS_ARE_ASVS:
        return _bad_rows(is_bad).tolist(), []
    if name.startswith("asv_encoder."):
        return _asvs_of_chunk(model, batch, passage, is_bad), []
    if name.startswith("sample_encoder"):
        chunk, front = list(model.sample_encoder.chunks(batch.is_real))[passage.call]
        if is_bad.dim() == 4:  # attention weights, by head; of the slot that attends
            is_bad = is_bad.any(dim=3).any(dim=1)
        return _of_slots(batch, is_bad, chunk.rows[:, None].expand(front.shape), front)
    return _of_heads(batch, name, is_bad)


def _asvs_of_chunk(
    model: AamModel, batch: Batch, passage: Passage, is_bad: Bool[Tensor, "N ..."]
) -> list[int]:
    here = _bad_rows(is_bad)
    if passage.module.startswith("asv_encoder.bases"):
        return (here + passage.call * ASVS_AT_ONCE).tolist()
    read = batch.is_encoded.nonzero()[:, 0]
    chunk = model.asv_encoder.chunks(batch.tokens[read])[passage.call]
    return read[chunk.rows[here]].sort().values.tolist()


def _of_heads(batch: Batch, name: str, is_bad: Bool[Tensor, "..."]) -> tuple[list[int], list[int]]:
    """Name what a distance head struck: slots where it looks at ASVs one by one, else samples."""
    size, sample, slot = batch.num_samples, *batch.is_real.nonzero().T
    if is_bad.shape[:2] == batch.is_real.shape and is_bad.dim() == 3:
        return _of_slots(batch, is_bad, *torch.ones_like(batch.is_real).nonzero().T)
    if name.endswith(".logits") and len(is_bad) == len(sample):
        return _of_slots(batch, is_bad, sample, slot)
    if len(is_bad) != size:
        return [], []
    # One bad sample makes a whole row of distances bad, and a part of every other.
    is_all_bad = is_bad.reshape(size, -1).all(dim=1)
    return [], (is_all_bad.nonzero().flatten() if is_all_bad.any() else _bad_rows(is_bad)).tolist()


def _of_slots(
    batch: Batch, is_bad: Bool[Tensor, "..."], sample: Tensor, slot: Tensor
) -> tuple[list[int], list[int]]:
    """Name the ASVs and samples of those slots, at the places `sample` and `slot`, that are bad and real."""
    is_bad = is_bad.reshape(*sample.shape, -1).any(dim=-1) & batch.is_real[sample, slot]
    samples, slots = sample[is_bad], slot[is_bad]
    return batch.slot[samples, slots].unique().tolist(), samples.unique().tolist()


def _bad_rows(is_bad: Bool[Tensor, "N ..."]) -> Tensor:
    return is_bad.reshape(len(is_bad), -1).any(dim=1).nonzero()[:, 0]
