"""A run that was ended anywhere and goes on: the same weights, losses and files as one never stopped."""

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
FEW = range(1, 13)
MORE = """
max_steps = {steps}
batch_size = 4
accumulate = 3
num_workers = {workers}
bucket = true
patience = 1000
"""


def begin(run: Programs, folder: Path, steps: int, workers: int = 0) -> Path:
    """Train a run of 3 micro-batches a step to its end; other tests begin it again, elsewhere, and end it."""
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


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def losses(run_folder: Path) -> list[dict[str, object]]:
    """Give every line of metrics, but for what a clock or the machine tells."""
    clocked = ("second", "data_wait", "memory")
    rows = read_metrics(run_folder)
    return [{n: v for n, v in row.items() if not any(one in n for one in clocked)} for row in rows]


def assert_learned_alike(part: Path, whole: Path) -> None:
    """Hold losses, the best weights, and all that the last checkpoint has against each other."""
    assert losses(part) == losses(whole)
    assert same(load_file(part / "model.safetensors"), load_file(whole / "model.safetensors"))
    assert_same_checkpoint(list_checkpoints(part)[-1], list_checkpoints(whole)[-1])


def assert_same_checkpoint(one: Path, other: Path) -> None:
    assert one.name == other.name
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert same(load_file(one / file), load_file(other / file)), (one, file)
    assert (one / "state.json").read_text() == (other / "state.json").read_text()


def assert_ended_alike(part: Path, whole: Path) -> None:
    """Also that no file is there which the other has not."""
    assert_learned_alike(part, whole)
    for one, other in zip(list_checkpoints(part), list_checkpoints(whole), strict=True):
        assert_same_checkpoint(one, other)
    assert len(os.listdir(part / "checkpoints")) == len(list_checkpoints(whole))
    # One that was killed after its last checkpoint only gets its report: nobody was there to write events.
    files = [{path.name for path in one.iterdir()} - {"tensorboard"} for one in (part, whole)]
    assert files[0] == files[1]


def end_in(step: int, ends_by: int) -> End:
    """Choose a point of a step: before its first micro-batch, between two, or after its line of metrics."""
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


def test_two_workers_change_nothing_of_a_run_that_goes_on(run: Programs, tmp_path: Path) -> None:
    """Also begun with none, killed between micro-batches, and resumed with two."""
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
def test_asked_to_stop_in_a_step(run: Programs, tmp_path: Path, steps: range, every: int) -> None:
    """It ends after that step with a checkpoint, as Slurm's preemption and Ctrl-C ask for."""
    part = begin(run, tmp_path, steps[-1])
    for step in steps[::every]:
        asked = signal.SIGTERM if step % 2 else signal.SIGINT
        assert train_until(part, end_in(step, asked)) == 128 + asked
        assert list_checkpoints(part)[-1].name == f"step-{step:06d}"
        assert read_metrics(part)[-1]["step"] == step
        resume(run, part)
        assert_learned_alike(part, tmp_path / "whole")


def test_killed_between_a_validation_and_its_checkpoint(run: Programs, tmp_path: Path) -> None:
    part = begin(run, tmp_path, steps=12)
    for step in (4, 8):
        assert train_until(part, End("validation", step)) == -signal.SIGKILL
        resume(run, part)
        assert_ended_alike(part, tmp_path / "whole")


@pytest.mark.parametrize("every", [37, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
def test_killed_while_it_writes(run: Programs, tmp_path: Path, every: int) -> None:
    """At each change of the disk that best weights, checkpoints and the removal of old ones make."""
    part, whole = begin(run, tmp_path, steps=12), tmp_path / "whole"
    for change in count(1 if every == 1 else 11, every):
        code = train_until(part, End("writing", change))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        left = list_checkpoints(part)
        for one in left:
            assert len(os.listdir(one)) == 3
            assert json.loads((one / "state.json").read_text())["step"] == int(one.name.removeprefix("step-"))
        resume(run, part)
        assert_ended_alike(part, whole)
    assert change > 60


def test_stopped_before_the_first_step_it_has_validated_already(run: Programs, tmp_path: Path) -> None:
    """Another validation of the same weights would count as one without a better loss."""
    train = TrainConfig(max_steps=1, patience=1, batch_size=8)
    plan = make_plan(make_shards(run, tmp_path).folder, {"width": 16, "asv_layers": 1}, train)
    begin_run(plan, tmp_path / "run", overwrite=False)
    stopped = make_trainer(plan, tmp_path / "run", resume=False)
    stopped.watcher = KillsWatcher(End("validation", 0, signal=signal.SIGINT))
    stopped.fit()
    assert (stopped.stop_signal, stopped.progress.step) == (signal.SIGINT, 0)
    going_on = make_trainer(plan, tmp_path / "run", resume=True)
    going_on.fit()
    assert going_on.progress.step == 1
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "val_loss" in row] == [0, 1]


def test_the_last_checkpoints_and_the_best_are_kept(run: Programs, tmp_path: Path) -> None:
    """At a learning rate that makes things worse, the best one is early."""
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


def test_a_line_of_metrics_cut_short_is_taken_back(run: Programs, tmp_path: Path) -> None:
    part = begin(run, tmp_path, steps=12)
    train_until(part, End("metrics", 8))
    path = part / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    resume(run, part)
    assert_ended_alike(part, tmp_path / "whole")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """List the processes that the fork server of a run has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name, in brackets, may hold blanks.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    servers = [one for one, parent in parents.items() if parent == process.pid]
    return [one for one, parent in parents.items() if parent in servers]


def started(run: Programs, folder: Path) -> subprocess.Popen[str]:
    """Start a long run with two workers in a group of its own."""
    shards = make_shards(run, folder).folder
    config = tiny_config(folder, "num_workers = 2\nmax_steps = 100000\n")
    call = [*command("aammodel"), "pretrain", str(shards)]
    call += ["--output", str(folder / "run"), "--config", str(config)]
    return subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("at", ["steps", "the start of a worker"])
@pytest.mark.parametrize(
    ("asked", "code"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long), (signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_to_the_whole_group_ends_a_run_with_a_checkpoint(
    run: Programs, tmp_path: Path, asked: signal.Signals, code: int, at: str
) -> None:
    """Slurm and the terminal signal every process of a job: the workers must not fall before the run."""
    process = started(run, tmp_path)
    while not (
        workers_of(process)
        if at != "steps"
        else any((r["step"] or 0) > 3 for r in read_metrics(tmp_path / "run"))
    ):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1 if at == "steps" else 0.001)
    os.killpg(process.pid, asked)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "--resume" in err
    last = int(list_checkpoints(tmp_path / "run")[-1].name.removeprefix("step-"))
    assert last == (read_metrics(tmp_path / "run")[-1]["step"] or 0)


def is_there(process: int) -> bool:
    """Tell whether a process runs; one that ended may wait for somebody to take note."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_workers_end_when_their_run_is_killed(run: Programs, tmp_path: Path) -> None:
    """Without a word, as the system does when memory runs out: nobody is left to tell them."""
    process = started(run, tmp_path)
    while not any((row["step"] or 0) > 3 for row in read_metrics(tmp_path / "run")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(map(is_there, workers)):
        assert time.monotonic() < deadline, "workers are left behind"
        time.sleep(0.1)
