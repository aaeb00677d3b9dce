"""Two processes never train in one run folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aam_schemas.common.owner import OWNER_FILE, owner_of
from aammodel.runs.checkpoint import list_checkpoints
from aammodel.runs.metrics_log import read_metrics
from tests.helpers.programs import command
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs

_SECONDS = 120


@pytest.fixture
def study(run: Programs, tmp_path: Path) -> Path:
    make_shards(run, tmp_path)
    tiny_config(tmp_path, "patience = 1000000\n")
    return tmp_path


def start(folder: Path, *options: object) -> "subprocess.Popen[str]":
    arguments = [*command("aammodel"), "pretrain", *map(str, options)]
    return subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True)


def begin(folder: Path, *options: object) -> "subprocess.Popen[str]":
    """Begin a run that lasts until it is stopped."""
    options = ("shards", "--config", "tiny.toml", "--max-steps", 100_000, *options)
    return start(folder, *options)


def wait_for(path: Path) -> None:
    end = time.monotonic() + _SECONDS
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def steps_of(folder: Path) -> list[object]:
    return [row["step"] for row in read_metrics(folder) if "loss" in row]


def test_a_run_in_training_is_neither_resumed_nor_replaced(run: Programs, study: Path) -> None:
    folder = study / "run"
    with begin(study) as training:
        wait_for(folder / "checkpoints" / "step-000003")
        for options in (("--resume", folder), ("shards", "--config", "tiny.toml", "--overwrite")):
            with start(study, *options) as second:
                _, message = second.communicate(timeout=_SECONDS)
            assert second.returncode == 2
            assert f"process {training.pid} on {os.uname().nodename}" in message
            assert "remove" not in message
        # Others still read it.
        ran = run(
            "aammodel", "evaluate", folder, study / "shards", "--split", "train", "--output", study / "e"
        )
        assert ran.code == 0, ran.err
        assert run("aammodel", "compare", folder, folder).code == 0
        assert training.poll() is None
        training.terminate()
        training.communicate(timeout=_SECONDS)
    assert training.returncode == 143
    assert steps_of(folder) == list(range(1, len(steps_of(folder)) + 1))
    assert not (folder / OWNER_FILE).exists()


def test_a_killed_run_is_resumed_at_once(run: Programs, study: Path) -> None:
    with begin(study) as training:
        wait_for(study / "run" / "checkpoints" / "step-000003")
        training.kill()
        training.communicate(timeout=_SECONDS)
    assert owner_of(study / "run") is None
    ran = run("aammodel", "pretrain", "--resume", study / "run", "--allow-changes", "--max-steps", 1)
    assert ran.code == 0, ran.err


def test_of_two_new_runs_in_one_folder_one_trains(study: Path) -> None:
    for options in ((), ("--overwrite",)):
        both = [
            start(study, "shards", "--config", "tiny.toml", "--max-steps", 60, *options) for _ in range(2)
        ]
        messages = [each.communicate(timeout=_SECONDS)[1] for each in both]
        codes = sorted(each.returncode for each in both)
        # The second one may begin after the first has ended. Then it replaces the first.
        assert codes == [0, 2] or (options and codes == [0, 0]), messages
        assert steps_of(study / "run") == list(range(1, 61))


@pytest.mark.long
def test_ranks_stop_with_a_checkpoint_when_torchrun_is_killed(study: Path) -> None:
    program = ["-m", "aammodel.cli", "pretrain", "shards", "--config", "tiny.toml", "--max-steps", "100000"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with subprocess.Popen([*launcher, *program], cwd=study, stderr=subprocess.DEVNULL) as training:
        wait_for(study / "run" / "checkpoints" / "step-000003")
        training.kill()
    end = time.monotonic() + _SECONDS
    while owner_of(study / "run"):
        assert time.monotonic() < end
        time.sleep(0.1)
    last = list_checkpoints(study / "run")[-1]
    assert int(last.name.removeprefix("step-")) == steps_of(study / "run")[-1]
