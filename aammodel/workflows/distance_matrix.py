"""Distances between all samples of a shard set.

Samples are read in blocks of whole row groups, and two blocks are in memory at a time. So memory does not
grow with the number of samples, if the matrix is memory-mapped.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.text import shorten, truncate_list
from aam_schemas.shards import DISTANCES_FILE, SPLITS
from aammodel.data.missing_input import unavailable
from aammodel.data.samples import SampleReader
from aammodel.data.shards import RowGroup, ShardSet
from aammodel.distances.metrics import METRICS, columns_needed
from aammodel.distances.metrics import faith_pd as compute_faith_pd
from aammodel.distances.sparse import Arithmetic
from aammodel.sample import Float64Array, Sample

LOGGER = logging.getLogger(__name__)
SAMPLES_PER_BLOCK = 512
"""Maximum number of samples in a block, unless a single row group has more."""

Matrix = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Neighboring row groups whose samples are compared together."""

    groups: Sequence[RowGroup]
    first: int
    """Row of the first sample of the block in the matrix."""
    end: int
    """Row after the last sample of the block in the matrix."""

    @property
    def rows(self) -> slice:
        """Rows of the block in the matrix."""
        return slice(self.first, self.end)


@dataclass(frozen=True)
class AllPairs:
    """All pairs of samples of a shard set or of one of its splits, in the order of the manifest."""

    shards: ShardSet
    metric: str
    split: str | None = None
    """The split whose samples are compared. If not given, all samples are."""
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def samples(self) -> tuple[list[str], BoolArray]:
        """Return the ids of the samples that have a distance, and of all samples whether they have one.

        The ids are in the order of the matrix. A sample without a read in the tree has no UniFrac distance.

        Raises
        ------
        InvalidDataError
            If no sample has a distance.
        """
        metric, inputs = METRICS[self.metric], self.shards.metric_inputs
        samples = (sample for block in self.blocks() for sample in self.read(block))
        each = [(sample.sample_id, metric.can_compare(sample, inputs)) for sample in samples]
        ids = [name for name, has_distance in each if has_distance]
        lost = [name for name, has_distance in each if not has_distance]
        if not ids:
            what = f"no sample has a distance: {metric.words}"
            raise InvalidDataError(what, str(self.shards.folder), "choose another --metric or --split")
        if lost:
            LOGGER.warning(
                "%s samples without a distance are left out: %s", f"{len(lost):,}", truncate_list(lost)
            )
        return ids, np.array([has_distance for _, has_distance in each])

    def blocks(self) -> list[Block]:
        """Divide the samples into blocks of whole row groups."""
        blocks: list[Block] = []
        groups: list[RowGroup] = []
        first = rows = 0
        for group in self._groups():
            if groups and rows + group.rows > SAMPLES_PER_BLOCK:
                blocks.append(Block(groups, first, first + rows))
                groups, first, rows = [], first + rows, 0
            groups.append(group)
            rows += group.rows
        return [*blocks, Block(groups, first, first + rows)] if groups else blocks

    def fill(self, matrix: Matrix, has_distance: BoolArray, on_progress: Callable[[float], None]) -> None:
        """Compute the distances of all pairs of samples that have distances.

        Parameters
        ----------
        matrix : ndarray of float64, shape (samples with a distance, samples with a distance)
            The distances are written into it. It may be memory-mapped.
        has_distance : ndarray of bool, shape (samples,)
            See `samples`.
        on_progress : callable
            Called after each pair of blocks with the fraction of the matrix that is done.

        Raises
        ------
        InvalidDataError
            If the precomputed matrix lacks the distance of a pair.
        """
        # With several threads, BLAS rounds matrix products differently, and those of this size take longer.
        with threadpool_limits(1, user_api="blas"):
            self._fill(matrix, has_distance, on_progress)

    def _fill(self, matrix: Matrix, has_distance: BoolArray, on_progress: Callable[[float], None]) -> None:
        blocks, row = self.blocks(), np.concatenate([[0], np.cumsum(has_distance)])
        done, all_pairs = 0, max(len(matrix) ** 2, 1)
        for index, block in enumerate(blocks):
            a = self._comparable(block, has_distance)
            rows = slice(row[block.first], row[block.end])
            # The distances are symmetric, so each pair of blocks is computed once.
            for other in blocks[index:] if a else ():
                b = a if other is block else self._comparable(other, has_distance)
                if not b:
                    continue
                columns = slice(row[other.first], row[other.end])
                distances = self._between(a, b)
                matrix[rows, columns] = distances
                matrix[columns, rows] = distances.T
                done += distances.size * (1 if other is block else 2)
                on_progress(done / all_pairs)

    def _comparable(self, block: Block, has_distance: BoolArray) -> list[Sample]:
        """Return the samples of a block that have distances."""
        return list(compress(self.read(block), has_distance[block.rows]))

    def _between(self, a: list[Sample], b: list[Sample]) -> Matrix:
        distances = METRICS[self.metric].between(a, b, self.shards.metric_inputs, self.arithmetic)
        if np.isnan(distances).any():
            row, column = np.argwhere(np.isnan(distances))[0]
            names = " and ".join(shorten(sample.sample_id, 80) for sample in (a[row], b[column]))
            raise InvalidDataError(
                f"the samples {names} have no distance", DISTANCES_FILE, "choose another --metric"
            )
        return _symmetric(distances) if a is b else distances

    def _groups(self) -> list[RowGroup]:
        return [group for group in self.shards.row_groups if self.split in (None, group.split)]

    def read(self, block: Block) -> list[Sample]:
        """Read the samples of a block, with the columns that the metric needs."""
        if self.metric in METRICS:
            columns = columns_needed((self.metric,), self.shards.metric_inputs)
        else:  # Faith's phylogenetic diversity
            columns = ("branch",)
        return SampleReader(self.shards, columns).read(block.groups)


