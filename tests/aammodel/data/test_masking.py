"""Hidden bases: exact in their share, nucleotides only, and a function of (seed, step, ASV) alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aam_schemas import vocabulary
from aammodel.data.hashing import hash64
from aammodel.data.masking import draw_encoded, draw_masks
from tests.helpers.model_cases import asv_tokens

pytestmark = pytest.mark.usefixtures("one_thread")


def table(asvs: list[int], length: int = 160, num_bases: int | None = None) -> np.ndarray:
    tokens = np.zeros((len(asvs), length), dtype=np.uint8)
    for row, asv in enumerate(asvs):
        one = asv_tokens(asv, num_bases)
        tokens[row, : len(one)] = one
    return tokens


@given(
    num_bases=st.integers(1, 150),
    span=st.integers(1, 12),
    fraction=st.floats(0.01, 1.0),
    seed=st.integers(-(2**63), 2**63),
)
def test_the_share_is_exact(num_bases: int, span: int, fraction: float, seed: int) -> None:
    tokens = table([1, 2, 3], num_bases=num_bases)
    masked, masked_token = draw_masks(tokens, np.arange(3), seed, 4, fraction, span)
    expected = max(1, round(fraction * num_bases))
    assert np.bincount(masked[:, 0]).tolist() == [expected] * 3
    assert len(np.unique(masked, axis=0)) == len(masked)
    assert (masked_token == tokens[masked[:, 0], masked[:, 1]]).all()
    assert np.isin(masked_token, [vocabulary.A, vocabulary.C, vocabulary.G, vocabulary.T]).all()


@given(mates=st.lists(st.integers(0, 50), unique=True), place=st.integers(0, 50), padding=st.integers(0, 9))
def test_batch_mates_order_and_padding_change_nothing(mates: list[int], place: int, padding: int) -> None:
    alone, _ = draw_masks(table([99]), np.array([99]), 1, 2)
    asvs = [*mates[:place], 99, *mates[place:]]
    masked, _ = draw_masks(table(asvs, 160 + padding), np.array(asvs), 1, 2)
    assert (masked[masked[:, 0] == asvs.index(99), 1] == alone[:, 1]).all()


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 3}, {"asv_row": np.array([8])}])
def test_another_seed_step_or_asv_hides_other_bases(change: dict[str, object]) -> None:
    usual = {"asv_row": np.array([7]), "seed": 1, "step": 2}
    tokens = table([7], num_bases=150)
    one, other = draw_masks(tokens, **usual)[0], draw_masks(tokens, **(usual | change))[0]
    assert not np.array_equal(one, other)


def test_every_base_is_hidden_equally_often() -> None:
    tokens = np.repeat(table([7], length=101, num_bases=100), 4000, axis=0)
    times = np.bincount(draw_masks(tokens, np.arange(4000), 0, 0)[0][:, 1], minlength=101)
    assert times[0] == 0
    # Binomial: 600 expected with a deviation of 22.6.
    assert abs(times[1:] - 600).max() < 5 * 22.6


def test_spans_are_neighbours() -> None:
    masked, _ = draw_masks(table([7], num_bases=150), np.array([7]), 0, 0, span=6)
    lengths = np.diff(np.flatnonzero(np.diff(masked[:, 1], prepend=-9, append=999) != 1))
    assert lengths.sum() == 22
    # Spans of 6; one may be cut by the share and one by either end, and neighbours may join.
    assert len(lengths) <= 6


def test_an_asv_without_a_base_and_a_batch_without_an_asv() -> None:
    tokens = np.array([[vocabulary.START, 0, 0]], dtype=np.uint8)
    assert len(draw_masks(tokens, np.array([0]), 0, 0)[0]) == 0
    assert draw_masks(tokens[:0], np.array([], dtype=np.int64), 0, 0)[0].shape == (0, 2)


def test_hashes_are_the_same_for_ever() -> None:
    # First outputs of SplitMix64 from state 0, as published with the generator.
    assert hash64(values=np.zeros(1, np.uint64)).dtype == np.uint64
    assert hash64(1, 2, values=np.arange(3)).tolist() == [
        241634772696565473,
        8714790858771135257,
        2631713133289659540,
    ]
    assert hash64(-1, values=np.arange(2)).tolist() == hash64(2**64 - 1, values=np.arange(2)).tolist()


def test_hashes_spread_over_all_bits() -> None:
    bits = np.unpackbits(hash64(3, values=np.arange(10_000)).view(np.uint8)).reshape(10_000, 64)
    assert abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.005


@given(seed=st.integers(-(2**63), 2**63), step=st.integers(0, 2**40), share=st.floats(0.01, 1.0))
def test_asvs_are_read_by_the_share_asked_for(seed: int, step: int, share: float) -> None:
    number = 20_000
    is_encoded = draw_encoded(np.arange(number), seed, step, share)
    # Six deviations of a binomial number.
    assert abs(is_encoded.mean() - share) <= 6 * (share * (1 - share) / number) ** 0.5
    some = np.array([7, 19_999, 3])
    assert (draw_encoded(some, seed, step, share) == is_encoded[some]).all()
    assert draw_encoded(some, seed, step, 1.0).all()


def test_each_step_reads_others_and_hides_bases_of_its_own() -> None:
    drawn = np.array([draw_encoded(np.arange(1000), 0, step, 0.25) for step in range(400)])
    # Each ASV 100 times of 400, with a deviation of 8.7; two steps share a sixteenth of the ASVs.
    assert abs(drawn.sum(axis=0) - 100).max() < 6 * 8.7
    assert abs((drawn[:-1] & drawn[1:]).mean() - 1 / 16) < 0.005
