"""Files of tensors: a damaged or hostile one is refused by name, before its claimed size is allocated."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from aam_schemas.common.errors import InvalidDataError
from aammodel.runs.tensor_file import (
    MOST_HEADER_BYTES,
    Kind,
    read_header,
    read_tensors,
    tensor_file,
)

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).view(2, 3),
    "is_real": torch.tensor([True, False]),
    "step": torch.tensor(3.0),
    "empty": torch.zeros(0, 4),
    "half": torch.ones(3, dtype=torch.bfloat16),
}
FILE = tensor_file(TENSORS, {"b": '{"sha256":"' + "0" * 64 + '"}', "a": "ü"})
CONTENT = bytes(FILE)


def read(path: Path) -> dict[str, torch.Tensor]:
    header = read_header(path, ("a", "b"), "fix it")
    return read_tensors(header)


def raw(table: object, values: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + values


def entry(dtype: str = "U8", shape: Any = (2,), offsets: Any = (0, 2)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.safetensors").write_bytes(CONTENT)
    return tmp_path / "a.safetensors"


def test_what_was_written_is_read_back_by_us_and_by_the_library(path: Path) -> None:
    for tensors in (read(path), load(CONTENT)):
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
        assert all(Kind.of(tensors[name]) == Kind.of(tensor) for name, tensor in TENSORS.items())
    assert read_header(path, (), "").sha256 == FILE.sha256
    again = tensor_file(TENSORS, {"a": "ü", "b": read_header(path, (), "").metadata["b"]})
    assert bytes(again) == CONTENT


def test_tensors_are_laid_out_as_by_the_library() -> None:
    """The header differs in the order of its keys only, which the library draws at random."""
    expected, found = (
        save(TENSORS, metadata={"a": "ü", "sha256": FILE.sha256}),
        tensor_file(TENSORS, {"a": "ü"}),
    )
    (length,) = struct.unpack("<Q", expected[:8])
    assert bytes(found)[:8] == expected[:8]
    assert bytes(found)[8 + length :] == expected[8 + length :]
    found_table, table = (json.loads(content[8 : 8 + length]) for content in (bytes(found), expected))
    assert found_table | {"__metadata__": {}} == table | {"__metadata__": {}}
    assert list(found_table) == list(table)


def test_tensors_of_any_layout_are_written_by_value(path: Path) -> None:
    tensors = {
        "columns": torch.arange(6.0).view(2, 3).T,
        "every other": torch.arange(6)[::2],
        "gradient": torch.ones(2, requires_grad=True),
        "flags": torch.tensor([[True], [False]]).expand(2, 3),
    }
    path.write_bytes(bytes(tensor_file(tensors, {})))
    found = read(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_file_without_a_hash_is_read(path: Path) -> None:
    path.write_bytes(save(TENSORS, metadata={"a": "1"}))
    assert read_header(path, ("a",), "").sha256 is None
    assert read(path).keys() == TENSORS.keys()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
def test_each_flipped_bit_is_detected(path: Path, bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    with pytest.raises(InvalidDataError) as raised:
        read(path)
    assert str(path) in raised.value.where


# Most of these are in the folder `attacks` of the safetensors repository.
ATTACKS = {
    "empty file": b"",
    "header of four bytes": b"\0\0\0\0",
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header of 2^64 bytes": b"\xff" * 8 + b"{}",
    "no object": raw([1]),
    "not UTF-8": struct.pack("<Q", 4) + b'{"\xff"',
    "deep": struct.pack("<Q", 20_000) + b"[" * 20_000,
    "a name twice": struct.pack("<Q", 14) + b'{"a":1, "a":1}',
    "no entry": raw({"a": 1}),
    "another key": raw({"a": entry() | {"more": 1}}, b"12"),
    "unknown type": raw({"a": entry("F4")}, b"12"),
    "type is a list": raw({"a": entry() | {"dtype": ["U8"]}}, b"12"),
    "negative shape": raw({"a": entry(shape=(-2, -1))}, b"12"),
    "shape of true": raw({"a": entry(shape=(True, 2))}, b"12"),
    "overflowing shape": raw({"a": entry(shape=(2**32, 2**32, 2))}, b"12"),
    "many dimensions": raw({"a": entry(shape=(1,) * 1000)}, b"12"),
    "offsets beyond the end": raw({"a": entry(shape=(9,), offsets=(0, 9))}, b"12"),
    "offsets reversed": raw({"a": entry(offsets=(2, 0))}, b"12"),
    "offsets of floats": raw({"a": entry(offsets=(0.0, 2.0))}, b"12"),
    "three offsets": raw({"a": entry(offsets=(0, 2, 2))}, b"12"),
    "overlap": raw({"a": entry(), "b": entry(offsets=(1, 3))}, b"123"),
    "the same bytes twice": raw({"a": entry(), "b": entry()}, b"12"),
    "hole": raw({"a": entry(), "b": entry(offsets=(3, 5))}, b"12345"),
    "bytes after the end": raw({"a": entry()}, b"123"),
    "bytes before the start": raw({"a": entry(offsets=(1, 3))}, b"123"),
    "metadata is a list": raw({"__metadata__": [], "a": entry()}, b"12"),
    "metadata of numbers": raw({"__metadata__": {"a": 1}, "a": entry()}, b"12"),
    "an invalid hash": raw({"__metadata__": {"sha256": "1"}, "a": entry()}, b"12"),
    "a key that never was": raw({"__metadata__": {"sha257": "1"}, "a": entry()}, b"12"),
    "booleans of 7": raw({"a": entry("BOOL")}, b"\x07\x01"),
}


@pytest.mark.parametrize("content", ATTACKS.values(), ids=ATTACKS)
def test_known_attacks_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidDataError) as raised:
        read(path)
    assert str(path) in raised.value.where
    assert len(str(raised.value)) < 1000 + len(str(path))


def test_a_large_header_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MOST_HEADER_BYTES + 1))
        file.truncate(1 << 40)
    with pytest.raises(InvalidDataError, match="not the size of a header"):
        read(path)


def test_a_pipe_and_a_link_are_refused(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.mkfifo(other / "pipe")
    (other / "link").symlink_to(path)
    for name, words in (("pipe", "a pipe"), ("link", "a link"), ("absent", "cannot be opened")):
        with pytest.raises(InvalidDataError, match=words):
            read(other / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__", "sha256"]),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": st.sampled_from(["U8", "F32", "BOOL", "I64", "F8", 3]),
                "shape": st.lists(st.integers(-1, 4) | st.sampled_from([2**62, 0.5, None]), max_size=3),
                "data_offsets": st.lists(st.integers(-1, 9), max_size=3),
                "more": st.none(),
            },
        )
        | st.text(max_size=3),
        max_size=3,
    ),
    st.binary(max_size=12),
)
def test_any_table_is_read_as_the_library_does_or_refused(path: Path, table: object, values: bytes) -> None:
    content = raw(table, values)
    path.write_bytes(content)
    try:
        tensors = read(path)
    except InvalidDataError as error:
        assert str(path) in error.where  # noqa: PT017 - the file may also be read
        return
    expected = load(content)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
