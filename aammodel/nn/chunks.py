"""Group sequences of similar length into chunks, so that little or no padding is computed."""

import math
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """Sequences that are computed together."""

    rows: Int[Tensor, " N"]
    """Row of each sequence."""
    length: int
    """Length of the longest sequence."""
    is_even: bool
    """Whether all sequences have the same length, so that there is no padding."""


def chunks_by_length(lengths: Int[Tensor, " N"], size: int, tolerance: float = math.inf) -> list[Chunk]:
    """Sort sequences by length, and cut that order into chunks.

    Parameters
    ----------
    lengths : Tensor of int, shape (N,)
    size : int
        Maximum number of sequences in a chunk.
    tolerance : float
        A chunk also ends before a sequence that is more than this fraction longer than its shortest sequence.

    Returns
    -------
    list of Chunk
        In ascending order of length. There is at least one chunk, which is empty if there are no sequences.
    """
    ordered, order = lengths.sort(stable=True)
    in_order = ordered.tolist()
    starts = [0]
    for index, length in enumerate(in_order):
        if index == starts[-1] + size or length > (1 + tolerance) * in_order[starts[-1]]:
            starts.append(index)
    stops = [*starts[1:], len(in_order)]
    rows = order.split([stop - start for start, stop in zip(starts, stops, strict=True)])
    lengths_by_chunk = [in_order[start:stop] or [0] for start, stop in zip(starts, stops, strict=True)]
    return [
        Chunk(chunk_rows, chunk_lengths[-1], chunk_lengths[0] == chunk_lengths[-1])
        for chunk_rows, chunk_lengths in zip(rows, lengths_by_chunk, strict=True)
    ]
