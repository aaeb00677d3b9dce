"""A run that is killed at any point and resumed has the weights, losses and files of an uninterrupted run."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aammodel.config.train import TrainConfig
from aammodel.runs.checkpoint import list_checkpoints
from aammodel.runs.metrics_log import read_metrics
from aammodel.training.setup import make_plan, make_trainer
from aammodel.workflows.pretrain import begin_run
from tests.helpers.killing import End, KillsWatcher, train_until
from tests.helpers.old_keys import give_old_keys
from tests.helpers.programs import command
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs

ALL = range(1, 61)
FEW = range(1, 8)
MORE = """
max_steps = {steps}
batch_size = 4
accumulate = 3
num_workers = {workers}
bucket = true
patience = 1000
"""


def begin(run: Programs, folder: Path, steps: int, workers: int = 0) -> Path:
    """Train a whole run with 3 micro-batches a step, and return another folder with its configuration."""
    make_shards(run, folder, num_samples=48)
    config = tiny_config(folder, MORE.format(steps=steps, workers=workers))
    ran = run("aammodel", "pretrain", folder / "shards", "--output", folder / "whole", "--config", config)
    assert ran.code == 0, ran.err
    part = folder / "part"
    part.mkdir()
    shutil.copy(folder / "whole" / "config.json", part)
    return part


def test_a_run_of_an_earlier_version_resumes_to_the_same_weights(run: Programs, tmp_path: Path) -> None:
    make_shards(run, tmp_path)
    config = tiny_config(tmp_path, "asv_encode_fraction = 0.6\nrarefy_fraction = 0.5\nmax_steps = 6\n")
    whole, part = tmp_path / "whole", tmp_path / "part"
    ran = run("aammodel", "pretrain", tmp_path / "shards", "--output", whole, "--config", config)
    assert ran.code == 0, ran.err
    shutil.copytree(whole, part)
    shutil.rmtree(list_checkpoints(part)[-1])
    give_old_keys(part)
    resume(run, part)
    assert_learned_alike(part, whole)


def resume(run: Programs, part: Path) -> None:
    ran = run("aammodel", "pretrain", "--resume", part)
    assert ran.code == 0, ran.err


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(run_folder: Path) -> list[dict[str, object]]:
    """Return all metrics except for those of time and memory."""
    clocked = ("second", "data_wait", "memory")
    rows = read_metrics(run_folder)
    return [{n: v for n, v in row.items() if not any(part in n for part in clocked)} for row in rows]


def assert_learned_alike(part: Path, whole: Path) -> None:
    """Compare losses, the best weights and the last checkpoint of two runs."""
    assert losses(part) == losses(whole)
    assert same(load_file(part / "model.safetensors"), load_file(whole / "model.safetensors"))
    assert_same_checkpoint(list_checkpoints(part)[-1], list_checkpoints(whole)[-1])


def assert_same_checkpoint(a: Path, b: Path) -> None:
    assert a.name == b.name
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert same(load_file(a / file), load_file(b / file)), (a, file)
    assert (a / "state.json").read_text() == (b / "state.json").read_text()


def assert_ended_alike(part: Path, whole: Path) -> None:
    """Compare also the other checkpoints and the names of all files."""
    assert_learned_alike(part, whole)
    for a, b in zip(list_checkpoints(part), list_checkpoints(whole), strict=True):
        assert_same_checkpoint(a, b)
    assert len(os.listdir(part / "checkpoints")) == len(list_checkpoints(whole))
    # A run that was killed after its last checkpoint takes no further step, so it writes no events.
    files = [{path.name for path in folder.iterdir()} - {"tensorboard"} for folder in (part, whole)]
    assert files[0] == files[1]


def end_in(step: int, ends_by: int) -> End:
    """Return a point of a step: before its first micro-batch, between two, or after its line of metrics."""
    kinds = (
        End("micro-batch", step, 1, ends_by),
        End("micro-batch", step, 2, ends_by),
        End("metrics", step, 1, ends_by),
    )
    return kinds[step % 3]


@pytest.mark.parametrize(
    "workers", [0, pytest.param(2, marks=pytest.mark.long)], ids=["no workers", "2 workers"]
)
@pytest.mark.parametrize(
    ("steps", "every"), [(FEW, 5), pytest.param(ALL, 1, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_killed_in_a_step(run: Programs, tmp_path: Path, steps: range, every: int, workers: int) -> None:
    part = begin(run, tmp_path, steps[-1], workers)
    for step in steps[1::every]:
        assert train_until(part, end_in(step, signal.SIGKILL)) == -signal.SIGKILL
        assert len(read_metrics(part)) < len(read_metrics(tmp_path / "whole"))
        resume(run, part)
        assert_ended_alike(part, tmp_path / "whole")


def test_a_run_without_workers_resumes_with_two(run: Programs, tmp_path: Path) -> None:
    """The run is killed between two micro-batches of a step."""
    part = begin(run, tmp_path, steps=12)
    assert train_until(part, End("micro-batch", 8, 2)) == -signal.SIGKILL
    config = tmp_path / "workers.toml"
    config.write_text("[train]\nnum_workers = 2\n")
    ran = run("aammodel", "pretrain", "--resume", part, "--config", config)
    assert ran.code == 0, ran.err
    assert_ended_alike(part, tmp_path / "whole")


@pytest.mark.long
def test_killed_again_and_again(run: Programs, tmp_path: Path) -> None:
    part = begin(run, tmp_path, steps=12)
    for step in (2, 5, 6, 12):
        assert train_until(part, end_in(step, signal.SIGKILL), anew=step == 2) == -signal.SIGKILL
    resume(run, part)
    assert_ended_alike(part, tmp_path / "whole")


@pytest.mark.parametrize(
    ("steps", "every"), [(FEW, 7), pytest.param(ALL, 1, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_a_signal_in_a_step_ends_the_run_after_it(
    run: Programs, tmp_path: Path, steps: range, every: int
) -> None:
    """Slurm's preemption sends SIGTERM, and Ctrl-C SIGINT. Both cause a checkpoint."""
    part = begin(run, tmp_path, steps[-1])
    for step in steps[::every]:
        number = signal.SIGTERM if step % 2 else signal.SIGINT
        assert train_until(part, end_in(step, number)) == 128 + number
        assert list_checkpoints(part)[-1].name == f"step-{step:06d}"
        assert read_metrics(part)[-1]["step"] == step
        resume(run, part)
        assert_learned_alike(part, tmp_path / "whole")


