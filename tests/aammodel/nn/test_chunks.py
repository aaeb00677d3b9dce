"""Chunks of like length: each sequence in one of them, and little padding."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from aammodel.nn.chunks import chunks_by_length


@given(
    lengths=st.lists(st.integers(0, 30), max_size=40),
    size=st.integers(1, 6),
    most_longer=st.sampled_from([0.0, 0.125, 1.0, math.inf]),
)
def test_each_sequence_is_in_a_chunk_of_its_like(lengths: list[int], size: int, most_longer: float) -> None:
    chunks = chunks_by_length(torch.tensor(lengths, dtype=torch.int64), size, most_longer)
    inside = [[lengths[row] for row in chunk.rows.tolist()] for chunk in chunks]
    assert sorted(torch.cat([chunk.rows for chunk in chunks]).tolist()) == list(range(len(lengths)))
    assert [one for several in inside for one in several] == sorted(lengths)
    for chunk, several in zip(chunks, inside, strict=True):
        assert len(several) <= size
        assert chunk.length == max(several, default=0)
        assert chunk.is_even == (len(set(several)) <= 1)
        assert not several or math.isinf(most_longer) or max(several) <= (1 + most_longer) * min(several)
    if math.isinf(most_longer):
        assert {len(several) for several in inside[:-1]} <= {size}


def test_chunks_are_as_few_as_can_be() -> None:
    chunks = chunks_by_length(torch.tensor([8, 16, 9, 17, 18, 90, 8]), 3, 0.125)
    assert [chunk.rows.tolist() for chunk in chunks] == [[0, 6, 2], [1, 3, 4], [5]]
