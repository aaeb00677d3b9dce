"""All distances of a shard set, in blocks of samples: memory holds two blocks, however many there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aammodel.data.samples import SampleReader
from aammodel.data.shards import RowGroup, ShardSet
from aammodel.distances.metrics import METRICS, Metric, columns_needed, faith_pd
from aammodel.distances.sparse import Arithmetic
from aammodel.sample import Sample

SAMPLES_OF_A_BLOCK = 512

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Neighbouring row groups whose samples are compared together."""

    groups: Sequence[RowGroup]
    start: int
    """Row of its first sample in the matrix."""
    stop: int

    @property
    def rows(self) -> slice:
        """Its rows in the matrix."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class AllPairs:
    """What is to be compared: the samples of a set, or of one of its splits, in the order of the manifest."""

    shards: ShardSet
    metric: str
    split: str | None = None
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    @property
    def num_samples(self) -> int:
        """Samples that are compared."""
        return sum(one.rows for one in self._groups())

    def sample_ids(self) -> list[str]:
        """List the samples, in the order of the matrix."""
        return [one.sample_id for block in self.blocks() for one in self.read(block)]

    def blocks(self) -> list[Block]:
        """Cut the samples into blocks of whole row groups."""
        blocks: list[Block] = []
        groups: list[RowGroup] = []
        start = rows = 0
        for group in self._groups():
            if groups and rows + group.rows > SAMPLES_OF_A_BLOCK:
                blocks.append(Block(groups, start, start + rows))
                groups, start, rows = [], start + rows, 0
            groups.append(group)
            rows += group.rows
        return [*blocks, Block(groups, start, start + rows)] if groups else blocks

    def fill(self, matrix: Matrix, on_progress: Callable[[float], None]) -> None:
        """Compute every pair of samples.

        Parameters
        ----------
        matrix : ndarray of float64, shape (samples, samples)
            Takes the distances; may be memory-mapped.
        on_progress : callable
            Is told the share that is done.
        """
        blocks = self.blocks()
        metric, done, all_pairs = METRICS[self.metric], 0, len(matrix) ** 2
        for number, block in enumerate(blocks):
            a = self.read(block)
            for other in blocks[number:]:
                b = a if other is block else self.read(other)
                found = self._between(metric, a, b)
                matrix[block.rows, other.rows] = found
                matrix[other.rows, block.rows] = found.T
                done += found.size * (1 if other is block else 2)
                on_progress(done / all_pairs)

    def faith_pd(self) -> npt.NDArray[np.float64]:
        """Compute Faith's phylogenetic diversity of every sample, shape (samples,)."""
        parts = [faith_pd(self.read(block), self.shards.metric_inputs) for block in self.blocks()]
        return np.concatenate(parts)

    def _between(self, metric: Metric, a: list[Sample], b: list[Sample]) -> Matrix:
        return metric.between(a, b, self.shards.metric_inputs, self.arithmetic)

    def _groups(self) -> list[RowGroup]:
        return [one for one in self.shards.row_groups if self.split in (None, one.split)]

    def read(self, block: Block) -> list[Sample]:
        """Read the samples of a block."""
        if self.metric in METRICS:
            columns = columns_needed((self.metric,), self.shards.metric_inputs)
        else:  # Faith's phylogenetic diversity
            columns = ("branch",)
        return SampleReader(self.shards, columns).read(block.groups)
