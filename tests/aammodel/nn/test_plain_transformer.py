"""Our model computes the same as `nn.TransformerEncoder` over padding, with the same weights.

`benchmarks/step.py` compares speeds with that model. The comparison is only fair if both compute the same.
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

PLAIN = {"bases_per_position": 1, "bases_by_position": False, "kmers": False}
STACKS = {"asv_encoder.transformer.": "over_bases.", "sample_encoder.transformer.": "over_asvs."}


def our_outputs(model: AamModel, batch: Batch) -> list[Tensor]:
    """Return our outputs for each slot, with those of masked bases once for each slot of their ASV."""
    output = model(batch)
    slots = batch.slot[batch.is_real]
    logits = [output.nucleotide_logits[batch.masked[:, 0] == slot] for slot in slots.tolist()]
    return [
        output.asv_embedding[slots],
        output.distance_features,
        predicted(model, output),
        torch.cat(logits),
    ]


def plain_outputs(output: PlainOutput, batch: PlainBatch) -> list[Tensor]:
    is_masked = (batch.tokens == vocabulary.MASK)[batch.is_real]
    logits = output.nucleotide_logits[is_masked]
    return [output.asv_embedding, output.sample_embedding, output.distance, logits]


def plain_names(model: AamModel) -> dict[str, str]:
    """Return the name in the plain model of each of our parameters."""
    names = {}
    for name, _ in model.named_parameters():
        stack = next((prefix for prefix in STACKS if name.startswith(prefix)), None)
        names[name] = STACKS[stack] + theirs(name.removeprefix(stack)) if stack else f"rest.{name}"
    return names


@pytest.mark.parametrize("head", ["soft-branch", "euclidean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_our_model_equals_the_plain_transformer(dtype: torch.dtype, head: str) -> None:
    model = awake(dtype, distance_head=head, chunk_size=3, checkpoint_positions=40, **PLAIN)
    batch = compact(some_samples(6, 4), slots=12)
    padded = pad(batch)
    plain = PlainModel(model, dropout=0.0)
    ours, plain_values = our_outputs(model, batch), plain_outputs(plain(padded), padded)
    for value, other in zip(ours, plain_values, strict=True):
        assert_close(value, other, TOLERANCE[dtype])
    expected, names = gradients(plain, all_of(*plain_values)), plain_names(model)
    assert_gradients_close(
        gradients(model, all_of(*ours)),
        {name: expected[names[name]] for name in names},
        TOLERANCE[dtype],
    )


def test_the_plain_transformer_refuses_the_default_model() -> None:
    with pytest.raises(ValueError, match="one position per base"):
        PlainModel(awake())
