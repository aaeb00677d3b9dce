"""Changes of a run on resume: none without `--allow-changes`, except for the hardware."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aam_schemas.common.errors import UsageError
from aammodel.config.train import TrainConfig
from aammodel.runs.metrics_log import read_metrics
from aammodel.runs.progress import Progress
from aammodel.training.setup import make_plan
from aammodel.workflows.pretrain import begin_run
from aammodel.workflows.resume import read_plan
from tests.helpers.old_keys import forget_hashes
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs


@pytest.fixture
def begun(run: Programs, tmp_path: Path) -> Path:
    """Train a run of 2 steps to its end."""
    shards = make_shards(run, tmp_path).folder
    options = ("--config", tiny_config(tmp_path), "--max-steps", 2)
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "run", *options)
    assert ran.code == 0, ran.err
    return tmp_path / "run"


def config_of(begun: Path) -> dict[str, Any]:
    return dict(json.loads((begun / "config.json").read_text()))


def replace_shards(run: Programs, begun: Path, *options: object) -> None:
    table, shards = begun.parent / "table.biom", begun.parent / "shards"
    ran = run("aamprep", "shard", table, "--output", shards, "--overwrite", *options)
    assert ran.code == 0, ran.err


def test_a_finished_run_stays_as_it_is(run: Programs, begun: Path) -> None:
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    ran = run("aammodel", "pretrain", "--resume", begun)
    assert ran.code == 0
    assert "finished, after 2 steps" in ran.err
    assert before == {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}


def test_a_run_that_was_killed_before_its_report_gets_one(run: Programs, begun: Path) -> None:
    (begun / "report.html").unlink()
    ran = run("aammodel", "pretrain", "--resume", begun)
    assert ran.code == 0
    assert (begun / "report.html").exists()
    assert len(read_metrics(begun)) == 4


def test_resuming_removes_the_old_report(run: Programs, begun: Path) -> None:
    """If the run is killed before it writes a new report, the old one would seem to be the new one."""
    (begun.parent / "broken.toml").write_text("[train]\nmax_steps = 4\nlearning_rate = 1e38\n")
    options = ("--config", begun.parent / "broken.toml", "--allow-changes")
    assert run("aammodel", "pretrain", "--resume", begun, *options).code == 3
    assert not (begun / "report.html").exists()
    assert not (begun / "results.json").exists()
    state = json.loads((begun / "checkpoints" / "step-000002" / "state.json").read_text())
    assert not state["is_finished"]
    again = run("aammodel", "pretrain", "--resume", begun)
    assert again.code == 3
    assert "finished, after" not in again.err


def test_epochs_extend_a_run_that_had_a_number_of_steps(run: Programs, begun: Path) -> None:
    ran = run("aammodel", "pretrain", "--resume", begun, "--epochs", 3, "--allow-changes")
    assert ran.code == 0, ran.err
    assert config_of(begun)["train"]["max_steps"] is None
    assert max(row["step"] or 0 for row in read_metrics(begun)) == 3
    assert run("aammodel", "pretrain", "--resume", begun, "--epochs", 3).code == 0


def test_moved_shards_are_no_change(run: Programs, begun: Path) -> None:
    moved = begun.parent / "moved"
    shutil.move(begun.parent / "shards", moved)
    (begun / "report.html").unlink()
    assert run("aammodel", "pretrain", "--resume", begun).code != 0
    ran = run("aammodel", "pretrain", moved, "--resume", begun)
    assert ran.code == 0, ran.err
    assert config_of(begun)["shards"]["folder"] == str(moved)
    assert "changes" not in config_of(begun)
    assert run("aammodel", "pretrain", "--resume", begun).code == 0


def test_other_shards_are_refused_unless_allowed(run: Programs, begun: Path) -> None:
    old = config_of(begun)["shards"]
    replace_shards(run, begun, "--token-limit", 7)
    ran = run("aammodel", "pretrain", "--resume", begun)
    assert ran.code == 1
    assert "not those that this run began with" in ran.err
    ran = run("aammodel", "pretrain", "--resume", begun, "--allow-changes", "--max-steps", 4)
    assert ran.code == 0, ran.err
    assert "these differ from the original run: max_steps, shards" in " ".join(ran.err.split())
    config = config_of(begun)
    assert config["shards"]["manifest_sha256"] != old["manifest_sha256"]
    assert config["changes"] == [{"until_step": 2, "was": {"max_steps": 2, "shards": old}}]
    assert [row["step"] for row in read_metrics(begun) if "loss" in row] == [1, 2, 3, 4]
    assert run("aammodel", "pretrain", "--resume", begun).code == 0


def test_other_shards_reset_the_best_loss(run: Programs, begun: Path) -> None:
    """Losses of other samples cannot be compared."""
    checkpoint = begun / "checkpoints" / "step-000002"
    forget_hashes(checkpoint)
    state = checkpoint / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"best_loss": 0.0}))
    replace_shards(run, begun, "--token-limit", 7)
    weights = (begun / "model.safetensors").read_bytes()
    options = ("--allow-changes", "--max-steps", 4)
    assert run("aammodel", "pretrain", "--resume", begun, *options).code == 0
    assert (begun / "model.safetensors").read_bytes() != weights


def test_shards_of_longer_sequences_are_always_refused(run: Programs, begun: Path) -> None:
    shutil.rmtree(begun.parent / "shards")
    config = config_of(begun)
    config["model"]["sequence_length"] = 33
    (begun / "config.json").write_text(json.dumps(config))
    make_shards(run, begun.parent / "again", "--token-limit", 7)
    ran = run("aammodel", "pretrain", begun.parent / "again" / "shards", "--resume", begun, "--allow-changes")
    assert ran.code == 2
    assert "trim the reads to 32 bases" in ran.err


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--batch-size", 5], "batch_size"),
        (["--max-steps", 5], "max_steps"),
        (["--config", "other.toml"], "learning_rate"),
    ],
)
def test_changed_options_are_refused(
    run: Programs, begun: Path, monkeypatch: pytest.MonkeyPatch, options: list[object], name: str
) -> None:
    monkeypatch.chdir(begun.parent)
    Path("other.toml").write_text("[train]\nlearning_rate = 0.1\n")
    before = (begun / "config.json").read_bytes()
    ran = run("aammodel", "pretrain", "--resume", begun, *options)
    assert ran.code == 2
    assert f"this changes {name}" in ran.err
    assert "--allow-changes" in ran.err
    assert (begun / "config.json").read_bytes() == before


def test_equal_options_and_hardware_are_no_change(run: Programs, begun: Path) -> None:
    options = ("--max-steps", 2, "--config", begun.parent / "hardware.toml")
    (begun.parent / "hardware.toml").write_text('[train]\nnum_workers = 0\ndevice = "cpu"\n')
    ran = run("aammodel", "pretrain", begun.parent / "shards", "--resume", begun, *options)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "weighted_unifrac"], "targets of a run cannot be changed"),
        (["--config", "model.toml"], "[model] cannot be changed"),
    ],
)
def test_a_model_cannot_be_changed(
    run: Programs, begun: Path, monkeypatch: pytest.MonkeyPatch, options: list[object], words: str
) -> None:
    monkeypatch.chdir(begun.parent)
    Path("model.toml").write_text("[model]\nwidth = 32\n")
    ran = run("aammodel", "pretrain", "--resume", begun, "--allow-changes", *options)
    assert ran.code == 2
    assert words in " ".join(ran.err.split())
    # Nobody is sent to --allow-changes, which would not help.
    ran = run("aammodel", "pretrain", "--resume", begun, *options)
    assert words in " ".join(ran.err.split())


def test_targets_in_another_order_keep_their_heads_and_weights(run: Programs, tmp_path: Path) -> None:
    targets = {"weighted_normalized_unifrac": 2.0, "unweighted_unifrac": 1.0}
    plan = make_plan(make_shards(run, tmp_path).folder, {"width": 16}, TrainConfig(targets=targets))
    with begin_run(plan, tmp_path / "run", overwrite=False):
        pass
    resumed = read_plan(tmp_path / "run", chosen={"targets": dict(reversed(targets.items()))})
    assert not resumed.changes
    assert tuple(resumed.plan.train.targets) == resumed.plan.model.targets
    assert resumed.plan.train.targets == targets


def test_an_error_names_the_damaged_line_of_the_metrics(run: Programs, begun: Path) -> None:
    rows = (begun / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    for damaged in (b"{\n", b"3\n", b"{}\n", b"\xff\n"):
        (begun / "metrics.jsonl").write_bytes(b"".join([rows[0], damaged, *rows[1:]]))
        for arguments in (["compare", begun], ["pretrain", "--resume", begun]):
            ran = run("aammodel", *arguments)
            assert ran.code == 1, ran.err
            assert "metrics.jsonl, line 2: this line is damaged" in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not valid JSON"), ("[]", "damaged"), ("{}", "lacks"), ('{"model": {"widht": 1}}', "lacks")],
)
def test_a_damaged_configuration_is_refused(run: Programs, begun: Path, content: str, words: str) -> None:
    (begun / "config.json").write_text(content)
    ran = run("aammodel", "pretrain", "--resume", begun)
    assert ran.code == 1
    assert words in ran.err


def test_a_configuration_of_another_version_is_refused(run: Programs, begun: Path) -> None:
    config = config_of(begun)
    config["model"]["widht"] = 1
    (begun / "config.json").write_text(json.dumps(config))
    ran = run("aammodel", "pretrain", "--resume", begun)
    assert ran.code == 1
    assert "another version" in ran.err
    assert "widht" in ran.err


def begin_tiny(run: Programs, folder: Path, train: TrainConfig, **model: object) -> Path:
    """Make the folder of a run that has taken no step."""
    plan = make_plan(make_shards(run, folder).folder, {"width": 16, **model}, train)
    with begin_run(plan, folder / "run", overwrite=False):
        pass
    return folder / "run"


@pytest.mark.parametrize(("before", "now"), [("sgd", "adamw"), ("adamw", "sgd")])
def test_an_optimizer_with_another_state_is_refused(
    run: Programs, tmp_path: Path, before: Any, now: str
) -> None:
    begun = begin_tiny(run, tmp_path, TrainConfig(optimizer=before))
    with pytest.raises(UsageError, match=f"{now}.* cannot resume from the optimizer state of {before}"):
        read_plan(begun, chosen={"optimizer": now}, allow_changes=True)


def test_a_model_that_must_encode_every_asv_does_so_after_resuming(run: Programs, tmp_path: Path) -> None:
    begun = begin_tiny(run, tmp_path, TrainConfig(), bases_by_position=False)
    resumed = read_plan(begun, chosen={"asv_encode_fraction": 0.1})
    assert resumed.plan.train.asv_encode_fraction == 1
    assert not resumed.changes


def test_a_changed_run_resumes_at_the_same_sample_with_all_its_patience(
    run: Programs, tmp_path: Path
) -> None:
    resumed = read_plan(
        begin_tiny(run, tmp_path, TrainConfig(batch_size=4)), chosen={"batch_size": 9}, allow_changes=True
    )
    num_samples = resumed.plan.shards.manifest.num_rows("train")
    per_epoch = -(-num_samples // 4)
    stopped = Progress(
        step=9,
        batches=2 * per_epoch + 6,
        best_loss=1.0,
        validations_since_best=3,
        validations_since_reduction=2,
        is_finished=True,
    )
    expected = Progress(step=9, batches=2 * -(-num_samples // 9) + 24 // 9, best_loss=1.0)
    assert resumed.adjust(stopped) == expected
