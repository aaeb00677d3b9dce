"""Sequences of like length together, so that little or no padding is computed."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """Sequences that are computed together."""

    rows: Int[Tensor, " N"]
    """Row of each."""
    length: int
    """Length of the longest."""
    is_even: bool
    """True where all are of one length, so that there is no padding."""


def chunks_by_length(lengths: Int[Tensor, " N"], size: int) -> list[Chunk]:
    """Put sequences in ascending order of length and cut that order into chunks, of at least one.

    Parameters
    ----------
    lengths : Tensor of int, shape (N,)
    size : int
        Sequences per chunk.
    """
    ordered, order = lengths.sort(stable=True)
    lengths_in_order = ordered.tolist()
    chunks = []
    for start in range(0, max(1, len(lengths_in_order)), size):
        inside = lengths_in_order[start : start + size] or [0]
        chunks.append(Chunk(order[start : start + size], inside[-1], inside[0] == inside[-1]))
    return chunks
