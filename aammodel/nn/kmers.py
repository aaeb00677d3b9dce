"""K-mers at fixed positions of ASVs: features that need no training, and that work for unseen clades.

A network tends to memorize its training ASVs and generalizes poorly to unseen clades. A k-mer is the same in
any clade, so shared k-mers show how similar two unknown ASVs are. K-mers are compared with their position,
since some positions of a gene are more conserved than others. Therefore all ASVs must start at the same
primer, as amplicons do. `docs/experiments.md` compares lengths, positions and numbers of columns.

For the shape letters, see `batch.py`. In addition, P is the number of k-mers of an ASV, and F = P * COLUMNS
is the number of columns of all k-mers.
"""

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from aam_schemas import vocabulary

BASES = 6
"""Length of a k-mer. The k-mer baseline of `evaluate` has the same length."""
STRIDE = 3
"""Number of bases from the start of one k-mer to the start of the next."""
COLUMNS = 128
"""Number of columns of one k-mer position. The 4 ** 6 = 4,096 possible k-mers are hashed into them. Only a
few of these occur at any one position of a study, so collisions are rare. With 64 columns, distances in
unseen clades were a little worse."""
_BITS = COLUMNS.bit_length() - 1
_MULTIPLIER = 2_654_435_761
"""Multiplier of Knuth's multiplicative hash for 32-bit words ("The Art of Computer Programming", volume 3,
section 6.4): an odd integer near 2 ** 32 divided by the golden ratio."""


def num_kmers(sequence_length: int) -> int:
    """Return the number of k-mers, P, of an ASV with `sequence_length` tokens, START included."""
    return max(0, (sequence_length - 1 - BASES) // STRIDE + 1)


def kmer_columns(tokens: Integer[Tensor, "N L"]) -> Int[Tensor, "N P"]:
    """Return the column of each k-mer of each ASV.

    Parameters
    ----------
    tokens : Tensor of int, shape (N, L)
        Token ids: START, bases, padding.

    Returns
    -------
    Tensor of int64, shape (N, P)
        Between 0 and COLUMNS - 1. -1 where a k-mer contains padding or an ambiguity code.
    """
    number = num_kmers(tokens.shape[1])
    if not number:
        return tokens.new_zeros((len(tokens), 0), dtype=torch.int64)
    bases = tokens[:, 1:].long().unfold(1, BASES, STRIDE) - vocabulary.A
    is_base = ((bases >= 0) & (bases < 4)).all(dim=2)
    digits = 4 ** torch.arange(BASES, device=tokens.device)
    index = torch.arange(number, device=tokens.device)
    # The position is part of the key, so that k-mers which collide at one position need not at another.
    key = (bases * digits).sum(dim=2) + index * 4**BASES
    # Torch has few operations on uint32, so int64 is cut to 32 bits. The highest bits are the best mixed.
    return torch.where(is_base, (key * _MULTIPLIER & 0xFFFFFFFF) >> (32 - _BITS), -1)


def sum_by_column(
    column: Int[Tensor, "R P"], value: Float[Tensor, " R"], sample: Int[Tensor, " R"], shape: tuple[int, int]
) -> Float[Tensor, "B F"]:
    """Sum a value of each ASV, for each sample and column.

    Parameters
    ----------
    column : Tensor of int, shape (R, P)
        Columns of the k-mers of each ASV, from `kmer_columns`. -1 is ignored.
    value : Tensor, shape (R,)
        Amount that each ASV adds to the columns of its k-mers.
    sample : Tensor of int, shape (R,)
        Sample of each ASV.
    shape : pair of int
        B and F. F may be larger than P * COLUMNS. The columns beyond are 0.

    Returns
    -------
    Tensor, shape (B, F)
    """
    first = torch.arange(column.shape[1], device=column.device) * COLUMNS + sample[:, None] * shape[1]
    has_kmer = column >= 0
    total = value.new_zeros(shape[0] * shape[1])
    total.index_add_(0, (first + column)[has_kmer], value[:, None].expand_as(column)[has_kmer])
    return total.view(shape)


def split_by_kmer(x: Float[Tensor, "B F"]) -> Float[Tensor, "P B _"]:
    """Split the columns of all k-mers into those of each k-mer position."""
    return x.view(len(x), -(-x.shape[1] // COLUMNS), COLUMNS).transpose(0, 1)


@torch.no_grad()
def kmer_distances(a: Float[Tensor, "B F"], b: Float[Tensor, "C F"]) -> Float[Tensor, "P B C"]:
    """Return the Manhattan distance between any two samples at each k-mer position.

    The columns of a sample are not learned. So no gradient is recorded, which saves its memory.
    """
    return torch.cdist(split_by_kmer(a).contiguous(), split_by_kmer(b).contiguous(), p=1)
