"""Display of a run in training: metrics against counts of the table, log lines, progress bar, TensorBoard."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aammodel.runs.metrics_log import read_metrics
from aammodel.training.console import LogWatcher, TerminalBar
from aammodel.training.tensorboard import Events
from aammodel.training.throughput import Amounts, Clock, peak_bytes
from tests.helpers.killing import End, train_until
from tests.helpers.shards import counts_by_sample, make_shards, tiny_config
from tests.helpers.studies import Programs

ROW = {
    "step": 7,
    "loss": 1.5,
    "nucleotide_loss": 1.2,
    "unifrac_loss": 0.02,
    "unweighted_unifrac_loss": 0.02,
    "learning_rate": 0.00125,
    "samples_per_second": 11.26,
    "asvs_per_second": 1234.5,
    "padding_fraction": 0.314,
    "duplicate_fraction": 0.625,
    "data_wait_fraction": 0.0123,
    "memory_mib": 2048.4,
    "seconds_left": 5400.0,
}
PHRASES = (
    "loss 1.5000",
    "bases 1.2000",
    "unweighted UniFrac 0.0200",
    "learning rate 0.0013",
    "11.3 samples/s",
    "1,234 ASVs/s",
    "padding 31%",
    "duplicates 62%",
    "data wait 1.2%",
    "2,048 MiB",
    "1 h 30 min left",
)


def test_a_log_line_has_all_metrics(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aammodel")
    watcher = LogWatcher()
    watcher.on_step(dict(ROW), 100)
    watcher.on_step(dict(ROW), 100)
    log = caplog.text
    assert log.count("step 7/100") == 1, "the second step comes too soon for another line"
    assert all(phrase in log for phrase in PHRASES), log


def test_the_bar_has_all_metrics() -> None:
    screen = io.StringIO()
    bar = TerminalBar(Console(file=screen, force_terminal=True, width=120, color_system=None))
    bar.on_step(dict(ROW), 100)
    bar.on_validation({"step": 7, "val_loss": 1.25, "val_nucleotide_loss": None})
    bar.close()
    shown = screen.getvalue()
    phrases = (*PHRASES, "7/100", "step 7: validation loss 1.2500")
    assert all(phrase in shown for phrase in phrases), shown


def test_metrics_describe_the_batches(run: Programs, tmp_path: Path) -> None:
    """A batch is the whole split here, so its content can be counted in the table."""
    shards = make_shards(run, tmp_path)
    options = ("--batch-size", 100, "--max-steps", 3, "--config", tiny_config(tmp_path))
    before = time.perf_counter()
    ran = run("aammodel", "pretrain", shards.folder, "--output", tmp_path / "run", *options)
    seconds = time.perf_counter() - before
    assert ran.code == 0, ran.err
    rows = [row for row in read_metrics(tmp_path / "run") if "loss" in row]
    counts = counts_by_sample()
    ids: list[str] = []
    for listed in shards.manifest.sample_files("train"):
        with shards.open(listed.name) as file:
            ids += file.read(columns=["sample_id"])["sample_id"].to_pylist()
    present = np.array([counts[name] > 0 for name in ids])
    richest, real = present.sum(axis=1).max(), present.sum()
    distinct = present.any(axis=0).sum()
    for row in rows:
        assert row["padding_fraction"] == pytest.approx(1 - real / (richest * len(ids)))
        assert row["duplicate_fraction"] == pytest.approx(1 - distinct / real)
        assert row["samples_per_second"] == pytest.approx(len(ids) / row["seconds"])
        assert row["asvs_per_second"] == pytest.approx(real / row["seconds"])
        assert 0 <= row["data_wait_fraction"] <= 1
        assert 100 < row["memory_mib"] < 100_000
    assert rows[-1]["seconds_left"] == 0
    assert 0 < sum(row["seconds"] for row in read_metrics(tmp_path / "run")) < seconds


def test_waiting_for_data_is_measured_separately() -> None:
    clock = Clock()
    with clock.waiting():
        time.sleep(0.06)
    time.sleep(0.02)
    row = clock.step(Amounts(10, 20, 10, 5), 4, torch.device("cpu"))
    assert row["seconds"] >= 0.08
    assert row["data_wait_fraction"] == pytest.approx(0.06 / row["seconds"], abs=0.2)
    assert row["seconds_left"] == pytest.approx(4 * row["seconds"], rel=0.2)
    assert clock.step(Amounts(10, 20, 10, 5), 3, torch.device("cpu"))["data_wait_fraction"] == 0


def test_memory_is_the_peak_of_the_process() -> None:
    before = peak_bytes(torch.device("cpu"))
    block = np.ones(2**26 // 8 * 8)
    assert peak_bytes(torch.device("cpu")) >= max(before, block.nbytes)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return steps and values by tag, as TensorBoard's own reader sees them."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def test_tensorboard_shows_each_step_of_a_resumed_run_once(run: Programs, tmp_path: Path) -> None:
    """The run is killed between two checkpoints."""
    shards = make_shards(run, tmp_path).folder
    output, config = tmp_path / "run", tiny_config(tmp_path, "max_steps = 9\n")
    assert run("aammodel", "pretrain", shards, "--output", output, "--config", config).code == 0
    assert train_until(output, End("metrics", 8), watched=True) == -signal.SIGKILL
    assert max(step for step, _ in scalars(output / "tensorboard")["training/loss"]) == 8
    assert run("aammodel", "pretrain", "--resume", output).code == 0
    shown, rows = scalars(output / "tensorboard"), read_metrics(output)
    tags = {"loss": "training/loss", "val_unifrac_loss": "validation/unifrac_loss"}
    tags |= {"learning_rate": "training/learning_rate", "samples_per_second": "speed/samples_per_second"}
    for name, tag in tags.items():
        expected = [(row["step"], np.float32(row[name])) for row in rows if name in row]
        assert shown[tag] == expected, name
    assert len(list((output / "tensorboard").iterdir())) == 2


def test_unknown_and_non_finite_values_are_not_written(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.on_step({"step": 1, "loss": 2.0, "unifrac_loss": None, "gradient_norm": float("inf")}, 2)
    events.close()
    assert scalars(tmp_path / "tensorboard") == {"training/loss": [(1, 2.0)]}


def test_writing_events_causes_no_warning(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aammodel.training.tensorboard import Events; "
        "assert 'tensorboard' not in sys.modules; events = Events(Path(sys.argv[1])); "
        "events.on_validation({'step': 0}); events.close()"
    )
    call = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    ran = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))) == 1
