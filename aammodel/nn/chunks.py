"""Sequences of like length together, so that little or no padding is computed."""

import math
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


def chunks_by_length(lengths: Int[Tensor, " N"], size: int, most_longer: float = math.inf) -> list[Chunk]:
    """Put sequences in ascending order of length and cut that order into chunks, of at least one.

    Parameters
    ----------
    lengths : Tensor of int, shape (N,)
    size : int
        Sequences per chunk; by default all chunks but the last have so many.
    most_longer : float
        By what share the longest of a chunk may be longer than the shortest; else a chunk is cut before.
    """
    ordered, order = lengths.sort(stable=True)
    in_order = ordered.tolist()
    starts = [0]
    for place, length in enumerate(in_order):
        if place == starts[-1] + size or length > (1 + most_longer) * in_order[starts[-1]]:
            starts.append(place)
    stops = [*starts[1:], len(in_order)]
    inside = [in_order[start:stop] or [0] for start, stop in zip(starts, stops, strict=True)]
    rows = order.split([stop - start for start, stop in zip(starts, stops, strict=True)])
    return [Chunk(here, one[-1], one[0] == one[-1]) for here, one in zip(rows, inside, strict=True)]
