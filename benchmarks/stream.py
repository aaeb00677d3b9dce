"""Measure how fast batches are made from shards, beside bare pyarrow: `python benchmarks/stream.py`.

A simulated table of 10,000 samples x 100,000 ASVs (about 285 ASVs a sample, with a tree) is sharded. Its
training samples are streamed in shuffled batches of 32 in one process. The stream reads and checks row groups
(page checksums, footers, every sample), finds the distinct ASVs of each batch, and gathers their tokens. Bare
pyarrow reads the same columns of the same row groups in sequence and makes nothing of them. Both run in turn,
several times, and the median of the ratios counts. "Distances on" also reads the branches and computes
unweighted UniFrac. "Masks on" also masks bases as training does.

Then the same samples, 1 and 126 times (8,000 and 1,000,000 samples), are each streamed in a process of its
own. The script prints the time to open the set, the speed, the memory and its growth. Last, it prints the
fraction of a default training step that is spent waiting for data.

The headline is the ratio with distances and masks off. The aim is 0.4 or more, since gathering tokens moves
ten times as many bytes as reading does.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import torch

from aammodel.config.train import TrainConfig
from aammodel.data.masking import Masking
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.workers import load_batches
from aammodel.training.setup import make_plan, make_trainer
from helpers.big_shards import write_big_shards
from helpers.command_cost import run
from helpers.paths import HELPERS
from helpers.streaming_process import BATCH_SIZE, make_stream

NUM_SAMPLES, NUM_ASVS = 10_000, 100_000
ASVS_PER_SAMPLE, FEWER_ASVS_PER_SAMPLE = 285, 80
ROUNDS, TRAINING_STEPS = 9, 4
BATCHES = 10_000
TIMES = 126
UNIFRAC = ("unweighted_unifrac",)


def main() -> None:
    """Make the shards, measure, and print the headline last."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = open_shards(_make_shards(folder / "with-tree", ASVS_PER_SAMPLE, has_tree=True))
        print(f"{'batches of 32':26} bare pyarrow      ours    ratio  in processor time", flush=True)
        ratio = _compare("distances off", shards, None, ())
        _compare("distances on", shards, None, UNIFRAC)
        _compare(
            "masks on, distances off",
            shards,
            Masking(asv_encode_fraction=TrainConfig().asv_encode_fraction),
            (),
        )
        _scale(folder)
        _wait(shards)
    print(f"ratio {ratio:.2f}")


def _make_shards(folder: Path, asvs_per_sample: int, has_tree: bool) -> Path:
    folder.mkdir()
    size = map(str, (NUM_SAMPLES, NUM_ASVS, asvs_per_sample))
    run([sys.executable, str(HELPERS / "big_table.py"), "table.biom", *size], folder)
    if has_tree:
        run([sys.executable, str(HELPERS / "big_tree.py"), "table.biom", "tree.nwk"], folder)
    run([str(Path(sys.executable).with_name("aamprep")), "shard"], folder)
    return folder / "shards"


def _compare(name: str, shards: ShardSet, masking: Masking | None, targets: tuple[str, ...]) -> float:
    """Run both in turn, and return the median of the ratios of the rounds."""
    columns = ["sample_id", "asv", "count"] + (["branch"] if targets else [])
    stream = make_stream(shards, masking, targets)
    batches = 50 if masking or targets else stream.batches_per_epoch
    rounds = [
        (
            _measure(lambda: _bare(shards, columns)),
            _measure(lambda: sum(batch.num_samples for batch in islice(stream, batches))),
        )
        for _ in range(ROUNDS)
    ]
    ratio = median(ours.per_second / bare.per_second for bare, ours in rounds)
    of_cpu = median(ours.per_cpu_second / bare.per_cpu_second for bare, ours in rounds)
    bare, ours = (median(rate.per_second for rate in column) for column in zip(*rounds, strict=True))
    print(f"{name:26} {bare:10,.0f}/s {ours:8,.0f}/s {ratio:8.2f} {of_cpu:22.2f}", flush=True)
    return ratio


@dataclass(frozen=True)
class Rate:
    """Samples per second."""

    per_second: float
    per_cpu_second: float
    """Per second of processor time, all threads together; a busy machine changes it less."""


def _measure(read: Callable[[], int]) -> Rate:
    started, cpu_started = time.perf_counter(), time.process_time()
    num_samples = read()
    return Rate(
        num_samples / (time.perf_counter() - started), num_samples / (time.process_time() - cpu_started)
    )


def _bare(shards: ShardSet, columns: list[str]) -> int:
    """Read every row group of the training samples."""
    num_rows = 0
    for listed in shards.manifest.sample_files("train"):
        with pq.ParquetFile(shards.folder / listed.name) as file:
            for group in range(file.num_row_groups):
                num_rows += len(file.read_row_group(group, columns=columns, use_threads=False))
    return num_rows


def _scale(folder: Path) -> None:
    """Stream a small set and a large one, each in a process of its own."""
    small = _make_shards(folder / "small", FEWER_ASVS_PER_SAMPLE, has_tree=False)
    for times in (1, TIMES):
        manifest = write_big_shards(small, folder / f"times-{times}", times)
        command = [
            sys.executable,
            str(HELPERS / "streaming_process.py"),
            str(folder / f"times-{times}"),
            str(BATCHES),
        ]
        took = json.loads(run(command, folder).output)
        print(
            f"{manifest.num_samples:,} samples of {FEWER_ASVS_PER_SAMPLE} ASVs: opened in "
            f"{took['open_seconds']:.2f} s, first batch after {took['first_batch_seconds']:.2f} s; "
            f"{took['samples_per_second']:,.0f} samples/s, {took['megabytes']:.0f} MB, "
            f"{took['megabytes_per_1000_batches']:+.2f} MB per 1,000 batches",
            flush=True,
        )


def _wait(shards: ShardSet) -> None:
    """Take default training steps, and print how long each waits for its batch."""
    plan = make_plan(shards.folder, {}, TrainConfig(batch_size=BATCH_SIZE, device="cpu"))
    trainer = make_trainer(plan, shards.folder.parent / "run", resume=False)
    batches = load_batches(trainer.train_stream, 0, pin_memory=False)
    waits, steps = [], []
    for _ in range(TRAINING_STEPS + 1):
        started = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - started)
        trainer.stepper.backward([batch])
        trainer.stepper.update(1e-4)
        steps.append(time.perf_counter() - started)
    wait, step = median(waits[1:]), median(steps[1:])
    print(f"a default training step takes {step:.2f} s, {wait / step:.1%} of it waiting for data")


if __name__ == "__main__":
    main()
