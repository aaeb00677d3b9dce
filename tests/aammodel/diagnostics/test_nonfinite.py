"""No value is non-finite, whatever the token limit, batch size, accumulation and padding."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.data.shards import ShardSet, open_shards
from aammodel.training.setup import Plan, make_trainer
from aammodel.workflows.pretrain import begin_run
from tests.helpers.paths import RealData
from tests.helpers.studies import random_newick, random_sequences, write_table

LIMITS, BATCHES, ACCUMULATE = (64, 256, 512, 1024), (1, 2, 6, 16), (1, 2, 4)
GRID = list(product(LIMITS, BATCHES, ACCUMULATE))
SAMPLED = {(64, 1, 4), (256, 6, 2), (512, 2, 1), (1024, 6, 1), (1024, 1, 2)}
TINY = {
    "width": 8,
    "attention_heads": 2,
    "asv_layers": 1,
    "sample_layers": 1,
    "soft_branches": 8,
    "feed_forward": 1,
}


def grid(cells: list[tuple[int, int, int]]) -> list[object]:
    """Return parameters for the cells of the grid. Those that only `make test-all` runs are marked long."""
    return [pytest.param(*cell, marks=() if cell in SAMPLED else pytest.mark.long) for cell in cells]


def take_a_step(shards: ShardSet, run: Path, model: dict[str, int], train: TrainConfig) -> None:
    """Train one step, validate before and after it, and assert that all values are finite."""
    plan = Plan(shards, ModelConfig(sequence_length=shards.manifest.sequence_length, **model), train)
    with begin_run(plan, run, overwrite=True):
        pass
    trainer = make_trainer(plan, run, resume=False)
    trainer.fit()
    from aammodel.runs.metrics_log import read_metrics

    rows = read_metrics(run)
    assert len([row for row in rows if "loss" in row]) == 1
    for row in rows:
        # In a step of one sample, it can happen that no ASV is encoded, so that no base is masked.
        is_sure = "val_loss" in row or train.batch_size * train.accumulate > 1
        assert not is_sure or row.get("nucleotide_loss", row.get("val_nucleotide_loss")) is not None
        assert all(value is None or math.isfinite(value) for value in row.values())
        # A micro-batch of one sample has no pair, so its distance loss is undefined.
        if "unifrac_loss" in row and shards.has_tree:
            assert (row["unifrac_loss"] is None) == (train.batch_size == 1)
    # A step whose scaled float16 gradient overflows is skipped, and changes no weight.
    is_skipped = trainer.progress.skipped > 0
    assert not is_skipped or train.precision == "fp16"
    for parameter in trainer.model.parameters():
        assert parameter.isfinite().all()
        assert is_skipped or parameter.grad is None or parameter.grad.isfinite().all()
    trainer.model.eval()
    with torch.no_grad():
        for batch in trainer.validation:
            output = trainer.model(batch)
            assert all(getattr(output, name).isfinite().all() for name in output.__dataclass_fields__)


def config(token_limit: int, batch_size: int, accumulate: int) -> TrainConfig:
    return TrainConfig(
        max_steps=1,
        token_limit=token_limit,
        batch_size=batch_size,
        accumulate=accumulate,
        validation_samples=4,
    )


@pytest.fixture(scope="module")
def homes(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Return shards of homes-10333 with a token limit of 1,024. Its samples have up to 3,667 ASVs."""
    folder = tmp_path_factory.mktemp("homes")
    shard(real_data("homes-10333/table.qza"), folder / "shards", "--no-metadata")
    return open_shards(folder / "shards")


@pytest.fixture(scope="module")
def mostly_padding(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Return shards with a tree. One sample in ten has 1,100 ASVs, and the others have one or two."""
    folder = tmp_path_factory.mktemp("padding")
    sequences = random_sequences(1100, bases=40)
    counts = np.zeros((40, 1100))
    counts[np.arange(40), np.arange(40)] = 5
    counts[::2, 50] = 1
    counts[::10] = 1
    table = write_table(folder, counts, sequences)
    (folder / "tree.nwk").write_text(random_newick(sequences))
    shard(table, folder / "shards", "--tree", folder / "tree.nwk")
    return open_shards(folder / "shards")


def shard(table: Path, output: Path, *options: object) -> None:
    from tests.helpers.studies import run_quietly

    with pytest.MonkeyPatch.context() as patch:
        assert run_quietly(patch, "shard", table, "--output", output, "--token-limit", 1024, *options) == 0


@pytest.mark.real
@pytest.mark.parametrize(("token_limit", "batch_size", "accumulate"), grid(GRID))
def test_a_rich_study(
    token_limit: int, batch_size: int, accumulate: int, homes: ShardSet, tmp_path: Path
) -> None:
    take_a_step(homes, tmp_path / "run", TINY, config(token_limit, batch_size, accumulate))


@pytest.mark.parametrize(("token_limit", "batch_size", "accumulate"), grid(GRID))
def test_mostly_padding(
    token_limit: int, batch_size: int, accumulate: int, mostly_padding: ShardSet, tmp_path: Path
) -> None:
    take_a_step(mostly_padding, tmp_path / "run", TINY, config(token_limit, batch_size, accumulate))


HALF = [(precision, *cell) for precision in ("bf16", "fp16") for cell in GRID]
HALF_SAMPLED = {("bf16", 256, 6, 2), ("fp16", 1024, 2, 1)}


@pytest.mark.parametrize(
    ("precision", "token_limit", "batch_size", "accumulate"),
    [pytest.param(*cell, marks=() if cell in HALF_SAMPLED else pytest.mark.long) for cell in HALF],
)
def test_mostly_padding_in_half_precision(
    precision: str,
    token_limit: int,
    batch_size: int,
    accumulate: int,
    mostly_padding: ShardSet,
    tmp_path: Path,
) -> None:
    train = replace(config(token_limit, batch_size, accumulate), precision=precision)
    take_a_step(mostly_padding, tmp_path / "run", TINY, train)


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize(
    ("token_limit", "batch_size", "accumulate"), [(64, 1, 1), (64, 6, 2), (256, 2, 1), (512, 1, 1)]
)
def test_the_default_size(
    token_limit: int, batch_size: int, accumulate: int, homes: ShardSet, tmp_path: Path
) -> None:
    train = replace(config(token_limit, batch_size, accumulate), validation_samples=1)
    take_a_step(homes, tmp_path / "run", {}, train)