@pytest.mark.parametrize(
    "steps", [(8,), pytest.param((4, 8), marks=pytest.mark.long)], ids=["second", "both"]
)
def test_killed_between_a_validation_and_its_checkpoint(
    run: Programs, tmp_path: Path, steps: tuple[int, ...]
) -> None:
    part = begin(run, tmp_path, steps=12)
    for step in steps:
        assert train_until(part, End("validation", step)) == -signal.SIGKILL
        resume(run, part)
        assert_ended_alike(part, tmp_path / "whole")


@pytest.mark.parametrize("every", [37, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
def test_killed_while_writing(run: Programs, tmp_path: Path, every: int) -> None:
    """Kill the run at each change of the disk while it saves weights and saves or removes checkpoints."""
    part, whole = begin(run, tmp_path, steps=12), tmp_path / "whole"
    for change in count(1 if every == 1 else 11, every):
        code = train_until(part, End("writing", change))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        for checkpoint in list_checkpoints(part):
            assert len(os.listdir(checkpoint)) == 3
            state = json.loads((checkpoint / "state.json").read_text())
            assert state["step"] == int(checkpoint.name.removeprefix("step-"))
        resume(run, part)
        assert_ended_alike(part, whole)
    assert change > 60


def test_a_run_stopped_before_its_first_step_is_not_validated_twice(run: Programs, tmp_path: Path) -> None:
    """A second validation of the same weights would count as one without a lower loss."""
    train = TrainConfig(max_steps=1, patience=1, batch_size=8)
    plan = make_plan(make_shards(run, tmp_path).folder, {"width": 16, "asv_layers": 1}, train)
    with begin_run(plan, tmp_path / "run", overwrite=False):
        pass
    stopped = make_trainer(plan, tmp_path / "run", resume=False)
    stopped.watcher = KillsWatcher(End("validation", 0, signal=signal.SIGINT))
    stopped.fit()
    assert (stopped.stop_signal, stopped.progress.step) == (signal.SIGINT, 0)
    resumed = make_trainer(plan, tmp_path / "run", resume=True)
    resumed.fit()
    assert resumed.progress.step == 1
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "val_loss" in row] == [0, 1]


def test_the_last_checkpoints_and_the_best_are_kept(run: Programs, tmp_path: Path) -> None:
    """The learning rate is so high that the best weights are early ones."""
    shards = make_shards(run, tmp_path).folder
    config = tiny_config(tmp_path, "keep_checkpoints = 3\nmax_steps = 24\n")
    config.write_text(config.read_text().replace("learning_rate = 0.003", "learning_rate = 2.0"))
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "run", "--config", config)
    assert ran.code == 0, ran.err
    state = json.loads((list_checkpoints(tmp_path / "run")[-1] / "state.json").read_text())
    best = state["best_step"]
    assert best < 12
    steps = [int(path.name.removeprefix("step-")) for path in list_checkpoints(tmp_path / "run")]
    assert steps == [best] * (best > 0) + [20, 21, 24] or steps == [best] * (best > 0) + [18, 21, 24]
    if best:
        kept = load_file(tmp_path / "run" / "checkpoints" / f"step-{best:06d}" / "model.safetensors")
        assert same(kept, load_file(tmp_path / "run" / "model.safetensors"))


