"""Chunks of similar length: each sequence is in one chunk, and there is little padding."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from aammodel.nn.chunks import chunks_by_length


@given(
    lengths=st.lists(st.integers(0, 30), max_size=40),
    size=st.integers(1, 6),
    tolerance=st.sampled_from([0.0, 0.125, 1.0, math.inf]),
)
def test_each_sequence_is_in_one_chunk_of_similar_length(
    lengths: list[int], size: int, tolerance: float
) -> None:
    chunks = chunks_by_length(torch.tensor(lengths, dtype=torch.int64), size, tolerance)
    by_chunk = [[lengths[row] for row in chunk.rows.tolist()] for chunk in chunks]
    assert sorted(torch.cat([chunk.rows for chunk in chunks]).tolist()) == list(range(len(lengths)))
    assert [length for in_chunk in by_chunk for length in in_chunk] == sorted(lengths)
    for chunk, in_chunk in zip(chunks, by_chunk, strict=True):
        assert len(in_chunk) <= size
        assert chunk.length == max(in_chunk, default=0)
        assert chunk.is_even == (len(set(in_chunk)) <= 1)
        assert not in_chunk or math.isinf(tolerance) or max(in_chunk) <= (1 + tolerance) * min(in_chunk)
    if math.isinf(tolerance):
        assert {len(in_chunk) for in_chunk in by_chunk[:-1]} <= {size}


def test_there_are_as_few_chunks_as_possible() -> None:
    chunks = chunks_by_length(torch.tensor([8, 16, 9, 17, 18, 90, 8]), 3, 0.125)
    assert [chunk.rows.tolist() for chunk in chunks] == [[0, 6, 2], [1, 3, 4], [5]]
