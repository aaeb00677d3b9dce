"""The ASVs' tokens: held against their contract once, kept in the user's cache, and never taken changed."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.manifest import write_manifest
from aammodel.data.shards import open_shards
from aammodel.data.token_cache import tokens_sha256
from tests.helpers.shards import make_shards, rewrite, tiny_config
from tests.helpers.studies import Programs

Change = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:300] + bytes(100) + content[400:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[:-40],
        lambda content: content + b"x",
        lambda _: b"",
        lambda _: b"PK\x03\x04 something else",
    ],
    ids=["zeroed", "hash", "cut", "longer", "empty", "foreign"],
)
def test_a_cached_file_that_was_changed_is_made_again(change: Change, run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    truth = shards.tokens.copy()
    (path,) = (tmp_path / "cache" / "aam" / "tokens").iterdir()
    content = path.read_bytes()
    path.write_bytes(change(content))
    np.testing.assert_array_equal(open_shards(shards.folder).tokens, truth)
    assert path.read_bytes() == content


def cached(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache" / "aam" / "tokens").iterdir()
    return path


def plant_link(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


def plant_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [plant_link, plant_pipe, lambda path: path.chmod(0o666)])
def test_a_cached_file_that_is_not_our_own_is_made_again(
    plant: Callable[[Path], None], run: Programs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = make_shards(run, tmp_path)
    truth = shards.tokens.copy()
    path = cached(tmp_path)
    plant(path)
    np.testing.assert_array_equal(open_shards(shards.folder).tokens, truth)
    assert path.is_file()
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o022 == 0
    assert str(path) in caplog.text


def test_other_valid_tokens_in_the_cache_are_not_used(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    truth = shards.tokens.copy()
    path = cached(tmp_path)
    other = truth.copy()
    other[:, 1] = other[:, 1] % 4 + 1
    path.write_bytes(other.tobytes())
    path.with_name(tokens_sha256(other)).write_bytes(other.tobytes())
    np.testing.assert_array_equal(open_shards(shards.folder).tokens, truth)


@pytest.mark.parametrize("token", [0, 255])
def test_tokens_that_the_manifest_lists_are_checked_even_from_the_cache(
    token: int, run: Programs, tmp_path: Path
) -> None:
    shards = make_shards(run, tmp_path)
    bad = shards.tokens.copy()
    bad[3, 2] = token
    cached(tmp_path).with_name(tokens_sha256(bad)).write_bytes(bad.tobytes())
    write_manifest(shards.folder, replace(shards.manifest, tokens_sha256=tokens_sha256(bad)))
    with pytest.raises(InvalidDataError, match="START, bases, then padding"):
        _ = open_shards(shards.folder).tokens


def test_tokens_other_than_the_manifest_lists_are_refused(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    write_manifest(shards.folder, replace(shards.manifest, tokens_sha256="0" * 64))
    with pytest.raises(InvalidDataError, match="tokens_sha256"):
        _ = open_shards(shards.folder).tokens


def test_workers_map_the_tokens_that_their_parent_has_checked(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    write_manifest(shards.folder, replace(shards.manifest, tokens_sha256=""))  # as in an older set
    old = open_shards(shards.folder)
    truth = old.tokens.copy()
    sent = pickle.dumps(old)
    (shards.folder / "asvs.parquet").unlink()
    np.testing.assert_array_equal(pickle.loads(sent).tokens, truth)


def test_an_older_set_reads_its_own_tokens_whatever_is_cached(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    write_manifest(shards.folder, replace(shards.manifest, tokens_sha256=""))
    _ = open_shards(shards.folder).tokens
    (shards.folder / "asvs.parquet").unlink()
    with pytest.raises(InvalidDataError, match=r"asvs\.parquet"):
        _ = open_shards(shards.folder).tokens


def test_a_whole_cached_file_is_taken_as_it_is(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    truth = shards.tokens.copy()
    (shards.folder / "asvs.parquet").unlink()
    np.testing.assert_array_equal(open_shards(shards.folder).tokens, truth)


def test_a_cache_that_cannot_be_made_is_named(
    run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_shards(run, tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    options = ("--config", tiny_config(tmp_path), "--max-steps", 1)
    ran = run("aammodel", "pretrain", shards.folder, "--output", tmp_path / "run", *options)
    assert ran.code == 2
    assert "XDG_CACHE_HOME" in ran.err
    assert str(tmp_path / "file") in ran.err
    assert "cached file" not in ran.err


@pytest.mark.parametrize(
    ("place", "token"),
    [(0, 1), (3, 0), (3, 5), (3, 6), (3, 9), (slice(1, None), 0)],
    ids=["no START", "padding between", "START twice", "MASK", "unknown", "no base"],
)
def test_an_asv_that_the_schemas_would_refuse_is_named(
    place: int | slice, token: int, run: Programs, tmp_path: Path
) -> None:
    shards = make_shards(run, tmp_path)
    tokens = np.array(pq.read_table(shards.folder / "asvs.parquet")["tokens"].to_pylist(), dtype=np.uint8)
    tokens[7, place] = token
    kind = pa.list_(pa.uint8(), tokens.shape[1])
    changed = rewrite(shards, "asvs.parquet", "tokens", pa.array(tokens.tolist(), kind))
    with pytest.raises(InvalidDataError, match=r"asvs\.parquet, row 7"):
        _ = changed.tokens
    assert not (tmp_path / "cache").exists()


def test_tokens_of_another_length_are_refused(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path)
    lists = pq.read_table(shards.folder / "asvs.parquet")["tokens"].to_pylist()
    lists[2] = lists[2][:5]
    changed = rewrite(shards, "asvs.parquet", "tokens", pa.array(lists, pa.list_(pa.uint8())))
    with pytest.raises(InvalidDataError, match="column tokens"):
        _ = changed.tokens
