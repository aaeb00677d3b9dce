"""`aammodel pretrain`, as a user runs it: the files that it writes, learning, signals and refused options."""

import json
import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aam_schemas.common.errors import NonFiniteError, UsageError
from aammodel.config.train import TrainConfig
from aammodel.runs.checkpoint import list_checkpoints
from aammodel.runs.metrics_log import read_metrics
from aammodel.training.device import pick_device
from aammodel.training.setup import make_model_config, make_plan, make_trainer
from aammodel.workflows.pretrain import begin_run, finish_run
from tests.helpers.programs import command
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


def pretrain(run: Programs, folder: Path, output: Path, *options: object) -> Path:
    ran = run(
        "aammodel", "pretrain", folder, "--output", output, "--config", tiny_config(output.parent), *options
    )
    assert ran.code == 0, ran.err
    return output


def test_a_run_writes_all_files_of_its_folder(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    output = pretrain(run, shards, tmp_path / "run", "--max-steps", 7)
    files = {path.name for path in output.iterdir()}
    assert {
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
        "losses.png",
        "unweighted_unifrac.png",
    } <= files
    # The last two checkpoints are kept, and the best one.
    kept = {path.name for path in (output / "checkpoints").iterdir()}
    assert {"step-000006", "step-000007"} <= kept <= {"step-000004", "step-000006", "step-000007"}
    assert (output / "checkpoints" / "step-000007" / "model.safetensors").exists()
    rows = read_metrics(output)
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == list(range(1, 8))
    assert [row["step"] for row in rows if "val_loss" in row] == [0, 4, 7]
    for row in rows:
        assert all(value is None or np.isfinite(value) for value in row.values())
        assert ("samples_per_second" in row) == ("loss" in row)
    config = json.loads((output / "config.json").read_text())
    assert config["train"]["max_steps"] == 7
    assert config["model"]["width"] == 16
    page = (output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    manifest = json.loads((output / "config.json").read_text())["shards"]["manifest_sha256"]
    assert all(words in page for words in (manifest, "learning_rate", torch.__version__, "threads"))
    results = json.loads((output / "results.json").read_text())
    assert results["steps"] == 7
    assert results["best"]["val_loss"] == min(row["val_loss"] for row in rows if "val_loss" in row)
    assert -1 <= results["targets"]["unweighted_unifrac"]["r"] <= 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_two_targets_are_learned_and_reported(run: Programs, tmp_path: Path) -> None:
    make_shards(run, tmp_path)
    targets = ("--target", "weighted_normalized_unifrac=2", "--target", "unweighted_unifrac")
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--max-steps", 4)
    ran = run("aammodel", "pretrain", tmp_path / "shards", *options, *targets)
    assert ran.code == 0, ran.err
    last = [row for row in read_metrics(tmp_path / "run") if "loss" in row][-1]
    spread = load_file(tmp_path / "run" / "model.safetensors")
    expected = last["nucleotide_loss"] + 0.3 * sum(
        weight * last[f"{name}_loss"] / float(spread[f"distance_heads.{name}.spread"]) ** 2
        for name, weight in (("weighted_normalized_unifrac", 2 / 3), ("unweighted_unifrac", 1 / 3))
    )
    assert last["loss"] == pytest.approx(expected, rel=1e-5)
    mean = (2 * last["weighted_normalized_unifrac_loss"] + last["unweighted_unifrac_loss"]) / 3
    assert last["unifrac_loss"] == pytest.approx(mean)
    for name in ("weighted_normalized_unifrac", "unweighted_unifrac"):
        assert (tmp_path / "run" / f"{name}.png").stat().st_size > 5000
    assert "normalized weighted UniFrac, " in ran.out


def test_a_validation_has_the_number_of_samples_asked_for(run: Programs, tmp_path: Path) -> None:
    """The last batch is not filled up, and the report is about the same samples."""
    shards = make_shards(run, tmp_path, num_samples=240)
    train = TrainConfig(max_steps=1, validation_samples=18)
    plan = make_plan(shards.folder, {"width": 16, "asv_layers": 1}, train)
    with begin_run(plan, tmp_path / "run", overwrite=False):
        pass
    trainer = make_trainer(plan, tmp_path / "run", resume=False)
    validated = [sample for batch in trainer.validation for sample in batch.sample_ids]
    assert len(set(validated)) == len(validated) == 18
    trainer.fit()
    assert [prediction.num_samples for prediction in finish_run(plan, trainer)] == [18]


def test_a_warning_says_that_batches_of_one_sample_learn_no_distance(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    options = ("--output", tmp_path / "run", "--config", tiny_config(tmp_path), "--max-steps", 2)
    ran = run("aammodel", "pretrain", shards, *options, "--batch-size", 1)
    assert ran.code == 0, ran.err
    assert "no pair" in ran.err
    assert all(row["unifrac_loss"] is None for row in read_metrics(tmp_path / "run") if "loss" in row)


@pytest.mark.parametrize("target", ["unifrac", "unweighted_unifrac=no", "unweighted_unifrac=-1"])
def test_an_invalid_target_is_refused(run: Programs, tmp_path: Path, target: str) -> None:
    make_shards(run, tmp_path)
    ran = run("aammodel", "pretrain", tmp_path / "shards", "--output", tmp_path / "run", "--target", target)
    assert ran.code == 2
    assert "target" in ran.err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"targets": ["jaccard"]}, r"\[train.targets\]"),
        ({"sequence_length": 59}, "sequence_length must be at least 60"),
        ({"slot_positions": 11}, "slot_positions must be at least 12"),
        ({"width": 16.0}, "width must be of type int"),
        ({"kmers": "no"}, "kmers must be of type bool"),
        ({"dropout": "0.1"}, "dropout must be of type float"),
        ({"distance_head": 3}, "distance_head must be one of"),
    ],
)
def test_an_invalid_model_configuration_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_model_config(60, 12, values, TrainConfig())


