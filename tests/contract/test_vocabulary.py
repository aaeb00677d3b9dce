"""Encoding bases as token ids and decoding them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas import vocabulary


def test_ids_are_those_of_published_checkpoints() -> None:
    assert vocabulary.encode(["ACGT"], 6).tolist() == [[5, 1, 2, 3, 4, 0]]
    assert (vocabulary.MASK, vocabulary.N) == (6, 7)


@given(st.lists(st.text("ACGTN", min_size=1, max_size=50), min_size=1))
def test_decoding_gives_the_sequences_back(sequences: list[str]) -> None:
    assert vocabulary.decode(vocabulary.encode(sequences, 51)) == sequences


@given(st.lists(st.lists(st.integers(0, 8), min_size=4, max_size=4), min_size=1))
def test_rows_of_tokens_are_asvs_if_they_are_as_encoded(rows: list[list[int]]) -> None:
    rows = [[5, 1, 2, 0], *rows]
    spelled = [re.fullmatch("5[12347]+0*", "".join(map(str, row))) is not None for row in rows]
    assert vocabulary.are_asvs(np.array(rows, dtype=np.uint8)).tolist() == spelled


@given(st.text("acgtuACGTU" + vocabulary.AMBIGUITY_CODES, min_size=1, max_size=50))
def test_no_base_ever_becomes_padding(sequence: str) -> None:
    tokens = vocabulary.encode([sequence], 51)[0, 1 : 1 + len(sequence)]
    assert (tokens != vocabulary.PAD).all()
    assert [int(t) == vocabulary.N for t in tokens] == [c not in "ACGTU" for c in sequence.upper()]


@pytest.mark.parametrize(
    ("feature_id", "is_sequence"),
    [
        ("GATTACA", False),
        ("ACGT" * 8, True),
        ("acgu" * 8, True),
        ("4b5eeb300368260019c1fbc7a3c718fc", False),
        ("k__Bacteria;p__Firmicutes;c__Clostridia", False),
        ("ACGT" * 8 + "é", False),
    ],
)
def test_which_ids_are_sequences(feature_id: str, is_sequence: bool) -> None:
    assert vocabulary.is_sequence(feature_id) is is_sequence


@pytest.mark.parametrize("sequence", ["AC-GT", "AC GT", "ACE", "ACGTACGT"])
def test_what_cannot_be_encoded_is_refused(sequence: str) -> None:
    with pytest.raises(ValueError, match="nucleotide codes"):
        vocabulary.encode([sequence], 8)
