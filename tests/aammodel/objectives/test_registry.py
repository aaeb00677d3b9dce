"""An objective from outside of the package needs one class, one call and one configuration entry."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aammodel.batch import Batch, Labels
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.objectives import registry
from aammodel.objectives.base import ForwardPass, Label, Objective
from aammodel.objectives.registry import loss_defining_keys, make_objectives, register
from aammodel.runs.load import load_run
from aammodel.runs.metrics_log import read_metrics
from aammodel.runs.saved_step import SavedStep, load_step, save_step
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.step import Stepper
from tests.helpers.model_cases import awake, compact, some_samples
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


@register
class LogRichness(Objective):
    """Predict the logarithm of the number of ASVs of a sample from its embedding."""

    name = "log_richness"
    labels = {"log_richness": Label("richness", "squared error of its logarithm")}  # noqa: RUF012

    @classmethod
    def make_head(cls, config: ModelConfig) -> nn.Module:
        """Make a linear layer."""
        return nn.Linear(config.width, 1)

    def denominator(self, batch: Batch) -> Tensor:
        """Count the samples."""
        return batch.sample_counts.sum()

    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Sum the squared errors over the samples."""
        predicted = forward.head(self.name)(forward.output.embedding)[:, 0].float()
        error = predicted - forward.batch.is_real.sum(dim=1).log1p()
        return torch.where(forward.batch.sample_counts, error.square(), 0.0).sum()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that several tests use."""
    return tmp_path_factory.mktemp("richness")


@pytest.fixture
def trained(run: Programs, folder: Path) -> Path:
    """Return a run of twelve steps with the objective."""
    if not (folder / "run").exists():
        shards = make_shards(run, folder).folder
        config = tiny_config(folder, "keep_checkpoints = 9\n[train.objectives]\nlog_richness = 0.5\n")
        options = ("--config", config, "--max-steps", 12, "--batch-size", 6, "--accumulate", 2)
        ran = run("aammodel", "pretrain", shards, "--output", folder / "run", *options)
        assert ran.code == 0, ran.err
    return folder / "run"


def test_its_loss_is_logged_and_falls(trained: Path) -> None:
    rows = read_metrics(trained)
    losses = [row["log_richness_loss"] for row in rows if "log_richness_loss" in row]
    validated = [row["val_log_richness_loss"] for row in rows if "val_log_richness_loss" in row]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    assert validated[-1] < 0.5 * validated[0]


def test_its_weight_applies_in_the_loss(trained: Path) -> None:
    row = read_metrics(trained)[-2]
    # Errors are measured in units of the spread of the true distances.
    spread = load_run(trained).spread.item()
    expected = (
        row["nucleotide_loss"] + 0.3 / spread**2 * row["distance_loss"] + 0.5 * row["log_richness_loss"]
    )
    assert row["loss"] == pytest.approx(expected, rel=1e-6)


def test_report_and_results_show_it(trained: Path) -> None:
    assert "richness" in (trained / "report.html").read_text()
    assert json.loads((trained / "results.json").read_text())["best"]["val_log_richness_loss"] > 0


def test_its_head_is_saved_with_the_model(trained: Path) -> None:
    weights = load_file(trained / "model.safetensors")
    head = load_run(trained).objective_heads["log_richness"]
    assert torch.equal(head.weight, weights["objective_heads.log_richness.weight"])
    optimizer = load_file(trained / "checkpoints/step-000012/optimizer.safetensors")
    assert optimizer["exp_avg|objective_heads.log_richness.weight"].any()


def test_a_resumed_run_is_bit_equal(trained: Path, run: Programs, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(trained, part)
    for step in (9, 12):
        shutil.rmtree(part / f"checkpoints/step-{step:06d}")
    ran = run("aammodel", "pretrain", "--resume", part)
    assert ran.code == 0, ran.err
    for name in ("model.safetensors", "optimizer.safetensors"):
        value, other = (folder / "checkpoints/step-000012" / name for folder in (trained, part))
        assert value.read_bytes() == other.read_bytes()


def test_without_it_the_model_loads_but_the_run_does_not_resume(
    trained: Path, run: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry._registered, "log_richness")
    assert not load_run(trained).objective_heads
    ran = run("aammodel", "pretrain", "--resume", trained)
    assert ran.code == 2
    assert "no objective named 'log_richness' is registered" in ran.err


def test_its_weight_defines_the_loss() -> None:
    assert "objectives" in loss_defining_keys()


def test_names_are_unique() -> None:
    class Other(LogRichness):
        pass

    class Distance(LogRichness):
        name = "distance"

    assert register(LogRichness) is LogRichness
    for kind in (Other, Distance):
        with pytest.raises(ValueError, match="already exists"):
            register(kind)


def test_a_sample_that_is_repeated_on_another_rank_counts_once() -> None:
    batch = compact(some_samples(1, 1))
    model = awake()
    registry.add_heads(model, ["log_richness"])
    objective = LogRichness(1.0)
    repeated = replace(batch, is_repeated=True)
    assert objective.denominator(batch) == 1
    assert objective.denominator(repeated) == 0
    assert objective.loss_sum(ForwardPass(model, repeated, model(repeated))) == 0


class Age(Objective):
    """Predict a label of each sample for which it is known."""

    name = "age"
    labels = {"age": Label("age", "squared error")}  # noqa: RUF012

    def denominator(self, batch: Batch) -> Tensor:
        """Count the samples of known age."""
        assert batch.labels is not None
        return batch.labels.of("age").isfinite().sum()

    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Sum the squared errors of a prediction without parameters."""
        assert forward.batch.labels is not None
        age = forward.batch.labels.of("age")
        return torch.where(age.isfinite(), forward.output.embedding.mean(dim=1) - age, 0.0).square().sum()


def test_an_objective_learns_labels_of_a_batch(tmp_path: Path) -> None:
    labels = Labels(("depth", "age"), torch.tensor([[1.0, 2.0, 3.0], [0.5, torch.nan, -0.5]]))
    batch = replace(compact(some_samples(1, 3)), labels=labels).to("cpu")
    assert batch.labels is not None
    assert torch.equal(batch.labels.of("depth"), labels.values[0])
    config = TrainConfig()
    model, objectives = awake(), (*make_objectives(config), Age(1.0))
    optimizer, precision = make_optimizer(model, config), Precision("float32", torch.device("cpu"))
    losses, norm = Stepper(model, optimizer, precision, config, objectives).backward([batch, batch])
    assert losses.counts[2] == 4
    assert losses.named()["age_loss"] > 0
    assert np.isfinite(norm)
    save_step(SavedStep([batch, compact(some_samples(2, 2))]), tmp_path / "step.safetensors")
    kept, without = load_step(tmp_path / "step.safetensors").batches
    assert kept.labels is not None
    assert kept.labels.names == labels.names
    assert torch.equal(kept.labels.values.nan_to_num(7.0), labels.values.nan_to_num(7.0))
    assert without.labels is None
