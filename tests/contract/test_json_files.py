"""JSON that two readers could understand differently is refused, with the file and the field."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import MOST_LEVELS, parse_json, read_json
from aam_schemas.common.records import record_from_json

_NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

JSON_LIKE = st.text(alphabet='[]{}",:0123456789eE+-.NaIinftyu\\d89')


@given(DOCUMENTS)
def test_what_json_writes_is_read_back(document: Any) -> None:
    assert parse_json(json.dumps(document).encode(), "a.json") == document


@given(st.binary() | st.text().map(str.encode) | JSON_LIKE.map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        document = parse_json(content, "a.json")
    except InvalidDataError as error:
        refused = error
    else:
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        return
    assert refused.where == "a.json"
    assert len(refused.what) < 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the name 'c' 2 times"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e999]", "too large"),
        ("[9223372036854775808]", "64 bits"),
        ("9" * 100_000, "64 bits"),
        ("[" * 100_000, "deep"),
        ("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1), "deep"),
        ('{"a":' * 900 + "1" + "}" * 900, "deep"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        (r'{"a": "\ud800"}', "surrogates"),
    ],
)
def test_ambiguous_documents_are_refused(content: str, words: str) -> None:
    with pytest.raises(InvalidDataError, match=words) as raised:
        parse_json(content, "a.json")
    assert raised.value.where == "a.json"


def test_only_a_regular_file_of_this_folder_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe.json")
    (tmp_path / "outside.json").write_text("{}")
    (folder / "outside.json").symlink_to(tmp_path / "outside.json")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "folder.json").mkdir()
    (folder / "sparse.json").touch()
    os.truncate(folder / "sparse.json", 1 << 40)
    begun = time.monotonic()
    for path in [*folder.iterdir(), folder / "absent.json"]:
        with pytest.raises(InvalidDataError) as raised:
            read_json(path, 1000)
        assert raised.value.where == str(path)
    assert time.monotonic() - begun < 1
    (folder / "inside.json").write_text("[1]")
    (tmp_path / "link").symlink_to(folder)
    assert read_json(tmp_path / "link" / "inside.json", 3) == [1]
    with pytest.raises(InvalidDataError, match="3 bytes; at most 2"):
        read_json(folder / "inside.json", 2)


@dataclass(frozen=True)
class Part:
    size: int
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    names: dict[str, str]
    limit: int | None = None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "the document must be an object"),
        ({"names": {}}, "parts is missing"),
        ({"parts": {}, "names": {}}, "parts must be a list"),
        ({"parts": [{"size": 1}, {"size": True}]}, r"parts\[1\].size must be a whole number, not T"),
        ({"parts": [{"size": 1.0}], "names": {}}, r"parts\[0\].size must be a whole number"),
        ({"parts": [{}], "names": {}}, r"parts\[0\].size is missing"),
        ({"parts": [{"size": 1, "shares": [0.5, "x"]}]}, r"parts\[0\].shares\[1\] must be a finite number"),
        ({"parts": [], "names": {"a": 1}}, r"names\['a'\] must be text"),
        ({"parts": [], "names": {}, "limit": "x" * 10_000}, r"limit must be a whole number, not 'x+\.\.\.x"),
    ],
)  # fmt: skip
def test_a_wrong_type_names_its_field(document: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        record_from_json(Whole, document)


def test_a_record_is_read_back() -> None:
    document = {"parts": [{"size": 1, "shares": [0, 0.5]}], "names": {"a": "b"}, "later": [], "limit": None}
    assert record_from_json(Whole, document) == Whole((Part(1, (0, 0.5)),), {"a": "b"})