@pytest.mark.parametrize(
    "values",
    [
        {"num_workers": -1},
        {"seed": 2**64},
        {"seed": -(2**63) - 1},
        {"distance_weight": -1.0},
        {"distance_weight": math.inf},
        {"nucleotide_weight": math.nan},
        {"nucleotide_weight": 0.0, "distance_weight": 0.0},
        {"rarefy_fraction": 0.5, "targets": {"precomputed": 1.0}},
    ],
)
def test_an_invalid_training_configuration_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        TrainConfig(**values)


def test_the_limits_of_valid_values_are_accepted() -> None:
    for seed in (-(2**63), 2**64 - 1):
        torch.manual_seed(TrainConfig(seed=seed, num_workers=0, nucleotide_weight=0.0).seed)


def test_a_cpu_loses_its_index_and_unsupported_devices_are_refused() -> None:
    assert pick_device("cpu:0") == torch.device("cpu")
    for name in ("meta", "mps", "cpu:x", "cuda:99"):
        with pytest.raises(UsageError, match="no device"):
            pick_device(name)


def test_a_model_may_accept_longer_samples_than_the_shards_have(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, "--token-limit", 12)
    more = {"sequence_length": 80, "slot_positions": 20, "width": 16, "asv_layers": 1}
    plan = make_plan(shards.folder, more, TrainConfig(max_steps=1))
    with begin_run(plan, tmp_path / "run", overwrite=False):
        pass
    make_trainer(plan, tmp_path / "run", resume=False).fit()
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_training_lowers_the_losses(run: Programs, tmp_path: Path) -> None:
    """The study is simulated, with sequences that reflect the tree."""
    assert run("aamprep", "simulate", tmp_path / "study", "--samples", 150, "--asvs", 80).code == 0
    study = tmp_path / "study" / "table.biom"
    assert run("aamprep", "shard", study, "--rarefy-depth", 500, "--output", tmp_path / "shards").code == 0
    config = tmp_path / "small.toml"
    config.write_text(
        "[model]\nwidth = 32\nattention_heads = 2\nasv_layers = 1\nsample_layers = 1\nsoft_branches = 64\n"
        "[train]\nvalidate_every = 60\nbatch_size = 16\nlearning_rate = 0.003\n"
    )
    options = ("--output", tmp_path / "run", "--config", config, "--max-steps", 60)
    ran = run("aammodel", "pretrain", tmp_path / "shards", *options)
    assert ran.code == 0, ran.err
    first, last = (row for row in read_metrics(tmp_path / "run") if "val_loss" in row)
    assert last["val_nucleotide_loss"] < first["val_nucleotide_loss"] - 0.3
    assert last["val_unifrac_loss"] < 0.85 * first["val_unifrac_loss"]
    assert "r = 0." in ran.out


