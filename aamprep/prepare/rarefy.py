"""Rarefaction: subsample every sample to the same number of reads, without replacement."""

from dataclasses import replace

import numpy as np

from aamprep.prepare.block import Block
from aamprep.prepare.seeded import generator


def rarefy(block: Block, depth: int, seed: int) -> Block:
    """Draw `depth` reads of each sample without replacement (multivariate hypergeometric).

    The entries of a sample are sorted by sequence. So the draw depends only on the seed, the sample id and
    the counts, and not on the order of the table.

    Parameters
    ----------
    block : Block
        Samples with at least `depth` and fewer than `MOST_READS` reads. Counts must be whole numbers.
    depth : int
        Number of reads of each sample in the result.
    seed : int

    Returns
    -------
    Block
        ASVs without a drawn read are removed.
    """
    drawn = np.zeros_like(block.count)
    for row, sample_id in enumerate(block.sample_ids):
        entries = slice(int(block.indptr[row]), int(block.indptr[row + 1]))
        reads = block.count[entries].astype(np.int64)
        rng = generator(seed, "rarefy", sample_id)
        drawn[entries] = rng.multivariate_hypergeometric(reads, depth, method="marginals")
    return replace(block, count=drawn).keep_entries(drawn > 0)
