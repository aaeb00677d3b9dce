"""One step: optimizers against their formulas, accumulation in every precision, overflow."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from aammodel.batch import Batch
from aammodel.config.train import TrainConfig
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import make_objectives
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.step import Stepper
from tests.helpers.model_cases import awake, compact, some_samples
from tests.helpers.objectives import predicted

CPU = torch.device("cpu")


def stepper(config: TrainConfig, model: AamModel | None = None) -> Stepper:
    model = model or awake()
    precision = Precision(config.precision, CPU)
    return Stepper(model, make_optimizer(model, config), precision, config, make_objectives(config))


def batches(*sizes: int) -> list[Batch]:
    return [compact(some_samples(seed + 1, size)) for seed, size in enumerate(sizes)]


def gradient(stepper: Stepper) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in stepper.model.parameters() if p.grad is not None])


def one_parameter(config: TrainConfig, gradients: list[float]) -> float:
    """Return a weight that was 1 after steps with these gradients."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    optimizer = make_optimizer(model, config)
    for value in gradients:
        model.weight.grad = torch.full((1, 1), value)
        optimizer.step()
    return model.weight.item()


GRADIENTS = [0.5, -0.2, 0.3, 0.7]


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_adam_and_adamw_by_their_formulas(name: str) -> None:
    config = TrainConfig(optimizer=name, learning_rate=0.1, weight_decay=0.02)
    weight, mean, square = 1.0, 0.0, 0.0
    for step, slope in enumerate(GRADIENTS, 1):
        if name == "adamw":
            weight -= 0.1 * 0.02 * weight
        else:
            slope += 0.02 * weight
        mean, square = 0.9 * mean + 0.1 * slope, 0.98 * square + 0.02 * slope**2
        weight -= 0.1 * (mean / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.98**step)) + 1e-8)
    assert one_parameter(config, GRADIENTS) == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_sgd_by_its_formula(momentum: float) -> None:
    config = TrainConfig(optimizer="sgd", learning_rate=0.1, weight_decay=0.02, momentum=momentum)
    weight, speed = 1.0, 0.0
    for slope in GRADIENTS:
        slope += 0.02 * weight
        speed = momentum * speed + slope
        weight -= 0.1 * (slope + momentum * speed)
    assert one_parameter(config, GRADIENTS) == pytest.approx(weight, rel=1e-5)


def test_biases_and_norms_have_no_weight_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.3,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }


# The gradient is exact in float32. In the other precisions, the matrix products of each micro-batch are
# rounded, so that the tolerance is that of the rounding.
TOLERANCE = {"float32": 1e-5, "bf16": 2e-2, "fp16": 2e-2 / 8}


@pytest.mark.parametrize("precision", TOLERANCE)
def test_accumulation_is_the_mean_over_all_bases_in_every_precision(precision: str) -> None:
    config = TrainConfig(precision=precision, clip_norm=1e9, distance_weight=1.0)
    rounded = stepper(config)
    parts = batches(4, 1, 3)
    losses, norm = rounded.backward(parts)
    got = gradient(rounded)
    exact = stepper(replace(config, precision="float32"), awake(torch.float64))
    expected_losses, expected_norm = exact.backward([to_float64(part) for part in parts])
    expected = gradient(exact)
    assert losses.counts == expected_losses.counts
    assert losses.counts[0] == sum(len(part.masked) for part in parts)
    (bases, distance), (expected_bases, expected_distance) = losses.numbers(), expected_losses.numbers()
    assert bases == pytest.approx(expected_bases, rel=TOLERANCE[precision])
    assert distance == pytest.approx(expected_distance, rel=5 * TOLERANCE[precision])
    assert norm == pytest.approx(expected_norm, rel=5 * TOLERANCE[precision])
    assert (got - expected).norm() <= 5 * TOLERANCE[precision] * expected.norm()


def test_accumulation_is_the_mean_of_a_loop_over_every_base_and_pair() -> None:
    """The reference adds up base by base and pair by pair, and uses none of our losses."""
    config = TrainConfig(clip_norm=1e9, distance_weight=1.0)
    trained = stepper(config, awake(torch.float64))
    parts = [to_float64(part) for part in batches(4, 1, 3)]
    trained.backward(parts)
    got = gradient(trained)
    other = awake(torch.float64)
    bases, pairs = [], []
    for part in parts:
        output = other(part)
        for logits, token in zip(output.nucleotide_logits, part.masked_token.tolist(), strict=True):
            bases.append(logits.exp().sum().log() - logits[token])
        pairs += [
            (predicted(other, output)[0, i, j] - part.distance[0, i, j]) ** 2
            for i, j in itertools.combinations(range(part.num_samples), 2)
            if part.distance[0, i, j].isfinite()
        ]
    loss = torch.stack(bases).mean() + torch.stack(pairs).mean() / other.spread[0] ** 2
    loss.backward()
    expected = torch.cat([(p.grad if p.grad is not None else 0 * p).flatten() for p in other.parameters()])
    assert (got - expected).norm() <= 1e-10 * expected.norm()


def to_float64(batch: Batch) -> Batch:
    return replace(batch, count=batch.count.double(), distance=batch.distance.double())


def test_an_overflow_of_float16_changes_nothing_but_the_scale() -> None:
    half = stepper(TrainConfig(precision="fp16"))
    half.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    before = {name: tensor.clone() for name, tensor in half.model.state_dict().items()}
    losses, norm = half.backward(batches(3))
    assert all(map(math.isfinite, losses.numbers()))
    assert half.precision.is_overflow(norm)
    half.update(0.1)
    assert all(torch.equal(before[name], tensor) for name, tensor in half.model.state_dict().items())
    assert half.precision.state()["scale"] == 2.0**119
    half.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    _, norm = half.backward(batches(3))
    assert not half.precision.is_overflow(norm)
    half.update(0.1)
    assert any(not torch.equal(before[name], tensor) for name, tensor in half.model.state_dict().items())


def test_without_loss_scaling_there_is_no_overflow() -> None:
    for name in ("float32", "bf16"):
        precision = Precision(name, CPU)
        assert not precision.is_overflow(math.inf)
        assert precision.state() == {}


def test_the_scale_does_not_change_the_gradient() -> None:
    gradients = []
    for scale in (2.0**4, 2.0**12):
        half = stepper(TrainConfig(precision="fp16", clip_norm=1e9))
        half.precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        half.backward(batches(3))
        gradients.append(gradient(half))
    assert (gradients[0] - gradients[1]).norm() <= 5e-3 * gradients[1].norm()
