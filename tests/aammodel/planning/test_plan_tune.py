"""`plan` predicts what a run does. `tune` finds a learning rate and the largest batch that fits."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aammodel.config.toml import read_config, with_options
from aammodel.config.train import TrainConfig
from aammodel.planning.cost import estimate
from aammodel.planning.tune import BatchTrial, Curve, largest_that_fits, range_test
from aammodel.training.setup import Plan, make_plan, make_trainer
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


@pytest.fixture
def tiny(run: Programs, tmp_path: Path) -> Plan:
    folder = make_shards(run, tmp_path, "--token-limit", 12).folder
    tables = read_config(tiny_config(tmp_path, "batch_size = 8\n"))
    return make_plan(folder, tables["model"], TrainConfig(**tables["train"]))


def test_a_plan_predicts_the_run(tiny: Plan, run: Programs, tmp_path: Path) -> None:
    options = ["--config", tmp_path / "tiny.toml", "--max-steps", 6]
    planned = run("aammodel", "plan", tmp_path / "shards", *options, "--json")
    assert planned.code == 0, planned.err
    found = json.loads(planned.out)
    ran = run("aammodel", "pretrain", tmp_path / "shards", *options, "--output", tmp_path / "run")
    assert f"{found['size']['parameters']:,} parameters" in ran.err
    assert f"{found['num_samples']:,} training" in ran.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found["num_steps"] == sum("loss" in row for row in rows) == 6
    assert found["num_validations"] == sum("val_loss" in row for row in rows)
    expected = 6 * (found["seconds_per_step"] + found["data_seconds_per_step"])
    assert found["seconds"] == pytest.approx(
        expected + found["num_validations"] * found["seconds_per_validation"]
    )


def test_epochs_as_an_option_replace_steps() -> None:
    options = {"max_steps": None, "epochs": 3, "seed": None}
    assert with_options({"max_steps": 2, "seed": 5}, options) == {"max_steps": None, "epochs": 3, "seed": 5}
    assert with_options({"epochs": 3}, {"max_steps": 2, "epochs": None}) == {"max_steps": 2, "epochs": 3}


def test_a_plan_of_steps_and_epochs_is_refused(run: Programs, tmp_path: Path) -> None:
    ran = run("aammodel", "plan", tmp_path, "--max-steps", 3, "--epochs", 2)
    assert ran.code == 2
    assert "--epochs was given, too" in ran.err


def test_operations_and_memory_grow_with_the_width(tiny: Plan) -> None:
    found = estimate(make_trainer(tiny, Path("run"), resume=False))
    narrow, wide = found.growth[-2:]
    assert [narrow.width, wide.width] == [8, 32]
    assert narrow.operations < found.size.operations < wide.operations
    assert narrow.memory_bytes < found.size.memory_bytes < wide.memory_bytes
    assert found.seconds_at(wide) > found.seconds > found.seconds_at(narrow)
    assert found.growth[0].token_limit == 12
    assert found.growth[0].operations == pytest.approx(found.size.operations)
    assert found.peak_bytes > found.size.memory_bytes > 16 * found.size.parameters


def test_operations_are_at_least_those_of_the_linear_layers(tiny: Plan) -> None:
    trainer = make_trainer(tiny, Path("run"), resume=False)
    counted = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        counted += 2 * inputs[0].shape[-1] * output.numel()

    for layer in trainer.model.modules():
        if type(layer) is nn.Linear:
            layer.register_forward_hook(count)
    with torch.no_grad():
        trainer.model(next(iter(trainer.train_stream)))
    of_linear_layers = 3 * counted
    operations = estimate(trainer).size.operations
    assert of_linear_layers <= operations * 1.001
    assert operations < 10 * of_linear_layers


def test_threads_change_neither_operations_nor_memory(tiny: Plan) -> None:
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(estimate(make_trainer(tiny, Path("run"), resume=False)).size)
    torch.set_num_threads(before)
    single, several = found
    assert several.operations == pytest.approx(single.operations, rel=0.05)
    assert several.memory_bytes == pytest.approx(single.memory_bytes, rel=0.05)


def test_a_step_has_no_more_batches_than_an_epoch(tiny: Plan) -> None:
    found = []
    for accumulate in (1, 2, 60):
        plan = replace(tiny, train=replace(tiny.train, accumulate=accumulate))
        trainer = make_trainer(plan, Path("run"), resume=False)
        found.append(estimate(trainer).size.operations)
    single, double, whole_epoch = found
    assert double == pytest.approx(2 * single)
    assert whole_epoch == pytest.approx(trainer.train_stream.batches_per_epoch * single)


def test_a_printed_plan_has_a_table(tiny: Plan, run: Programs, tmp_path: Path) -> None:
    ran = run("aammodel", "plan", tiny.shards.folder, "--config", tmp_path / "tiny.toml")
    assert ran.code == 0
    assert "token limit" in ran.out
    assert "s per step" in ran.out
    assert not (tmp_path / "run").exists()


def test_rates_rise_and_the_suggestion_is_within_their_range(tiny: Plan) -> None:
    curve = range_test(make_trainer(tiny, Path("run"), resume=False), 60)
    factors = {round(b / a, 6) for a, b in zip(curve.rates, curve.rates[1:], strict=False)}
    assert len(factors) == 1
    assert curve.rates[0] == 1e-5
    assert min(curve.smooth) < 0.9 * curve.losses[0]
    assert curve.rates[0] < curve.suggested < curve.rates[-1]


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    # The running mean starts at 0, and is corrected for it. So the mean of a constant loss is the loss.
    assert Curve([1e-3, 1e-2], [5.0, 5.0]).smooth == pytest.approx([5.0, 5.0])
    falling = Curve([1e-3, 1e-2, 1e-1, 1.0], [4.0, 2.0, 1.0, 50.0])
    assert falling.suggested == pytest.approx(1e-2)


def test_a_float16_overflow_does_not_end_the_range_test(tiny: Plan) -> None:
    plan = replace(tiny, train=replace(tiny.train, precision="fp16"))
    trainer = make_trainer(plan, Path("run"), resume=False)
    trainer.stepper.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**26)
    curve = range_test(trainer, 10)
    assert curve.rates[0] == 1e-5
    assert len(curve.losses) > 5


def test_the_range_test_ends_at_a_non_finite_loss(tiny: Plan) -> None:
    trainer = make_trainer(tiny, Path("run"), resume=False)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(torch.nan)
    assert range_test(trainer, 20).losses == []


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_the_largest_that_fits_is_found_to_an_eighth(limit: int, most: int) -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        assert 1 <= number <= most
        tried.append(number)
        return number <= limit

    found = largest_that_fits(fits, most)
    best = min(limit, most)
    assert found <= best
    assert best - found <= max(0, best // 8)
    assert len(tried) <= 20


def test_a_batch_that_would_exceed_the_budget_is_not_tried(tiny: Plan) -> None:
    trial = BatchTrial(tiny, budget_bytes=350, peaks={1: 100, 2: 200})
    assert not trial.fits(4)
    assert trial.peaks == {1: 100, 2: 200}


def test_tune_writes_its_plot_and_both_suggestions(tiny: Plan, run: Programs, tmp_path: Path) -> None:
    options = ["--config", tmp_path / "tiny.toml", "--steps", 12, "--output", tmp_path / "tune"]
    ran = run("aammodel", "tune", tiny.shards.folder, *options, "--memory", "64GB", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["largest_batch_size"] == tiny.shards.manifest.num_rows("train")
    assert (tmp_path / "tune" / "learning-rate.png").read_bytes().startswith(b"\x89PNG")
    assert (
        json.loads((tmp_path / "tune" / "tune.json").read_text())["learning_rate"] == found["learning_rate"]
    )
    again = run("aammodel", "tune", tiny.shards.folder, *options)
    assert (again.code, "--overwrite" in again.err) == (2, True)
    poor = run("aammodel", "tune", tiny.shards.folder, *options, "--overwrite", "--memory", "1kB")
    assert "a step of one sample uses" in poor.out
    assert "allow more --memory" in poor.out


def test_the_lines_that_tune_prints_are_those_of_a_configuration(
    tiny: Plan, run: Programs, tmp_path: Path
) -> None:
    """The rate was tested with the batch size of the configuration, so no other size is among the lines."""
    options = ["--config", tmp_path / "tiny.toml", "--steps", 12, "--output", tmp_path / "tune"]
    ran = run("aammodel", "tune", tiny.shards.folder, *options)
    lines, _, _ = ran.out.partition("Plot of the losses")
    assert "tested with batch_size = 8" in lines
    assert "fits" in lines
    settings = tomllib.loads(lines)
    assert settings.keys() == {"learning_rate"}
    TrainConfig(**settings)


@pytest.mark.parametrize("memory", ["", "much", "-1GB", "0", "nanGB", "8 XB", "8"])
def test_an_invalid_amount_of_memory_is_refused(memory: str, run: Programs, tmp_path: Path) -> None:
    ran = run("aammodel", "tune", tmp_path / "shards", f"--memory={memory}", "--output", tmp_path / "tune")
    assert (ran.code, "8GB" in ran.err) == (2, True)
