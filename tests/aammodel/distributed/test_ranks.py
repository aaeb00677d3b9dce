"""Several processes train like one: with the same losses, one run folder, and one end."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aammodel.data.order import Order
from aammodel.data.shards import ShardSet
from aammodel.runs.checkpoint import list_checkpoints
from aammodel.runs.metrics_log import read_metrics
from tests.helpers.processes import Rank, call_on, end, pretrain_on, start, start_unchecked
from tests.helpers.rank_checks import Check, check_communication, check_weights_and_gradients
from tests.helpers.shards import make_shards, rewrite_samples, tiny_config
from tests.helpers.studies import Programs, Ran, run_quietly

LOSSES = (
    "loss",
    "nucleotide_loss",
    "unifrac_loss",
    "gradient_norm",
    "val_loss",
    "val_nucleotide_loss",
    "val_unifrac_loss",
    "faith_pd_loss",
    "richness_loss",
    "embedding_distance_loss",
    "val_embedding_distance_loss",
)
# 30 training samples: batches of 7 end with 2, fewer than four ranks.
OPTIONS = ("--max-steps", 9, "--batch-size", 7, "--accumulate", 2, "--checkpoint-every", 1)


def exact_config(folder: Path, more: str = "") -> Path:
    """Write a configuration without dropout, in which the transformer encodes a part of the ASVs."""
    objectives = "objectives = { faith_pd = 0.1, richness = 0.1, embedding_distance = 0.3 }\n"
    settings = 'asv_encode_fraction = 0.6\nschedule = "constant"\nkeep_checkpoints = 4\n'
    path = tiny_config(folder, settings + objectives + more)
    path.write_text(path.read_text().replace("dropout = 0.1", "dropout = 0.0\ncheckpoint_positions = 100"))
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with shards."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        make_shards(lambda _, *arguments: Ran(run_quietly(patch, *arguments), "", ""), folder)
    return folder


@pytest.fixture(scope="module")
def alone(study: Path) -> Path:
    """Return the run of one process."""
    common = ("--config", exact_config(study), *OPTIONS)
    pretrain_on(1, study, study / "shards", "--output", study / "alone", *common)
    return study / "alone"


def assert_same_losses(run_folder: Path, expected_run: Path) -> None:
    got, expected = read_metrics(run_folder), read_metrics(expected_run)
    assert [row["step"] for row in got] == [row["step"] for row in expected]
    for value, other in zip(got, expected, strict=True):
        for name in LOSSES:
            if other.get(name) is None:
                assert value.get(name) is None
            else:
                # Rounding of all gradients adds up in their norm.
                tolerance = 1e-4 if name == "gradient_norm" else 1e-5
                assert value[name] == pytest.approx(other[name], rel=tolerance, abs=1e-6), name


def cut_back(run_folder: Path, step: int) -> None:
    """Change a run to one that was stopped after a step."""
    for path in (run_folder / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    state = json.loads((list_checkpoints(run_folder)[-1] / "state.json").read_text())
    assert (state["step"], state["is_finished"]) == (step, False)


@pytest.mark.parametrize("check", [check_communication, check_weights_and_gradients])
def test_ranks_agree(check: Check, tmp_path: Path) -> None:
    call_on(3, tmp_path, check)


def test_two_ranks_have_the_losses_of_one_and_write_once(alone: Path, study: Path, tmp_path: Path) -> None:
    common = ("--config", exact_config(tmp_path), *OPTIONS)
    main, other = pretrain_on(2, tmp_path, study / "shards", "--output", tmp_path / "run", *common)
    assert_same_losses(tmp_path / "run", alone)
    assert "2 x cpu" in main.text
    assert "best validation loss" in main.text
    assert other.text == ""
    names = [sorted(path.name for path in run_folder.iterdir()) for run_folder in (tmp_path / "run", alone)]
    assert names[0] == names[1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "options"),
    [
        (4, ("--batch-size", 7)),
        (2, ("--batch-size", 29)),  # the last batch has one sample, and no pair
        (3, ("--batch-size", 7, "--accumulate", 3)),
        (4, ("--batch-size", 1)),
        (4, ("--batch-size", 8, "--target", "weighted_unifrac")),
    ],
    ids=lambda value: "".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_any_number_of_ranks_has_the_losses_of_one(
    size: int, options: tuple[object, ...], study: Path, tmp_path: Path
) -> None:
    common = ("--config", exact_config(tmp_path), "--max-steps", 10, *options)
    for number in (1, size):
        pretrain_on(number, tmp_path, study / "shards", "--output", tmp_path / str(number), *common)
    assert_same_losses(tmp_path / str(size), tmp_path / "1")


def test_a_run_resumes_with_another_number_of_ranks(alone: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(alone, part)
    for step, size in ((7, 2), (8, 1)):
        cut_back(part, step)
        pretrain_on(size, tmp_path, "--resume", part)
        assert_same_losses(part, alone)


@pytest.mark.long
def test_two_ranks_resume_bit_for_bit_with_dropout(study: Path, tmp_path: Path) -> None:
    common = ("--config", tiny_config(tmp_path, "keep_checkpoints = 4\n"), *OPTIONS)
    pretrain_on(2, tmp_path, study / "shards", "--output", tmp_path / "whole", *common)
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    cut_back(tmp_path / "part", 7)
    pretrain_on(2, tmp_path, "--resume", tmp_path / "part")
    names = ("step-000009/model.safetensors", "step-000009/optimizer.safetensors")
    for name in names:
        value, other = (tmp_path / run / "checkpoints" / name for run in ("whole", "part"))
        assert value.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("after", [2, pytest.param(1, marks=pytest.mark.long)])
def test_a_sharded_run_has_the_losses_of_one_and_resumes(
    after: int, alone: Path, study: Path, tmp_path: Path
) -> None:
    """The run uses FSDP2, activations that are computed again, and accumulation."""
    config, part = exact_config(tmp_path, 'sharding = "fsdp"\n'), tmp_path / "part"
    pretrain_on(2, tmp_path, study / "shards", "--output", part, "--config", config, *OPTIONS)
    assert_same_losses(part, alone)
    cut_back(part, 8)
    pretrain_on(after, tmp_path, "--resume", part)
    assert_same_losses(part, alone)


def start_for_ever(study: Path, folder: Path) -> list[Rank]:
    """Start two ranks on a long run, and return after some steps."""
    options = ("--config", exact_config(folder), "--max-steps", 100_000, "--batch-size", 7)
    ranks = start(2, folder, "pretrain", study / "shards", "--output", folder / "run", *options)
    while not any((row["step"] or 0) > 3 for row in read_metrics(folder / "run")):
        assert all(rank.process.is_alive() for rank in ranks), [rank.text for rank in ranks]
        time.sleep(0.05)
    return ranks


def test_a_signal_to_one_rank_stops_all_at_the_same_step(study: Path, tmp_path: Path) -> None:
    ranks = start_for_ever(study, tmp_path)
    ranks[1].signal(signal.SIGTERM)
    assert end(ranks) == [143, 143]
    assert ranks[1].text == ""
    state = json.loads((list_checkpoints(tmp_path / "run")[-1] / "state.json").read_text())
    assert state["step"] == read_metrics(tmp_path / "run")[-1]["step"]
    assert not state["is_finished"]
    assert f"stopped after step {state['step']};" in ranks[0].text


def test_a_killed_rank_is_reported_at_once(study: Path, tmp_path: Path) -> None:
    ranks = start_for_ever(study, tmp_path)
    ranks[1].signal(signal.SIGKILL)
    assert end(ranks) == [3, -signal.SIGKILL]
    assert "another process of this run has ended" in ranks[0].text
    assert "Traceback" not in ranks[0].text


def poisoned_sample(shards: ShardSet) -> str:
    """Return the id of the last sample of the first epoch."""
    (window,) = Order(shards.group_rows("train"), seed=0).windows(0)
    names = pq.read_table(shards.folder / shards.manifest.sample_files("train")[0].name)["sample_id"]
    return str(names[int(window.order[-1])])


@pytest.fixture
def poisoned(run: Programs, tmp_path: Path) -> ShardSet:
    """Return shards with a sample whose counts are finite in float64, but not in float32."""
    shards = make_shards(run, tmp_path)
    counts = pq.read_table(shards.folder / shards.manifest.sample_files("train")[0].name)["count"].to_pylist()
    # The last step of the first epoch has two samples, one on each rank.
    (window,) = Order(shards.group_rows("train"), seed=0).windows(0)
    row = int(window.order[-1])
    counts[row] = [1e300 for _ in counts[row]]
    return rewrite_samples(shards, "count", pa.array(counts, pa.list_(pa.float64())))


@pytest.mark.parametrize("sharding", ["none", pytest.param("fsdp", marks=pytest.mark.long)])
def test_a_non_finite_value_on_one_rank_ends_all_and_is_reported_once(
    sharding: str, poisoned: ShardSet, run: Programs, tmp_path: Path
) -> None:
    config = exact_config(tmp_path, f'sharding = "{sharding}"\n')
    options = ("--config", config, "--batch-size", 7, "--output", tmp_path / "run")
    ranks = start_unchecked(2, tmp_path, "pretrain", poisoned.folder, *options)
    assert end(ranks[:1]) == [3]
    # `torchrun` does the same when a process has failed.
    ranks[1].signal(signal.SIGTERM)
    assert end(ranks[1:]) == [143]
    text = ranks[0].text
    assert text.count("a value became non-finite at step 4, first in") == 1
    assert text.count(f"; samples: {poisoned_sample(poisoned)}\n") == 1
    assert ranks[1].text == ""
    # The sample belonged to the other rank, so the other rank's batch is saved.
    (kept,) = (tmp_path / "run").glob("offending-batch-step-000004*")
    traced = run("aammodel", "trace", "--batch", kept)
    assert traced.code == 1
    assert "BROKEN counts" in traced.out
    assert "first forward in sample_encoder.count_embedding.of_count" in traced.out


@pytest.mark.long
def test_under_torchrun_an_error_of_all_ranks_is_reported_once(poisoned: ShardSet, tmp_path: Path) -> None:
    program = [
        "-m",
        "tests.helpers.unchecked",
        "pretrain",
        poisoned.folder,
        "--config",
        exact_config(tmp_path),
    ]
    options = ["--batch-size", 7, "--output", tmp_path / "run"]
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, *program, *options]
    for told in ("a value became non-finite at step 4", "this output exists already"):
        ran = subprocess.run([str(value) for value in call], capture_output=True, text=True, check=False)
        assert ran.returncode != 0
        assert ran.stderr.count(told) == 1
