"""Outputs and gradients of the model equal those of a float64 model in loops without padding (P1, P2)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aammodel.nn.encoders import mask_tokens
from aammodel.nn.model import AamModel
from tests.helpers import reference_model as reference
from tests.helpers.model_cases import (
    TOLERANCE,
    Sample,
    all_of,
    assert_close,
    assert_gradients_close,
    awake,
    compact,
    dense,
    gradients,
    random_sample,
    some_samples,
)
from tests.helpers.objectives import predicted

HEADS = [
    {"distance_head": "soft-branch"},
    {"distance_head": "soft-branch", "targets": ("weighted_unifrac", "unweighted_unifrac")},
    {"distance_head": "euclidean"},
    {
        "distance_head": "tanh-euclidean",
        "distance_head_layers": 1,
        "slot_positions": 12,
        "bases_by_position": False,
        "bases_per_position": 1,
    },
]
COUNTS = ["add", "concat", "film", "none"]


def double_weights(model: AamModel) -> reference.Weights:
    """Return a copy of the weights in float64 that requires gradients."""
    return {
        name: parameter.detach().double().requires_grad_() for name, parameter in model.named_parameters()
    }


def embedded_by(
    weights: reference.Weights,
    target: str,
    features: torch.Tensor,
    asvs: list[list[int]],
    counts: list[float],
    heads: int,
) -> torch.Tensor:
    head = reference.part(weights, f"distance_heads.{target}")
    return reference.embed_sample(head, features, asvs, counts, heads, target == "unweighted_unifrac")


def distance_by(weights: reference.Weights, target: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    head = reference.part(weights, f"distance_heads.{target}")
    return reference.distance(head, a, b, target == "unweighted_unifrac")


def by_reference(
    model: AamModel, samples: list[Sample], weights: reference.Weights, asv_encode_fraction: float = 1.0
) -> dict[str, torch.Tensor]:
    """Compute the outputs of the model for a batch, one sample at a time."""
    batch, heads = compact(samples, asv_encode_fraction=asv_encode_fraction), model.config.attention_heads
    whole, read = batch.tokens.tolist(), mask_tokens(batch.tokens, batch.masked).tolist()
    encoded = [
        reference.encode_asv(weights, [t for t in hidden if t], heads, [t for t in row if t])
        if is_encoded
        else (
            None,
            reference.encode_bases(reference.part(weights, "asv_encoder.bases"), [t for t in row if t]),
        )
        for row, hidden, is_encoded in zip(whole, read, batch.is_encoded.tolist(), strict=True)
    ]
    features = [
        reference.encode_sample(
            weights,
            [encoded[slot][1] for slot in batch.slot[row, : len(sample.asvs)].tolist()],
            list(sample.counts),
            heads,
        )
        for row, sample in enumerate(samples)
    ]
    asvs = [
        [[t for t in whole[slot] if t] for slot in batch.slot[row, : len(sample.asvs)].tolist()]
        for row, sample in enumerate(samples)
    ]
    embedded = {
        target: [
            embedded_by(weights, target, value, tokens, list(sample.counts), heads)
            for value, tokens, sample in zip(features, asvs, samples, strict=True)
        ]
        for target in model.config.targets
    }
    guesses = [
        reference.nucleotide_logits(weights, encoded[row][0], index) for row, index in batch.masked.tolist()
    ]
    return {
        "asv_embedding": torch.stack([embedding for _, embedding in encoded]),
        "distance_features": torch.cat([torch.stack(value) for value in embedded.values()], dim=1),
        "embedding": torch.stack([value.mean(dim=0) for value in features]),
        "nucleotide_logits": torch.stack(guesses) if guesses else torch.zeros(0, 8),
        "distance": torch.stack(
            [
                torch.stack(
                    [distance_by(weights, target, a, b) for i, a in enumerate(value) for b in value[i + 1 :]]
                )
                for target, value in embedded.items()
            ]
        ),
    }


def by_model(
    model: AamModel, samples: list[Sample], slots: int | None = None, asv_encode_fraction: float = 1.0
) -> dict[str, torch.Tensor]:
    output = model(compact(samples, slots, asv_encode_fraction=asv_encode_fraction))
    rows, columns = torch.triu_indices(len(samples), len(samples), 1)
    distance = predicted(model, output)[:, rows, columns]
    return vars(output) | {"embedding": output.embedding, "distance": distance}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count_embedding", COUNTS)
@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head['distance_head']}-{len(head)}")
def test_outputs_and_gradients_are_those_of_the_reference(
    head: dict[str, object], count_embedding: str, dtype: torch.dtype
) -> None:
    model = awake(dtype, count_embedding=count_embedding, **head)
    samples = some_samples(2, 2)
    weights = double_weights(model)
    expected, got = by_reference(model, samples, weights), by_model(model, samples, slots=12)
    for name, weight in expected.items():
        assert_close(got[name], weight, TOLERANCE[dtype])
    all_of(*expected.values()).backward()
    expected_gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in weights.items()
    }
    got_gradients = gradients(model, all_of(*(got[name] for name in expected)))
    assert_gradients_close(got_gradients, expected_gradients, TOLERANCE[dtype])


@pytest.mark.parametrize("asv_encode_fraction", [0.5, 1e-9], ids=["half", "none"])
def test_asvs_that_are_not_encoded_are_represented_by_base_positions(asv_encode_fraction: float) -> None:
    model = awake(torch.float64)
    samples = some_samples(2, 3)
    weights = double_weights(model)
    is_encoded = compact(samples, asv_encode_fraction=asv_encode_fraction).is_encoded
    assert bool(is_encoded.any()) == (asv_encode_fraction == 0.5)
    assert not is_encoded.all()
    got = by_model(model, samples, slots=12, asv_encode_fraction=asv_encode_fraction)
    expected = by_reference(model, samples, weights, asv_encode_fraction)
    for name, weight in expected.items():
        assert_close(got[name], weight, 1e-12)
    all_of(*expected.values()).backward()
    expected_gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in weights.items()
    }
    got_gradients = gradients(model, all_of(*(got[name] for name in expected)))
    assert_gradients_close(got_gradients, expected_gradients, 1e-12)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head['distance_head']}-{len(head)}")
def test_the_dense_view_is_that_of_the_reference(head: dict[str, object]) -> None:
    model = awake(torch.float64, **head)
    samples = [*some_samples(4, 3), Sample((), ())]
    tokens, count = dense(samples, slots=12)
    got = model.forward_dense(tokens, count.double())
    weights = double_weights(model)
    for row, sample in enumerate(samples[:-1]):
        number = len(sample.asvs)
        unpadded = [[value for value in asv if value] for asv in tokens[row, :number].tolist()]
        encoded = [reference.encode_asv(weights, value, model.config.attention_heads) for value in unpadded]
        embeddings = [embedding for _, embedding in encoded]
        features = reference.encode_sample(
            weights, embeddings, list(sample.counts), model.config.attention_heads
        )
        counts, heads = list(sample.counts), model.config.attention_heads
        parts = [
            embedded_by(weights, target, features, unpadded, counts, heads) for target in model.config.targets
        ]
        embedding = torch.cat(parts)
        assert_close(got.asv_embedding[row, :number], torch.stack(embeddings), 1e-12)
        assert_close(got.asv_in_sample[row, :number], features, 1e-12)
        assert_close(got.distance_features[row], embedding, 1e-12)
        assert_close(got.embedding[row], features.mean(dim=0), 1e-12)
        for slot, (hidden, _) in enumerate(encoded):
            indices = range(len(unpadded[slot]))
            logits = torch.stack([reference.nucleotide_logits(weights, hidden, index) for index in indices])
            assert_close(got.nucleotide_logits[row, slot, : len(indices)], logits, 1e-12)
    assert all(value.isfinite().all() for value in vars(got).values())


@settings(max_examples=6, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    pool=st.sampled_from([5, 40]),
    padding=st.integers(0, 9),
    chunk_size=st.integers(1, 7),
    checkpoint_positions=st.sampled_from([0, 50, 10**6]),
    asv_encode_fraction=st.sampled_from([1.0, 0.5]),
)
def test_any_shape_is_that_of_the_reference(
    sizes: list[int],
    pool: int,
    padding: int,
    chunk_size: int,
    checkpoint_positions: int,
    asv_encode_fraction: float,
) -> None:
    """Samples include sequences of one base, and samples of one ASV."""
    model = awake(torch.float64, chunk_size=chunk_size, checkpoint_positions=checkpoint_positions)
    samples = [random_sample(row, size, pool) for row, size in enumerate(sizes)]
    weights = double_weights(model)
    expected = by_reference(model, samples, weights, asv_encode_fraction)
    got = by_model(model, samples, max(sizes) + padding, asv_encode_fraction)
    for name, weight in expected.items():
        assert_close(got[name], weight, 1e-12)
    names = [name for name, weight in expected.items() if weight.requires_grad]
    all_of(*(expected[name] for name in names)).backward()
    expected_gradients = {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in weights.items()
    }
    got_gradients = gradients(model, all_of(*(got[name] for name in names)))
    assert_gradients_close(got_gradients, expected_gradients, 1e-12)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    padding=st.integers(0, 9),
    chunk_size=st.integers(1, 7),
    checkpoint_positions=st.sampled_from([0, 50, 10**6]),
)
def test_any_shape_compact_and_dense_agree(
    sizes: list[int], padding: int, chunk_size: int, checkpoint_positions: int
) -> None:
    model = awake(torch.float64, chunk_size=chunk_size, checkpoint_positions=checkpoint_positions)
    samples = [random_sample(row, size, pool=12) for row, size in enumerate(sizes)]
    slots = max([1, *sizes]) + padding
    tokens, count = dense(samples, slots)
    plain = model.forward_dense(tokens, count.double())
    batch = compact(samples, slots)
    embedding = model.encode_asvs(batch.tokens)
    embedded = model.embed_samples(embedding, batch.tokens, batch.slot, batch.count.double(), batch.is_real)
    features = embedded.distance_features
    assert_close(features, plain.distance_features, 1e-12)
    assert_close(embedded.embedding, plain.embedding, 1e-12)
    assert_close(model.distance(features, features), plain.distance, 1e-12)
    frugal, full = all_of(features, embedded.embedding), all_of(plain.distance_features, plain.embedding)
    if any(sizes):
        assert_gradients_close(gradients(model, frugal), gradients(model, full), 1e-12)
