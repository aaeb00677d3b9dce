"""Shards behind a URL: the same batches by range requests, and messages for all that a network can do."""

import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import fsspec
import pytest
import torch

from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
from aam_schemas.manifest import MOST_BYTES
from aammodel.data import remote
from aammodel.data.remote import RemotePath, parse_location
from aammodel.data.shards import ShardSet, open_shards
from aammodel.data.stream import BatchStream, StreamConfig
from aammodel.data.workers import load_batches
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs
from tests.helpers.web import Site, answering, serving


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


OK, PART = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial Content\r\nContent-Length: 8\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
Hostile = Callable[[socket.socket, threading.Event], None]


def sends(*parts: bytes) -> Hostile:
    return lambda connection, _: connection.sendall(b"".join(parts))


def sends_for_ever(start: bytes, part: bytes, seconds: float = 0.0) -> Hostile:
    def answer(connection: socket.socket, is_over: threading.Event) -> None:
        connection.sendall(start)
        while not is_over.wait(seconds):
            connection.sendall(part)

    return answer


def redirects(target: str, body: bytes = b"") -> Hostile:
    return sends_for_ever(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n".encode(), body, 0.001)


@pytest.mark.parametrize(
    "answer",
    [
        sends_for_ever(OK + b"\r\n", b"x" * 65536),
        sends_for_ever(OK + CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        sends_for_ever(OK + b"Content-Length: 999999999999\r\n\r\n", b"x" * 65536),
        sends_for_ever(OK + b"Content-Length: -5\r\n\r\n", b"x" * 65536),
    ],
    ids=["to the end", "chunked", "length", "negative length"],
)
def test_a_manifest_without_end_is_invalid(answer: Hostile) -> None:
    tracemalloc.start()
    with answering(answer) as url, pytest.raises(InvalidDataError, match=r"more than [\d,]+ bytes"):
        open_shards(parse_location(url))
    assert tracemalloc.get_traced_memory()[1] < 5 * MOST_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(
    "answer",
    [
        sends_for_ever(OK + b"\r\n", b"x", 0.05),
        sends_for_ever(OK + CHUNKED, b"1", 0.05),
        sends_for_ever(OK, b"X", 0.05),
        sends_for_ever(b"", b"H", 0.05),
        sends_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
        sends_for_ever(OK, b"A: b\r\n", 0.05),
        redirects("/elsewhere", b"x"),
    ],
    ids=["content", "chunk size", "header", "status", "continue", "headers", "redirects"],
)
@pytest.mark.parametrize("reads", [False, True], ids=["manifest", "range"])
def test_a_server_that_never_comes_to_an_end_is_left(
    answer: Hostile, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SECONDS_IN_ALL", 0.4)
    begun = time.monotonic()
    with answering(answer) as url:
        path = RemotePath(url)
        read = (lambda: path.open(100).read(8)) if reads else (lambda: path.read_bytes(1000))
        with pytest.raises(UsageError, match=r"slow|whole files|redirects") as error:
            read()
    assert time.monotonic() - begun < 5
    assert url in error.value.where


def test_a_slow_server_is_waited_for_while_it_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS_IN_ALL", 0.2)

    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(OK + b"Content-Length: 320000\r\n\r\n")
        for _ in range(20):
            connection.sendall(b"x" * 16000)
            time.sleep(0.05)

    with answering(answer) as url:
        assert len(RemotePath(url).read_bytes(10**6)) == 320_000


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (redirects("file:///etc/hostname"), "redirects from http to 'file:///etc/hostname'"),
        (redirects("ftp://127.0.0.1/x"), "redirects from http to 'ftp:"),
        (redirects("data:text/plain,x"), "redirects from http to 'data:"),
        (redirects("/again"), "redirects more than 5 times"),
        (sends(OK, b"Content-Encoding: gzip\r\n\r\n", bytes(8)), "content encoding 'gzip'"),
        (sends_for_ever(OK + b"\r\n", b"x" * 65536), "whole files"),
        (sends_for_ever(OK + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536), "whole files"),
        (sends(PART, b"Content-Range: bytes 7-14/100\r\n\r\n", bytes(8)), "another part"),
        (sends(PART, b"\r\n", bytes(4)), "IncompleteRead"),
        (sends(PART, b"A: b\r\n" * 1000), "more than 100 headers"),
        (sends(b"\x16\x03\x01 not http"), "cannot be read from the server"),
        (sends(), "cannot be read from the server"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_not_the_part_asked_for_is_named(answer: Hostile, words: str) -> None:
    with answering(answer) as url:
        file = RemotePath(url).open(100)
        file.seek(20)
        with pytest.raises(UsageError, match=re.escape(words)) as error:
            file.read(8)
    assert url in error.value.where
    assert error.value.fix


def test_a_redirect_to_another_folder_is_followed(site: Site) -> None:
    with answering(lambda connection, _: connection.sendall(
        f"HTTP/1.1 307 Moved\r\nLocation: {site.url}/shards/manifest.json\r\n\r\n".encode()
    )) as url:  # fmt: skip
        content = RemotePath(url).read_bytes(MOST_BYTES)
    assert content == (site.folder / "shards" / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a b", "a b"),
        ("a b", "a%20b"),
        ("\u00e9\u65e5", "\u00e9\u65e5"),
        ("\u00e9", "%C3%A9/"),
        ("a#b?c", "a%23b%3Fc"),
        ("[x]$(y)&=~", "[x]$(y)&=~"),
    ],
)
def test_a_folder_of_any_name_is_read(site: Site, name: str, url: str) -> None:
    (site.folder / "shards").rename(site.folder / name)
    shards = open_shards(parse_location(f"{site.url}/{url}"))
    assert shards.tokens.shape == open_shards(site.folder / name).tokens.shape


@pytest.mark.parametrize("url", ["shards?token=x", "shards#part", "shards/?a", "a#b"])
def test_a_url_that_leads_to_no_folder_is_named(site: Site, url: str) -> None:
    with pytest.raises(UsageError, match="does not lead to a folder"):
        parse_location(f"{site.url}/{url}")
