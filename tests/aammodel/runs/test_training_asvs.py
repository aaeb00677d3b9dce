"""A run keeps a hash of each ASV that it was trained on, and stays readable without."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aammodel
import aamprep
from aam_schemas.common.errors import InvalidDataError
from aam_schemas.vocabulary import encode
from aammodel.config.train import TrainConfig
from aammodel.data.shards import open_shards
from aammodel.runs.training_asvs import (
    TRAINING_ASVS_FILE,
    find_training_asvs,
    hash_asvs,
    read_training_asvs,
)
from tests.helpers.studies import random_counts, random_sequences, write_table

TINY = {"width": 16, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}
SETTINGS = {"max_steps": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Return a folder with shards and a run."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_table(folder, random_counts(40, 30), random_sequences(30))
    aamprep.shard(table, output=folder / "shards")
    aammodel.pretrain(folder / "shards", output=folder / "run", model=TINY, **SETTINGS)
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run, to be changed."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def training_samples(shards: Path) -> pa.Table:
    """Return the training samples, read without our reader."""
    return pa.concat_tables(map(pq.read_table, sorted(shards.glob("samples-train-*.parquet"))))


def hashes_of_training(*shards: Path, limit: int | None = None) -> np.ndarray:
    sequences = set()
    for folder in shards:
        all_sequences = pq.read_table(folder / "asvs.parquet")["sequence"].to_pylist()
        lists = training_samples(folder)["asv"].to_pylist()
        sequences |= {all_sequences[row] for asvs in lists for row in asvs[:limit]}
    return np.unique(hash_asvs(encode(sorted(sequences), 80)))


@given(st.lists(st.text("ACGTN", min_size=1, max_size=20), unique=True, max_size=30), st.integers(21, 40))
def test_hashes_tell_asvs_apart_and_ignore_padding(sequences: list[str], length: int) -> None:
    found = hash_asvs(encode(sequences, length))
    assert len(np.unique(found)) == len(sequences)
    np.testing.assert_array_equal(found, hash_asvs(encode(sequences, 21)))


@pytest.mark.parametrize(("limit", "fraction", "seen"), [(None, 1.0, None), (1, 1.0, 1), (1, 0.5, None)])
def test_training_asvs_are_those_that_the_model_may_see(
    trained: Path, limit: int | None, fraction: float, seen: int | None
) -> None:
    shards = trained / "shards"
    train = TrainConfig(token_limit=limit, rarefy_fraction=fraction)
    found = find_training_asvs(open_shards(shards), train)
    np.testing.assert_array_equal(found.hashes, hashes_of_training(shards, limit=seen))
    assert seen is None or len(found.hashes) < 30
    samples = training_samples(shards)
    depths = [
        sum(kept) + sum(dropped)
        for kept, dropped in zip(
            samples["count"].to_pylist(), samples["dropped_count"].to_pylist(), strict=True
        )
    ]
    assert found.median_depth == np.median(depths)


def test_every_part_of_a_run_leads_to_its_training_asvs(trained: Path) -> None:
    run, expected = trained / "run", hashes_of_training(trained / "shards")
    for place in (run, run / "model.safetensors", *(run / "checkpoints").iterdir()):
        found = read_training_asvs(place)
        assert found is not None
        np.testing.assert_array_equal(found.hashes, expected)


def test_resuming_with_other_shards_adds_their_asvs(trained: Path, copied: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "other", random_counts(40, 30), random_sequences(30, seed=1))
    aamprep.shard(table, output=tmp_path / "shards")
    aammodel.resume(copied, shards=tmp_path / "shards", allow_changes=True, max_steps=3)
    found = read_training_asvs(copied)
    assert found is not None
    expected = hashes_of_training(trained / "shards", tmp_path / "shards")
    np.testing.assert_array_equal(found.hashes, expected)


def test_a_run_of_an_earlier_version_resumes_and_says_that_it_does_not_know(
    trained: Path, copied: Path
) -> None:
    (copied / TRAINING_ASVS_FILE).unlink()
    aammodel.resume(copied, allow_changes=True, max_steps=3)
    assert read_training_asvs(copied) is None
    fit = aammodel.load(copied).embed(trained / "shards").fit
    assert fit.unseen_asvs is None
    assert any("not known" in sentence for sentence in fit.sentences())


@pytest.mark.parametrize("damage", ["bit", "truncated", "other"])
def test_a_damaged_file_is_refused_and_named(trained: Path, copied: Path, damage: str) -> None:
    path = copied / TRAINING_ASVS_FILE
    content = bytearray(path.read_bytes())
    if damage == "other":
        shutil.copy(copied / "model.safetensors", path)
    else:
        content[-20] ^= 1
        path.write_bytes(content if damage == "bit" else content[:-8])
    with pytest.raises(InvalidDataError) as caught:
        aammodel.load(copied).embed(trained / "shards")
    assert TRAINING_ASVS_FILE in str(caught.value)
    path.unlink()  # what the message says
    assert len(aammodel.load(copied).embed(trained / "shards").sample_ids) == 40
