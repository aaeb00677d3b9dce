"""Objectives of the embedding: Faith PD, richness and distances, compared with loops in float64."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aammodel.batch import Batch, Labels
from aammodel.nn.model import AamModel
from aammodel.objectives.base import ForwardPass, Objective
from aammodel.objectives.diversity import DiversityHead, FaithPdObjective, RichnessObjective
from aammodel.objectives.embedding_distances import EmbeddingDistanceHead, EmbeddingDistanceObjective
from aammodel.objectives.registry import add_heads
from aammodel.runs.metrics_log import read_metrics
from tests.helpers.model_cases import assert_gradients_close, awake, compact, gradients, some_samples
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs

OBJECTIVES = (FaithPdObjective(0.1), RichnessObjective(0.1), EmbeddingDistanceObjective(0.3))


def batch_of(seed: int, size: int, unknown: tuple[int, ...] = ()) -> Batch:
    """Return a batch with both labels, where some samples have no Faith PD and no distances."""
    batch = compact(some_samples(seed, size))
    richness = batch.is_real.sum(dim=1).float()
    faith_pd = richness.sqrt() + 0.3
    faith_pd[list(unknown)] = torch.nan
    batch.distance[:, list(unknown)] = batch.distance[:, :, list(unknown)] = torch.nan
    return replace(batch, labels=Labels(("faith_pd", "richness"), torch.stack([faith_pd, richness])))


def model_with_heads(first: Batch | None = None) -> AamModel:
    model = awake(torch.float64)
    add_heads(model, [objective.name for objective in OBJECTIVES])
    for objective in OBJECTIVES:
        objective.init_from_batch(model, batch_of(9, 12) if first is None else first)
    return model.double()


def loss_sum(objective: Objective, model: AamModel, batch: Batch) -> torch.Tensor:
    return objective.loss_sum(ForwardPass(model, batch, model(batch)))


@pytest.mark.parametrize("objective", OBJECTIVES[:2], ids=lambda objective: objective.name)
def test_a_diversity_is_predicted_in_deviations_of_its_logarithm(objective: Objective) -> None:
    model, batch = model_with_heads(), batch_of(4, 6, unknown=(2,))
    head = model.objective_heads[objective.name]
    assert isinstance(head, DiversityHead)
    assert batch.labels is not None
    first = batch_of(9, 12).labels
    assert first is not None
    known = np.log1p(first.of(objective.name).double().numpy())
    assert head.mean.item() == pytest.approx(known.mean(), rel=1e-6)
    assert head.deviation.item() == pytest.approx(known.std(), rel=1e-5)
    embedding, values = model(batch).embedding.detach().numpy(), batch.labels.of(objective.name).tolist()
    expected = 0.0
    for row, value in enumerate(values):
        if np.isfinite(value):
            true = (np.log1p(value) - head.mean.item()) / head.deviation.item()
            weight, bias = head.linear.weight.detach().numpy()[0], head.linear.bias.item()
            expected += (embedding[row] @ weight + bias - true) ** 2
    assert objective.denominator(batch) == np.isfinite(values).sum()
    assert loss_sum(objective, model, batch).item() == pytest.approx(expected, rel=1e-6)


def test_embedding_distances_are_euclidean_distances_scaled() -> None:
    model, batch = model_with_heads(), batch_of(4, 6, unknown=(2,))
    objective = OBJECTIVES[2]
    head = model.objective_heads[objective.name]
    assert isinstance(head, EmbeddingDistanceHead)
    embedding = model(batch).embedding.detach().numpy()
    expected, pairs = 0.0, 0
    for i in range(6):
        for j in range(i + 1, 6):
            true = batch.distance[0, i, j].item()
            if np.isfinite(true):
                distance = np.sqrt(((embedding[i] - embedding[j]) ** 2).sum())
                predicted = head.affine.scale.item() * distance + head.affine.offset.item()
                expected += ((predicted - true) / head.spread.item()) ** 2
                pairs += 1
    assert objective.denominator(batch) == pairs == 10
    assert loss_sum(objective, model, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_gradients_are_finite_and_those_of_a_sum_over_samples(objective: Objective) -> None:
    model, batch = model_with_heads(), batch_of(4, 6, unknown=(0, 2))
    whole = gradients(model, loss_sum(objective, model, batch))
    assert all(gradient.isfinite().all() for gradient in whole.values())
    assert any(gradient.any() for name, gradient in whole.items() if name.startswith("asv_encoder"))
    if isinstance(objective, EmbeddingDistanceObjective):
        return
    parts = [
        gradients(model, loss_sum(objective, model, replace_labels(batch, row)))
        for row in range(batch.num_samples)
    ]
    summed = {name: sum((part[name] for part in parts), torch.zeros(())) for name in whole}
    assert_gradients_close(summed, whole, 1e-9)


def replace_labels(batch: Batch, row: int) -> Batch:
    """Return the batch with the labels of one sample only."""
    assert batch.labels is not None
    values = torch.full_like(batch.labels.values, torch.nan)
    values[:, row] = batch.labels.values[:, row]
    return replace(batch, labels=replace(batch.labels, values=values))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_nothing_to_learn_is_a_loss_of_zero_with_a_finite_gradient(objective: Objective) -> None:
    batch = batch_of(4, 3, unknown=(0, 1, 2))
    assert batch.labels is not None
    batch = replace(batch, labels=replace(batch.labels, values=torch.full((2, 3), torch.nan)))
    model = model_with_heads(batch)
    assert objective.denominator(batch) == 0
    value = loss_sum(objective, model, batch)
    assert value == 0
    assert all(gradient.isfinite().all() for gradient in gradients(model, value).values())


def test_samples_that_are_repeated_on_another_rank_do_not_count() -> None:
    batch, model = replace(batch_of(4, 3), is_repeated=True), model_with_heads()
    for objective in OBJECTIVES[:2]:
        assert objective.denominator(batch) == 0
        assert loss_sum(objective, model, batch) == 0


def test_a_run_learns_all_three_and_resumes_with_them(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    names = ("embedding_distance", "faith_pd", "richness")
    options = [option for name in names for option in ("--objective", f"{name}=0.3")]
    common = ("--config", tiny_config(tmp_path), "--batch-size", 10, "--max-steps")
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "run", *options, *common, 24)
    assert ran.code == 0, ran.err
    rows = read_metrics(tmp_path / "run")
    for name in names:
        losses = [row[f"{name}_loss"] for row in rows if f"{name}_loss" in row]
        assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]), name
    assert "Faith PD" in (tmp_path / "run/report.html").read_text()
    last = tmp_path / "run/checkpoints/step-000024"
    expected = (last / "model.safetensors").read_bytes()
    shutil.rmtree(last)
    ran = run("aammodel", "pretrain", "--resume", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert (last / "model.safetensors").read_bytes() == expected


def test_faith_pd_needs_a_tree(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "run", "--objective", "faith_pd")
    assert ran.code == 2
    assert "these shards have no tree, which the objective faith_pd needs" in ran.err


def test_an_unknown_objective_is_refused_with_the_known_ones(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    for value, message in (("depth", "registered: faith_pd, richness"), ("richness=much", "not a number")):
        ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "run", "--objective", value)
        assert ran.code == 2
        assert message in ran.err
