"""The configuration, the initial weights, and learning in the first steps."""

import numpy as np
import pytest
import torch

from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.nn.model import AamModel
from tests.helpers.model_cases import (
    TINY,
    assert_close,
    compact,
    gradients,
    random_sample,
    some_samples,
)
from tests.helpers.objectives import BASES, DISTANCES, distance_loss_sum, nucleotide_loss_sum, predicted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 10, "attention_heads": 4}, "attention_heads"),
        ({"width": 0}, "width"),
        ({"sample_layers": -1}, "sample_layers"),
        ({"dropout": 1.0}, "dropout"),
        ({"vocabulary_size": 5}, "vocabulary_size"),
        ({"distance_head": "cosine"}, "distance_head"),
        ({"count_embedding": "log"}, "count_embedding"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object], message: str) -> None:
    # It is a TypeError if jaxtyping checks the annotations.
    with pytest.raises((ValueError, TypeError), match=message):
        ModelConfig(**({"sequence_length": 16} | wrong))


def test_initial_weights_follow_from_the_seed() -> None:
    torch.manual_seed(4)
    first = AamModel(ModelConfig(**TINY)).state_dict()
    torch.manual_seed(4)
    second = AamModel(ModelConfig(**TINY)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def initialized(batch: Batch, **options: object) -> AamModel:
    torch.manual_seed(0)
    model = AamModel(ModelConfig(**(TINY | options)))
    model.init_from_batch(batch)
    return model


def test_asvs_of_a_sample_are_encoded_on_their_own_at_first() -> None:
    model = initialized(compact(some_samples(1, 3)), count_embedding="none")
    x = torch.randn(2, 5, TINY["width"])
    position = torch.zeros(2, 5, dtype=torch.int64)
    together = model.sample_encoder(x, torch.ones(2, 5), None, position)
    alone = model.sample_encoder(x[:, :1], torch.ones(2, 1), None, position[:, :1])
    assert_close(together[:, :1], alone, 1e-6)


def test_init_from_batch_gives_branches_a_mean_occupancy_of_one_half() -> None:
    batch = compact([random_sample(seed, 12) for seed in range(8)])
    model = initialized(batch)
    output = model(batch)
    soft, kmers = output.distance_features.detach().split([24, model.num_features - 24], dim=1)
    assert soft.mean(dim=0).numpy() == pytest.approx(0.5, abs=0.01)
    head = model.distance_heads["unweighted_unifrac"]
    nothing = torch.zeros_like
    of_soft = head._total(torch.cat([soft, nothing(kmers)], dim=1)).sum()
    of_kmers = head._total(torch.cat([nothing(soft), kmers], dim=1)).sum()
    assert of_kmers.item() == pytest.approx(of_soft.item(), rel=1e-4)
    pairs = np.triu_indices(8, 1)
    guess, true = predicted(model, output)[0].detach().numpy()[pairs], batch.distance[0].numpy()[pairs]
    assert guess.mean() == pytest.approx(true.mean(), abs=1e-4)


@pytest.mark.parametrize("head", ["soft-branch", "euclidean", "tanh-euclidean"])
@pytest.mark.parametrize(
    "samples",
    [[random_sample(1, 1)], [random_sample(1, 4)] * 3, [random_sample(1, 0), random_sample(2, 3)]],
    ids=["one ASV", "equal samples", "an empty one"],
)
def test_init_from_few_data_is_finite(samples: list, head: str) -> None:
    batch = compact(samples)
    model = initialized(batch, distance_head=head)
    output = model(batch)
    assert all(tensor.isfinite().all() for tensor in vars(output).values())
    loss = distance_loss_sum(model, output, batch).sum() + nucleotide_loss_sum(model, output, batch)
    assert all(gradient.isfinite().all() for gradient in gradients(model, loss).values())


def test_predicted_distances_lie_between_0_and_1() -> None:
    batch = compact(some_samples(1, 6))
    model = initialized(batch)
    with torch.no_grad():
        model.distance_heads["unweighted_unifrac"].affine.offset.add_(0.9)
        assert predicted(model, model(batch)).max() > 1
        distance = predicted(model, model.eval()(batch))
    assert distance.min() >= 0
    assert distance.max() == 1


def shared_asvs(samples: list) -> torch.Tensor:
    """Return the Jaccard distance of each pair, which the ASVs determine."""
    sets = [set(sample.asvs) for sample in samples]
    return torch.tensor([[1 - len(a & b) / len(a | b) for b in sets] for a in sets])


def test_thirty_steps_lower_both_losses() -> None:
    samples = [random_sample(seed, 12, pool=20) for seed in range(8)]
    first = compact(samples)
    first.distance.copy_(shared_asvs(samples))
    model = initialized(first)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        batch = compact(samples, step=step)
        batch.distance.copy_(first.distance)
        output = model(batch)
        nucleotide = nucleotide_loss_sum(model, output, batch) / BASES.denominator(batch)
        distance = distance_loss_sum(model, output, batch) / DISTANCES.denominator(batch)
        optimizer.zero_grad()
        (nucleotide + 10 * distance.sum()).backward()
        optimizer.step()
        losses.append((nucleotide.item(), distance.item()))
    before, after = np.mean(losses[:3], axis=0), np.mean(losses[-3:], axis=0)
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.8 * before[1]
