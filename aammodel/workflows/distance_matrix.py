"""All distances of a shard set, in blocks of samples: memory holds two blocks, however many there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.shards import SPLITS
from aammodel.data.samples import SampleReader
from aammodel.data.shards import RowGroup, ShardSet
from aammodel.distances.metrics import METRICS, Metric, columns_needed
from aammodel.distances.metrics import faith_pd as compute_faith_pd
from aammodel.distances.sparse import Arithmetic
from aammodel.sample import Float64Array, Sample

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
                if other is block:
                    found = _symmetric(found)
                matrix[block.rows, other.rows] = found
                matrix[other.rows, block.rows] = found.T
                done += found.size * (1 if other is block else 2)
                on_progress(done / all_pairs)

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


def _symmetric(matrix: Matrix) -> Matrix:
    """Return the distances of samples to each other, symmetric to the last bit, with a diagonal of zero.

    With several threads, products of matrices round (a, b) and (b, a) differently, and scikit-bio refuses to
    read such a matrix. NaN, for samples without a distance, stays on the diagonal.
    """
    upper = np.triu(matrix, k=1)
    return upper + upper.T + np.diag(np.where(np.isfinite(matrix.diagonal()), 0.0, np.nan))


def all_pairs(shards: ShardSet, metric: str, split: str | None = None, device: str | None = None) -> AllPairs:
    """Return the pairs of samples of a shard set whose distances are to be computed.

    Parameters
    ----------
    shards : ShardSet
    metric : str
        A name in `METRICS`.
    split : {"train", "validation", "test"}, optional
        By default the samples of all splits.
    device : str, optional
        Compute with torch on this device; by default with numpy.

    Raises
    ------
    UsageError
        If there is no such metric or split, or the device cannot be used.
    InvalidDataError
        If the shards lack what the metric needs, or there is no sample.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}", "--metric", f"choose among: {', '.join(METRICS)}")
    _check_samples(shards, split)
    if not METRICS[metric].is_available(shards.metric_inputs):
        raise _missing_input(shards, metric)
    return AllPairs(shards, metric, split, Arithmetic(device=_torch_device(device)))


def faith_pd(shards: ShardSet, split: str | None = None) -> tuple[list[str], Float64Array]:
    """Return the ids of samples and Faith's phylogenetic diversity of each.

    Raises
    ------
    UsageError
        If there is no such split.
    InvalidDataError
        If the shards have no tree, or there is no sample.
    """
    _check_samples(shards, split)
    if not shards.has_tree:
        raise _missing_input(shards, "faith_pd")
    pairs = AllPairs(shards, "faith_pd", split)
    parts = [compute_faith_pd(pairs.read(block), shards.metric_inputs) for block in pairs.blocks()]
    return pairs.sample_ids(), np.concatenate(parts)


def _check_samples(shards: ShardSet, split: str | None) -> None:
    if split not in (None, *SPLITS):
        raise UsageError(f"there is no split {split!r}", "--split", f"choose among: {', '.join(SPLITS)}")
    if not any(shards.manifest.num_rows(name) for name in SPLITS if split in (None, name)):
        what = "there is no sample" if split is None else f"there is no {split} sample"
        raise InvalidDataError(what, str(shards.folder), "choose another --split")


def _missing_input(shards: ShardSet, metric: str) -> InvalidDataError:
    return InvalidDataError(
        f"these shards lack what {metric} is computed from",
        str(shards.folder),
        "shard the table with its tree (--tree), or its matrix (--distances)",
    )


def _torch_device(device: str | None) -> str | None:
    if device is None:
        return None
    # Torch is loaded only if it is to compute.
    from aammodel.training.device import pick_device

    return str(pick_device(device))
