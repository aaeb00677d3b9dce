"""Several processes train as one: the same losses, one run folder, one ending."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from aammodel.metrics import Row, read_metrics
from tests.studies import Programs
from tests.train.processes import end, pretrain_on, start
from tests.train.shards import make_shards, tiny_config

LOSSES = (
    "loss",
    "nucleotide_loss",
    "unifrac_loss",
    "gradient_norm",
    "val_loss",
    "val_nucleotide_loss",
    "val_unifrac_loss",
)


def exact_config(folder: Path) -> Path:
    """Write a configuration without dropout, of several samples in most batches and few in the last."""
    path = tiny_config(folder, 'read_share = 0.6\nschedule = "constant"\n')
    path.write_text(path.read_text().replace("dropout = 0.1", "dropout = 0.0"))
    return path


def assert_same_losses(got: list[Row], expected: list[Row], tolerance: float = 1e-5) -> None:
    assert [row["step"] for row in got] == [row["step"] for row in expected]
    for one, other in zip(got, expected, strict=True):
        for name in LOSSES:
            if other.get(name) is None:
                assert one.get(name) is None
            else:
                # The norm of a gradient is that of all its rounding.
                leave = 10 if name == "gradient_norm" else 1
                assert one[name] == pytest.approx(other[name], rel=leave * tolerance, abs=1e-6), name


# 30 training samples: batches of 7 end with 2, fewer than four ranks; of 29 with 1, a step without a pair.
@pytest.mark.parametrize(
    ("size", "options"),
    [
        (2, ("--batch-size", 7, "--accumulate", 2)),
        pytest.param(4, ("--batch-size", 7), marks=pytest.mark.long),
        pytest.param(2, ("--batch-size", 29), marks=pytest.mark.long),
        pytest.param(3, ("--batch-size", 7, "--accumulate", 3), marks=pytest.mark.long),
        pytest.param(4, ("--batch-size", 1), marks=pytest.mark.long),
        pytest.param(4, ("--batch-size", 8, "--target", "weighted_unifrac"), marks=pytest.mark.long),
    ],
    ids=lambda one: "".join(map(str, one)) if isinstance(one, tuple) else str(one),
)
def test_any_number_of_ranks_has_the_losses_of_one(
    size: int, options: tuple[object, ...], run: Programs, tmp_path: Path
) -> None:
    shards, config = make_shards(run, tmp_path).folder, exact_config(tmp_path)
    common = ("--config", config, "--max-steps", 10, *options)
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "one", *common)
    assert ran.code == 0, ran.err
    main, *others = pretrain_on(size, tmp_path, shards, "--output", tmp_path / "many", *common)
    expected = read_metrics(tmp_path / "one")
    assert_same_losses(read_metrics(tmp_path / "many"), expected)
    assert f"{size} x cpu" in main.text
    assert "best validation loss" in main.text
    assert [rank.text for rank in others] == [""] * (size - 1)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.long)])
def test_a_run_goes_on_with_another_number_of_ranks(
    before: int, after: int, run: Programs, tmp_path: Path
) -> None:
    shards, config = make_shards(run, tmp_path).folder, exact_config(tmp_path)
    common = ("--config", config, "--max-steps", 9, "--batch-size", 7, "--checkpoint-every", 1)
    ran = run("aammodel", "pretrain", shards, "--output", tmp_path / "whole", *common)
    assert ran.code == 0, ran.err
    part = tmp_path / "part"
    pretrain_on(before, tmp_path, shards, "--output", part, *common)
    # As if it had been killed before its last steps.
    cut_back(part, 8)
    pretrain_on(after, tmp_path, "--resume", part)
    assert_same_losses(read_metrics(part), read_metrics(tmp_path / "whole"))


def cut_back(run_folder: Path, step: int) -> None:
    """Make a checkpoint the last one, of a run that is not finished."""
    for path in (run_folder / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    assert not json.loads((run_folder / "checkpoints" / f"step-{step:06d}" / "state.json").read_text())[
        "is_finished"
    ]


def test_a_signal_to_one_rank_stops_all_at_the_same_step(run: Programs, tmp_path: Path) -> None:
    shards, config = make_shards(run, tmp_path).folder, exact_config(tmp_path)
    options = ("--config", config, "--max-steps", 100_000, "--batch-size", 7)
    ranks = start(2, tmp_path, "pretrain", shards, "--output", tmp_path / "run", *options)
    while not any((row["step"] or 0) > 3 for row in read_metrics(tmp_path / "run")):
        assert all(rank.process.is_alive() for rank in ranks), [rank.text for rank in ranks]
    ranks[1].signal(signal.SIGTERM)
    assert end(ranks) == [143, 143]
    assert "stopped after step" in ranks[0].text
    assert ranks[1].text == ""
    last = max((tmp_path / "run" / "checkpoints").iterdir())
    state = json.loads((last / "state.json").read_text())
    assert state["step"] == read_metrics(tmp_path / "run")[-1]["step"]
    assert not state["is_finished"]
    assert f"after step {state['step']};" in ranks[0].text
