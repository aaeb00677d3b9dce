"""Sums of losses: the mean over a step of several micro-batches is exact (P5)."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from aammodel.batch import Batch
from aammodel.nn.model import AamModel, Output
from aammodel.objectives.sums import mean_or_none
from tests.helpers.model_cases import (
    assert_close,
    assert_gradients_close,
    awake,
    compact,
    gradients,
    random_sample,
    some_samples,
)
from tests.helpers.objectives import BASES, DISTANCES, distance_loss_sum, nucleotide_loss_sum, predicted

pytestmark = pytest.mark.usefixtures("one_thread")


def micro_batches(sizes: list[int]) -> list[Batch]:
    return [compact(some_samples(seed + 1, size)) for seed, size in enumerate(sizes)]


def mean_loss(model: AamModel, outputs: list[Output], batches: list[Batch]) -> torch.Tensor:
    """Compute the mean losses over all bases and all pairs of one large batch."""
    logits = torch.cat([output.nucleotide_logits for output in outputs])
    tokens = torch.cat([batch.masked_token for batch in batches])
    errors = [
        (predicted(model, output)[0, i, j] - batch.distance[0, i, j]) ** 2
        for output, batch in zip(outputs, batches, strict=True)
        for i in range(batch.num_samples)
        for j in range(i + 1, batch.num_samples)
        if batch.distance[0, i, j].isfinite()
    ]
    return cross_entropy(logits, tokens) + torch.stack(errors).mean()


def accumulate(model: AamModel, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Sum gradients as training does: one micro-batch at a time, divided by the counts of all."""
    num_bases, pairs = (sum(map(parameter.denominator, batches)) for parameter in (BASES, DISTANCES))
    model.zero_grad()
    for batch in batches:
        output = model(batch)
        nucleotide = nucleotide_loss_sum(model, output, batch) / num_bases
        (nucleotide + distance_loss_sum(model, output, batch).sum() / pairs.clamp_min(1)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("sizes", [[3], [2, 5], [4, 1, 3], [1, 2, 6, 1]], ids=str)
def test_accumulation_is_exact(sizes: list[int]) -> None:
    model = awake(torch.float64)
    batches = micro_batches(sizes)
    for batch in batches:
        batch.distance[0, 0, -1] = torch.nan
    got = accumulate(model, batches)
    expected = gradients(model, mean_loss(model, [model(batch) for batch in batches], batches))
    assert_gradients_close(got, expected, 1e-12)


def test_a_batch_of_one_has_no_pair_and_a_finite_gradient() -> None:
    model = awake()
    (batch,) = micro_batches([1])
    assert DISTANCES.denominator(batch) == 0
    assert mean_or_none(float(distance_loss_sum(model, model(batch), batch).detach()), 0) is None
    assert all(value.isfinite().all() for value in accumulate(model, [batch]).values())


def test_a_missing_distance_has_no_effect() -> None:
    model = awake()
    batch = compact(some_samples(1, 4))
    batch.distance[0, 1, :] = batch.distance[0, :, 1] = torch.nan
    assert DISTANCES.denominator(batch) == 3
    value = distance_loss_sum(model, model(batch), batch).sum()
    turned = replace(batch, distance=batch.distance.mT)
    assert_close(value, distance_loss_sum(model, model(batch), turned).sum(), 1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients(model, value).values())


def test_without_masked_bases_there_is_no_loss() -> None:
    model = awake()
    batch = compact(some_samples(1, 2))
    batch = replace(batch, masked=batch.masked[:0], masked_token=batch.masked_token[:0])
    assert nucleotide_loss_sum(model, model(batch), batch) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sums_are_in_float32(dtype: torch.dtype) -> None:
    model = awake()
    batch = compact([random_sample(1, 30), random_sample(2, 30)])
    with torch.autocast("cpu", dtype):
        output = model(batch)
    assert output.nucleotide_logits.dtype == dtype
    assert output.distance_features.dtype == torch.float32
    assert nucleotide_loss_sum(model, output, batch).dtype == torch.float32
    assert distance_loss_sum(model, output, batch).dtype == torch.float32


@pytest.mark.parametrize("head", ["soft-branch", "euclidean"])
def test_small_distances_are_not_lost_to_cancellation(head: str) -> None:
    model = awake(distance_head=head)
    size = model.num_features
    a = 0.5 + 0.1 * torch.rand(30, size, generator=torch.Generator().manual_seed(0))
    b = a + 1e-4 * torch.rand(30, size, generator=torch.Generator().manual_seed(1))
    exact = awake(torch.float64, distance_head=head).distance(a.double(), b.double())
    assert_close(model.distance(a, b), exact, 1e-6)