def _symmetric(matrix: Matrix) -> Matrix:
    """Return the matrix with its upper triangle mirrored and a diagonal of zero.

    Matrix products can round (a, b) and (b, a) differently, and scikit-bio refuses an asymmetric matrix.
    """
    upper = np.triu(matrix, k=1)
    return upper + upper.T


def all_pairs(shards: ShardSet, metric: str, split: str | None = None, device: str | None = None) -> AllPairs:
    """Return all pairs of samples of a shard set, ready to compute their distances.

    Parameters
    ----------
    shards : ShardSet
    metric : str
        A name in `METRICS`.
    split : {"train", "validation", "test"}, optional
        If not given, the samples of all splits are compared.
    device : str, optional
        Device on which torch computes. If not given, numpy computes.

    Raises
    ------
    UsageError
        If there is no such metric or split, the shards lack the input of the metric, or the device cannot be
        used.
    InvalidDataError
        If there is no sample.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no metric {metric!r}", "--metric", f"choose among: {', '.join(METRICS)}")
    _check_samples(shards, split)
    if not METRICS[metric].is_available(shards.metric_inputs):
        raise unavailable(shards, metric, "--metric")
    return AllPairs(shards, metric, split, Arithmetic(device=_torch_device(device)))


def faith_pd(shards: ShardSet, split: str | None = None) -> tuple[list[str], Float64Array]:
    """Return the ids of samples and their phylogenetic diversity (Faith 1992).

    Parameters
    ----------
    shards : ShardSet
    split : {"train", "validation", "test"}, optional
        If not given, the samples of all splits are used.

    Returns
    -------
    sample_ids : list of str
    diversity : ndarray of float64, shape (samples,)
        In the unit of the tree's branch lengths.

    Raises
    ------
    UsageError
        If there is no such split, or the shards have no tree.
    InvalidDataError
        If there is no sample.
    """
    _check_samples(shards, split)
    if not shards.has_tree:
        raise unavailable(shards, "faith_pd", "--metric")
    pairs = AllPairs(shards, "faith_pd", split)
    ids, parts = [], []
    for block in pairs.blocks():
        samples = pairs.read(block)
        ids += [sample.sample_id for sample in samples]
        parts.append(compute_faith_pd(samples, shards.metric_inputs))
    return ids, np.concatenate(parts)


def _check_samples(shards: ShardSet, split: str | None) -> None:
    if split not in (None, *SPLITS):
        fix = f"choose among: {', '.join(SPLITS)}; leave it out to use all samples"
        raise UsageError(f"there is no split {split!r}", "--split", fix)
    shards.check_split(split)


def _torch_device(device: str | None) -> str | None:
    if device is None:
        return None
    # Importing torch takes seconds, so it is imported only if it computes.
    from aammodel.training.device import pick_device

    return str(pick_device(device))