@pytest.mark.parametrize("has_validation", [True, False])
def test_non_finite_weights_are_not_saved(run: Programs, tmp_path: Path, has_validation: bool) -> None:
    """The losses of the step are finite, and no next step could find the non-finite weights."""
    train = TrainConfig(max_steps=1, learning_rate=3e38, optimizer="sgd", clip_norm=1e6, batch_size=8)
    plan = make_plan(make_shards(run, tmp_path).folder, {"width": 16, "asv_layers": 1}, train)
    with begin_run(plan, tmp_path / "run", overwrite=False):
        pass
    trainer = make_trainer(plan, tmp_path / "run", resume=False)
    if not has_validation:
        trainer.validation = []
    words = "the validation loss is non-finite at step 1" if has_validation else "weights .* after step 1"
    with pytest.raises(NonFiniteError, match=words):
        trainer.fit()
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(weights.isfinite().all() for weights in kept.values())
    assert not list_checkpoints(tmp_path / "run")


def test_a_signal_ends_a_run_with_a_checkpoint(run: Programs, tmp_path: Path) -> None:
    shards, config = make_shards(run, tmp_path).folder, tiny_config(tmp_path)
    arguments = ["pretrain", str(shards), "--output", str(tmp_path / "run"), "--config", str(config)]
    call = [*command("aammodel"), *arguments, "--max-steps", "100000"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not any((row["step"] or 0) > 3 for row in read_metrics(tmp_path / "run")):
        assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "--resume" in err
    last = max((tmp_path / "run" / "checkpoints").iterdir())
    assert json.loads((last / "state.json").read_text())["step"] == read_metrics(tmp_path / "run")[-1]["step"]


def test_a_warning_says_that_no_distance_is_learned_without_a_tree(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    ran = run(
        "aammodel",
        "pretrain",
        shards,
        "--output",
        tmp_path / "run",
        "--config",
        tiny_config(tmp_path),
        "--max-steps",
        2,
    )
    assert ran.code == 0
    assert "no tree" in ran.err
    assert "use --target jaccard, braycurtis or aitchison" in ran.err
    assert all(row.get("unifrac_loss") is None for row in read_metrics(tmp_path / "run"))


@pytest.mark.parametrize("target", [(), ("--target", "weighted_unifrac"), ("--target", "precomputed")])
def test_a_run_that_would_learn_nothing_names_the_targets_that_it_could(
    run: Programs, tmp_path: Path, target: tuple[str, ...]
) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    config = tiny_config(tmp_path, "nucleotide_weight = 0\n")
    given = ("pretrain", shards, "--config", config, "--max-steps", 1, "--output", tmp_path / "run")
    ran = run("aammodel", *given, *target)
    assert ran.code == 2
    assert "use --target jaccard, braycurtis or aitchison with these shards" in ran.err
    assert run("aammodel", *given, "--target", "braycurtis").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "no shards were given"),
        (["absent"], 2, "no such folder"),
        (["."], 1, "not a shard set"),
        (["shards", "--max-steps", 0], 2, "max_steps must be at least 1"),
        (["shards", "--batch-size", 0], 2, "batch_size must be at least 1"),
        (["shards", "--token-limit", 513], 2, "larger than the 512"),
        (["shards", "--device", "toaster"], 2, "device must be auto, cpu, cuda"),
        (["shards", "--config", "absent.toml"], 2, "cannot be opened"),
        (["shards", "--config", "bad.toml"], 2, "no key 'widht'"),
        (["shards", "--config", "heads.toml"], 2, "must divide width"),
        (["shards", "--config", "compile.toml"], 2, "no-such-compiler"),
        (["shards", "--config", "loose.toml"], 2, "width is in no table"),
        (["shards", "--max-steps", 3, "--epochs", 2], 2, "--epochs was given, too"),
        (["--resume", "taken", "--output", "other"], 2, "a resumed run keeps its folder"),
        (["--resume", "taken", "--overwrite"], 2, "a resumed run is not replaced"),
        (["shards", "--allow-changes"], 2, "it requires --resume"),
        (["shards", "--output", "taken"], 2, "exists already"),
        (["--resume", "absent"], 2, "not a run folder"),
        (["--resume", "taken"], 1, "lacks"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: list[object],
    code: int,
    words: str,
    run: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_shards(run, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("[model]\nwidht = 3\n")
    (tmp_path / "loose.toml").write_text("width = 3\n")
    (tmp_path / "heads.toml").write_text("[model]\nwidth = 10\nattention_heads = 4\n")
    (tmp_path / "compile.toml").write_text("[train]\ncompile = true\n")
    monkeypatch.setenv("CXX", "no-such-compiler")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.json").write_text("{}")
    ran = run("aammodel", "pretrain", *arguments)
    assert ran.code == code, ran.err
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (tmp_path / "run").exists()
