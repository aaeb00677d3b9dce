"""Rarefaction: every sample drawn down to the same depth, without replacement."""

from dataclasses import replace

import numpy as np

from aamprep.prepare.block import Block
from aamprep.prepare.seeded import generator

MOST_READS = 10**9
"""Numpy draws without replacement from fewer reads than these."""


def rarefy(block: Block, depth: int, seed: int) -> Block:
    """Draw `depth` reads of each sample without replacement (multivariate hypergeometric).

    Entries lie in order of sequence within a sample, so the draw depends on (seed, sample id) alone.

    Parameters
    ----------
    block : Block
        Samples of at least `depth` whole reads and fewer than `MOST_READS`.
    depth : int
        Reads of each sample afterwards.
    seed : int
    """
    drawn = np.zeros_like(block.count)
    for row, sample_id in enumerate(block.sample_ids):
        entries = slice(int(block.indptr[row]), int(block.indptr[row + 1]))
        reads = block.count[entries].astype(np.int64)
        rng = generator(seed, "rarefy", sample_id)
        drawn[entries] = rng.multivariate_hypergeometric(reads, depth, method="marginals")
    return replace(block, count=drawn).keep_entries(drawn > 0)