@pytest.mark.long
def test_an_incomplete_line_of_metrics_is_discarded(run: Programs, tmp_path: Path) -> None:
    part = begin(run, tmp_path, steps=12)
    train_until(part, End("metrics", 8))
    path = part / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    resume(run, part)
    assert_ended_alike(part, tmp_path / "whole")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the ids of the processes that the fork server of a run has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name of the program is in parentheses, and may contain spaces.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    servers = [child for child, parent in parents.items() if parent == process.pid]
    return [child for child, parent in parents.items() if parent in servers]


def started(run: Programs, folder: Path) -> subprocess.Popen[str]:
    """Start a long run with two workers in a process group of its own."""
    shards = make_shards(run, folder).folder
    config = tiny_config(folder, "num_workers = 2\nmax_steps = 100000\n")
    call = [*command("aammodel"), "pretrain", str(shards)]
    call += ["--output", str(folder / "run"), "--config", str(config)]
    return subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("at", ["steps", pytest.param("the start of a worker", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long), (signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_to_the_whole_group_ends_a_run_with_a_checkpoint(
    run: Programs, tmp_path: Path, number: signal.Signals, code: int, at: str
) -> None:
    """Slurm and a terminal signal every process of a job, and the workers must not end before the run."""
    process = started(run, tmp_path)
    while not (
        workers_of(process)
        if at != "steps"
        else any((r["step"] or 0) > 3 for r in read_metrics(tmp_path / "run"))
    ):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1 if at == "steps" else 0.001)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "--resume" in err
    last = int(list_checkpoints(tmp_path / "run")[-1].name.removeprefix("step-"))
    assert last == (read_metrics(tmp_path / "run")[-1]["step"] or 0)


def is_running(process: int) -> bool:
    """Return whether a process runs. A zombie, which has ended, does not."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_workers_end_when_their_run_is_killed(run: Programs, tmp_path: Path) -> None:
    """The system kills a run without notice when memory runs out. So the run cannot end its workers."""
    process = started(run, tmp_path)
    while not any((row["step"] or 0) > 3 for row in read_metrics(tmp_path / "run")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "workers are left behind"
        time.sleep(0.1)
