"""Shard sets that differ from their manifest, or that other programs wrote: refused by file and column."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import AamError, InvalidDataError
from aam_schemas.manifest import write_manifest
from aammodel.data.shards import open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from tests.helpers.mutations import mutate, sound_shards
from tests.helpers.shards import make_shards, rewrite, rewrite_samples, tiny_config
from tests.helpers.studies import Programs

TARGETS = ("unweighted_unifrac", "weighted_unifrac", "braycurtis", "precomputed")
MEANINGS = (
    "length[",
    "sample_id[",
    "reverse",
    "swap",
    "parent[",
    "count[",
    "asv[",
    "branch",
    "distances: type",
)
"""Changes to another set that may be sound: other numbers, names or orders. `aamprep verify` sees more."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_shards(tmp_path_factory.mktemp("sound"))


def read_all(folder: Path) -> list[object]:
    """Return everything that a model would see of a set in an epoch, also of drawn reads."""
    shards = open_shards(folder)
    found: list[object] = [shards.tokens.tolist()]
    for targets, fraction in ((TARGETS, 1.0), (TARGETS[:3], 0.5)):
        config = StreamConfig(batch_size=8, targets=targets, rarefy_fraction=fraction)
        for split in ("train", "validation", "test"):
            if shards.manifest.num_rows(split):
                batches = BatchStream(shards, split, config).epoch()
                found += [(b.sample_ids, b.count.tolist(), str(b.distance.tolist())) for b in batches]
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_changed_set_is_refused_or_is_the_same_to_the_model(seed: int, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    rmtree(folder, ignore_errors=True)
    copytree(sound, folder)
    words = mutate(folder, np.random.default_rng(seed))
    found, refused = result_of(folder)
    if refused:
        assert refused.exit_code in (1, 2), words
        assert str(folder) in refused.where or refused.where in ("distances.npy", "tree.parquet"), words
    else:
        assert found == read_all(sound) or any(part in words for part in MEANINGS), words


def result_of(folder: Path) -> tuple[list[object], AamError | None]:
    """Return what a model would see, or the error that refuses the set."""
    try:
        return read_all(folder), None
    except AamError as error:
        return [], error


def test_a_changed_set_ends_a_run_with_its_file(sound: Path, run: Programs, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    for seed in range(3):
        folder = tmp_path / f"changed-{seed}"
        copytree(sound, folder)
        words = mutate(folder, np.random.default_rng(seed))
        options = ("--output", tmp_path / f"run-{seed}", "--config", config, "--max-steps", 1)
        ran = run("aammodel", "pretrain", folder, *options)
        assert ran.code in (0, 1, 2), f"{words}: {ran.err}"
        assert "Traceback" not in ran.err, words
        assert ran.code == 0 or str(folder) in ran.err, words


def test_a_sample_in_two_files_is_refused(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    validation = shards.manifest.sample_files("validation")[0].name
    train = shards.manifest.sample_files("train")[0].name
    ids = pq.read_table(shards.folder / validation)["sample_id"].to_pylist()
    ids[0] = pq.read_table(shards.folder / train)["sample_id"][0].as_py()
    with pytest.raises(InvalidDataError, match=f"sample_id has '{ids[0]}' also in .*{train}") as error:
        rewrite(shards, validation, "sample_id", pa.array(ids))
    assert validation in error.value.where


@pytest.mark.parametrize("sample_id", ["", " "])
def test_a_sample_without_id_is_refused(sample_id: str, run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    ids = pq.read_table(shards.folder / shards.manifest.sample_files("train")[0].name)[
        "sample_id"
    ].to_pylist()
    with pytest.raises(InvalidDataError, match="column sample_id has an empty id"):
        rewrite_samples(shards, "sample_id", pa.array([sample_id, *ids[1:]], pa.string()))


@pytest.mark.parametrize("command", ["pretrain", "distances"])
def test_a_column_of_another_type_is_refused_by_name(command: str, run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    path = shards.folder / shards.manifest.sample_files("train")[0].name
    lists = pq.read_table(path)["count"].to_pylist()
    with pytest.raises(InvalidDataError):
        rewrite_samples(shards, "count", pa.array(lists, pa.list_(pa.float32())))
    ran = run("aammodel", command, shards.folder, "--output", tmp_path / "out.npy")
    assert ran.code == 1
    assert f"{path.name}: column count" in ran.err


def test_a_file_of_an_older_set_is_hashed_when_it_is_opened(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    old = [replace(file, row_group_sha256=()) for file in shards.manifest.files]
    bad = [replace(file, sha256="0" * 64) if file.split else file for file in old]
    write_manifest(shards.folder, replace(shards.manifest, files=tuple(old)))
    assert next(iter(BatchStream(open_shards(shards.folder), "train"))).num_samples
    write_manifest(shards.folder, replace(shards.manifest, files=tuple(bad)))
    with pytest.raises(InvalidDataError, match="changed or truncated"):
        next(iter(BatchStream(open_shards(shards.folder), "train")))


def test_a_row_group_with_another_hash_is_refused_when_it_is_read(run: Programs, tmp_path: Path) -> None:
    # As if pages had been forged, with page checksums and the footer that fit.
    shards = make_shards(run, tmp_path)
    files = [
        replace(file, row_group_sha256=("0" * 64,) * len(file.row_group_sha256)) if file.split else file
        for file in shards.manifest.files
    ]
    write_manifest(shards.folder, replace(shards.manifest, files=tuple(files)))
    with pytest.raises(InvalidDataError, match="differs from its SHA-256"):
        next(iter(BatchStream(open_shards(shards.folder), "train")))
