"""Shards behind a URL: the same batches by range requests, and messages for all that a network can do."""

import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import fsspec
import pytest
import torch

from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
from aammodel.data import remote
from aammodel.data.remote import RemotePath, parse_location
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.data.workers import load_batches
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs
from tests.helpers.web import Site, serving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS_BETWEEN_TRIES", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site(run: Programs, tmp_path: Path) -> Iterator[Site]:
    make_shards(run, tmp_path)
    with serving(tmp_path) as site:
        yield site


def stream_of(shards: ShardSet) -> BatchStream:
    return BatchStream(shards, "train", StreamConfig(batch_size=4))


def assert_same(ours: Iterator[object], theirs: Iterator[object]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.sample_ids == other.sample_ids  # type: ignore[attr-defined]
        for name, tensor in one.tensors().items():  # type: ignore[attr-defined]
            assert torch.equal(tensor, other.tensors()[name]), name  # type: ignore[attr-defined]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_over_http_are_those_from_disk(num_workers: int, site: Site) -> None:
    far = stream_of(open_shards(parse_location(f"{site.url}/shards/")))
    near = stream_of(open_shards(site.folder / "shards"))
    assert_same(islice(load_batches(far, num_workers, False), 12), islice(iter(near), 12))


def test_only_the_columns_needed_are_fetched(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    stream = BatchStream(shards, "train", StreamConfig(batch_size=4, masking=None, targets=()))
    list(stream.epoch())
    name = stream.shards.manifest.sample_files("train")[0].name
    pages = [size for one, size in site.sent if one == name]
    assert 0 < sum(pages) < (site.folder / "shards" / name).stat().st_size * 2
    groups = len(stream.shards.manifest.sample_files("train")[0].row_group_rows)
    # The end of the file four times at most (its hash, and what pyarrow looks at), then each row group.
    assert len(pages) <= 4 + 3 * groups


def test_what_fsspec_reaches_is_reached(run: Programs, tmp_path: Path) -> None:
    folder = make_shards(run, tmp_path).folder
    assert isinstance(folder, Path)
    memory = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe_file(f"/set/{path.name}", path.read_bytes())
    assert_same(
        stream_of(open_shards(parse_location("memory://set"))).epoch(), stream_of(open_shards(folder)).epoch()
    )


def test_a_run_begins_and_goes_on_at_a_url(site: Site, run: Programs, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    shards = f"{site.url}/shards"
    begun = run(
        "aammodel", "pretrain", shards, "--output", tmp_path / "run", "--max-steps", 3, "--config", config
    )
    assert begun.code == 0, begun.err
    near = run(
        "aammodel",
        "pretrain",
        tmp_path / "shards",
        "--output",
        tmp_path / "near",
        "--max-steps",
        3,
        "--config",
        config,
    )
    assert near.out.splitlines()[:-1] == begun.out.splitlines()[:-1]
    again = run("aammodel", "pretrain", shards, "--resume", tmp_path / "run")
    assert (again.code, "finished" in again.err) == (0, True)


def test_a_server_that_stumbles_is_asked_again(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    site.failures.extend([503, 500, 429])
    assert len(list(stream_of(shards).epoch())) == stream_of(shards).batches_per_epoch


def test_a_manifest_is_asked_for_again(site: Site) -> None:
    site.failures.extend([503, 500, 429])
    assert open_shards(parse_location(f"{site.url}/shards")).manifest.num_samples
    site.cuts = 3
    assert open_shards(parse_location(f"{site.url}/shards")).manifest.num_samples


def test_an_answer_that_is_cut_is_asked_for_again(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    near = stream_of(open_shards(site.folder / "shards"))
    assert len(shards.tokens)
    site.cuts = 3
    assert_same(stream_of(shards).epoch(), near.epoch())


def test_a_connection_that_is_always_cut_is_named(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    assert len(shards.tokens)
    site.cuts = 1000
    with pytest.raises(UsageError, match="IncompleteRead"):
        list(stream_of(shards).epoch())


@pytest.mark.parametrize(("code", "num_workers"), [(403, 0), (404, 0), (503, 0), (404, 1)])
def test_a_server_that_refuses_is_named(code: int, num_workers: int, site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    assert len(shards.tokens)
    site.failures.extend([code] * 20)
    with pytest.raises(AamError) as error:
        list(islice(load_batches(stream_of(shards), num_workers, False), 1))
    assert site.url in error.value.where
    assert error.value.fix
    assert "Traceback" not in str(error.value)


def test_a_flipped_byte_on_the_server_is_noticed(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    path = site.folder / "shards" / shards.manifest.sample_files("train")[0].name
    content = path.read_bytes()
    truth = [batch.count.tolist() for batch in stream_of(shards).epoch()]
    noticed = 0
    for place in range(5, len(content), len(content) // 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert [batch.count.tolist() for batch in stream_of(shards).epoch()] == truth
        except InvalidDataError:
            noticed += 1
    # The others lie in columns that are not read.
    assert noticed > 5


def test_a_file_cut_short_on_the_server_is_invalid(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    path = site.folder / "shards" / shards.manifest.sample_files("train")[0].name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidDataError, match="shorter"):
        list(stream_of(shards).epoch())


def test_a_server_without_ranges_is_named(site: Site) -> None:
    shards = open_shards(parse_location(f"{site.url}/shards"))
    site.knows_ranges = False
    with pytest.raises(UsageError, match="whole files"):
        list(stream_of(shards).epoch())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:{port}/shards", "cannot be read from the server: "),
        ("{url}/elsewhere", "does not exist on the server"),
        ("carrier-pigeon://loft/shards", "not a valid URL"),
        ("s3://bucket/shards", "not installed"),
    ],
    ids=["refused", "absent", "unknown", "extra"],
)
def test_an_address_that_leads_nowhere_is_wrong_usage(
    address: str, words: str, site: Site, run: Programs, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = run("aammodel", "pretrain", address.format(url=site.url, port=port), "--output", tmp_path / "run")
    assert ran.code == 2
    assert words in ran.err
    assert "Fix:" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "run").exists()


def test_a_silent_server_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS_TO_WAIT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = RemotePath(f"http://127.0.0.1:{server.getsockname()[1]}/shards/x.parquet")
        with pytest.raises(UsageError, match="timed out"):
            path.open(100).read(8)
