"""Truncation: keep the first ASVs of each sample, in order of selection, up to the token limit."""

import numpy as np

from aamprep.arrays import BoolArray, Int64Array
from aamprep.choices import Select
from aamprep.prepare.block import Block
from aamprep.prepare.seeded import generator


def in_order_of_selection(block: Block, select: Select, seed: int) -> Block:
    """Return a block whose samples have their ASVs in order of selection.

    At any token limit, the first ASVs of a sample are then the ones to keep.

    Parameters
    ----------
    block : Block
        Entries sorted by sequence within each sample. Ties keep this order.
    select : Select
    seed : int
        Seed of the random order. Other selections do not use it.
    """
    keys = {
        Select.ABUNDANCE: lambda: -block.count,
        Select.FIRST: lambda: block.position,
        Select.RANDOM: lambda: _random_keys(block, seed),
    }
    # `lexsort` is stable and takes its main key last: by sample, then by the key of the selection.
    return block.reorder(np.lexsort((keys[select](), block.row)))


def within_limit(block: Block, token_limit: int) -> BoolArray:
    """Return which entries a token limit keeps: True is kept."""
    rank = np.arange(len(block.asv)) - np.repeat(block.indptr[:-1], block.num_asvs)
    return rank < token_limit


def _random_keys(block: Block, seed: int) -> Int64Array:
    orders = [
        generator(seed, "select", sample_id).permutation(size)
        for sample_id, size in zip(block.sample_ids, block.num_asvs, strict=True)
    ]
    # Without samples, `concatenate` would have nothing to concatenate.
    return np.concatenate([np.zeros(0, dtype=np.int64), *orders])
