"""Which stretch of six bases an ASV has where: what it shares with others, however little is known of it.

A network learns ASVs by heart, so it says little of a clade that it never saw. A window of bases is the same
window in any clade: it tells how alike two unknown ASVs are. It presumes what amplicons have, a common primer
at their beginning. Shape letters: see `batch.py`; P windows of an ASV, each of `COLUMNS` columns.
"""

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from aam_schemas import vocabulary

BASES = 6
"""Of a window; as many as the k-mers of the baselines have."""
EVERY = 3
"""Bases from the start of one window to the next."""
COLUMNS = 128
"""Columns of one window, into which its 4,096 possible contents are hashed: few occur at one place."""
_BITS = COLUMNS.bit_length() - 1
_ODD = 2_654_435_761
"""Multiplier of Knuth's hash ("The Art of Computer Programming", volume 3, 6.4), for words of 32 bits."""


def num_windows(sequence_length: int) -> int:
    """Count the windows of an ASV of so many tokens, START among them."""
    return max(0, (sequence_length - 1 - BASES) // EVERY + 1)


def window_columns(tokens: Integer[Tensor, "N L"]) -> Int[Tensor, "N P"]:
    """Find the column, among those of its window, that each window of each ASV falls into.

    Parameters
    ----------
    tokens : Tensor of int, shape (N, L)
        Token ids: START, bases, padding.

    Returns
    -------
    Tensor of int64, shape (N, P)
        -1 where a window holds something else than A, C, G and T: padding, or an ambiguity code.
    """
    number = num_windows(tokens.shape[1])
    if not number:
        return tokens.new_zeros((len(tokens), 0), dtype=torch.int64)
    bases = tokens[:, 1:].long().unfold(1, BASES, EVERY) - vocabulary.A
    is_base = ((bases >= 0) & (bases < 4)).all(dim=2)
    digits = 4 ** torch.arange(BASES, device=tokens.device)
    place = torch.arange(number, device=tokens.device)
    content = (bases * digits).sum(dim=2) + place * 4**BASES
    return torch.where(is_base, (content * _ODD & 0xFFFFFFFF) >> (32 - _BITS), -1)


def add_by_window(
    column: Int[Tensor, "R P"], value: Float[Tensor, " R"], sample: Int[Tensor, " R"], shape: tuple[int, int]
) -> Float[Tensor, "B F"]:
    """Add up, for each sample and column, a value of each of the sample's ASVs that falls into it.

    Parameters
    ----------
    column : Tensor of int, shape (R, P)
        Of the windows of each ASV; -1 counts nowhere.
    value : Tensor, shape (R,)
        What each ASV adds.
    sample : Tensor of int, shape (R,)
        The sample that each belongs to.
    shape : pair of int
        Samples, and columns of all windows; those of windows beyond the ASVs stay 0.
    """
    first = torch.arange(column.shape[1], device=column.device) * COLUMNS + sample[:, None] * shape[1]
    has = column >= 0
    total = value.new_zeros(shape[0] * shape[1])
    total.index_add_(0, (first + column)[has], value[:, None].expand_as(column)[has])
    return total.view(shape)


def cut_by_window(x: Float[Tensor, "B F"]) -> Float[Tensor, "P B _"]:
    """Cut the columns of all windows into those of each."""
    return x.view(len(x), -(-x.shape[1] // COLUMNS), COLUMNS).transpose(0, 1)


@torch.no_grad()
def windows_apart(a: Float[Tensor, "B F"], b: Float[Tensor, "C F"]) -> Float[Tensor, "P B C"]:
    """Sum the differences of each two samples over the columns of each window.

    What a sample has is not learned, so no gradient is asked for, and none of the memory that it takes.
    """
    return torch.cdist(cut_by_window(a).contiguous(), cut_by_window(b).contiguous(), p=1)
