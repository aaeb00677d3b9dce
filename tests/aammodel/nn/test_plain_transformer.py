"""Ours against the usual way with the same weights, `nn.TransformerEncoder` over padding: the same numbers.

It is the way that `benchmarks/step.py` measures ours against, so this is what makes that comparison one.
"""

import pytest
import torch
from torch import Tensor

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.nn.model import AamModel
from benchmarks.helpers.plain_transformer import PlainBatch, PlainModel, PlainOutput, pad, theirs
from tests.helpers.model_cases import (
    TOLERANCE,
    all_of,
    assert_close,
    assert_gradients_close,
    awake,
    compact,
    gradients,
    some_samples,
)
from tests.helpers.objectives import predicted

USUAL = {"bases_per_position": 1, "bases_by_position": False, "kmers": False}
STACKS = {"asv_encoder.transformer.": "over_bases.", "sample_encoder.transformer.": "over_asvs."}


def said_by_ours(model: AamModel, batch: Batch) -> list[Tensor]:
    """Take what ours says about each slot, and about its hidden bases as often as they occur."""
    output = model(batch)
    slots = batch.slot[batch.is_real]
    logits = [output.nucleotide_logits[batch.masked[:, 0] == slot] for slot in slots.tolist()]
    return [
        output.asv_embedding[slots],
        output.distance_features,
        predicted(model, output),
        torch.cat(logits),
    ]


def said_by_plain(output: PlainOutput, batch: PlainBatch) -> list[Tensor]:
    is_hidden = (batch.tokens == vocabulary.MASK)[batch.is_real]
    logits = output.nucleotide_logits[is_hidden]
    return [output.asv_embedding, output.sample_embedding, output.distance, logits]


def our_name_of_theirs(model: AamModel) -> dict[str, str]:
    """Name the plain model's parameter of each of ours."""
    names = {}
    for name, _ in model.named_parameters():
        stack = next((one for one in STACKS if name.startswith(one)), None)
        names[name] = STACKS[stack] + theirs(name.removeprefix(stack)) if stack else f"rest.{name}"
    return names


@pytest.mark.parametrize("head", ["soft-branch", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ours_is_the_usual_computation(dtype: torch.dtype, head: str) -> None:
    model = awake(dtype, distance_head=head, chunk_size=3, checkpoint_positions=40, **USUAL)
    batch = compact(some_samples(6, 4), slots=12)
    padded = pad(batch)
    plain = PlainModel(model, dropout=0.0)
    ours, usual = said_by_ours(model, batch), said_by_plain(plain(padded), padded)
    for one, other in zip(ours, usual, strict=True):
        assert_close(one, other, TOLERANCE[dtype])
    expected, names = gradients(plain, all_of(*usual)), our_name_of_theirs(model)
    assert_gradients_close(
        gradients(model, all_of(*ours)),
        {name: expected[names[name]] for name in names},
        TOLERANCE[dtype],
    )


def test_the_plain_transformer_refuses_the_default_model() -> None:
    with pytest.raises(ValueError, match="one position per base"):
        PlainModel(awake())
