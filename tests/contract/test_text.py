"""Tests of lists and numbers in messages, and of the hash behind all random draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas.common.errors import UsageError
from aam_schemas.common.hashing import splitmix64, splitmix64_in_place
from aam_schemas.common.text import exact_number, format_number, shorten, truncate_list
from tests.helpers.paths import ROOT


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, ""), (2, "0, 1"), (5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 and 1 more"),
     (2005, "0, 1, 2, 3, 4 and 2,000 more")],
)  # fmt: skip
def test_a_long_list_is_cut(number: int, expected: str) -> None:
    assert truncate_list(range(number)) == expected


def test_a_list_of_lines_is_cut() -> None:
    assert truncate_list("abc", most=2, separator="\n") == "a\nb\nand 1 more"


@given(st.text(max_size=200), st.integers(4, 100))
def test_a_long_text_is_cut_and_its_length_given(text: str, most: int) -> None:
    shown = shorten(text, most)
    assert shown == text or (len(text) > most and shown.endswith(f" ({len(text)} characters)"))
    assert len(shown) <= most + len("... (200 characters)")


def test_a_long_text_keeps_its_beginning_and_end() -> None:
    assert shorten("a" * 3000 + "z", 8) == "aaaaaa...az (3,001 characters)"


def test_a_long_item_of_a_list_is_cut() -> None:
    assert len(truncate_list(["a" * 10**6] * 7)) < 600


@pytest.mark.parametrize("part", ["what", "where", "fix"])
def test_each_part_of_an_error_is_cut(part: str) -> None:
    assert len(str(UsageError(**{"what": "what"} | {part: "x" * 10**7}))) < 3000


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (3, "3"), (0.123456, "0.1235"), (12.3456, "12.35"), (1234567.8, "1,234,568"),
     (1e-5, "1e-05"), (float("nan"), "nan")],
)  # fmt: skip
def test_numbers_are_formatted_in_one_way(value: float, expected: str) -> None:
    assert format_number(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_spelling_of_a_number_reads_back(value: float) -> None:
    assert float(exact_number(value)) == value
    assert not exact_number(value).endswith(".0")


def test_splitmix_gives_the_published_numbers() -> None:
    # First outputs of the reference implementation with seed 1234567. Each call adds the constant.
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + step * golden) % 2**64 for step in range(4)]
    expected = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431
    ]  # fmt: skip
    assert list(map(splitmix64, states)) == expected
    values = np.array(states, dtype=np.uint64)
    splitmix64_in_place(values)
    assert values.tolist() == expected


def test_text_is_never_split_at_other_characters_than_line_ends() -> None:
    """`str.splitlines` also splits at form feeds and U+2028, which cells and names can hold."""
    modules = (path for name in ("aamprep", "aammodel", "schemas") for path in (ROOT / name).rglob("*.py"))
    assert [path.name for path in modules if ".splitlines(" in path.read_text(encoding="utf-8")] == []
