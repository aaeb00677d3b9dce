"""Shards to batches: read row groups in order, gather each batch's distinct ASVs, hide bases, know distances.

Free of polars and pandera. Everything here is numpy until a batch is made: small torch operations stall when
several threads share them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from torch.utils.data import IterableDataset, get_worker_info

from aam_schemas.common.errors import UsageError
from aammodel.batch import IGNORED, Batch
from aammodel.data.collate import arrange_slots
from aammodel.data.masking import draw_encoded, draw_masks
from aammodel.data.order import Order, Window, first_ranks, micro_batches, round_robin
from aammodel.data.rarefy import rarefied
from aammodel.data.samples import prefetch, samples_of
from aammodel.data.shards import RowGroup, ShardSet, reading
from aammodel.distances.metrics import METRICS
from aammodel.sample import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """How bases are hidden."""

    seed: int = 0
    fraction: float = 0.15
    """Share of each ASV's bases."""
    span: int = 1
    """Neighbouring bases hidden together."""
    asv_encode_fraction: float = 1.0
    """Share of the ASVs that the transformer over bases reads; no base of another one is hidden."""


@dataclass
class BatchStream(IterableDataset[Batch]):
    """An endless stream of micro-batches, one epoch after the other.

    Where it stands is the number of samples consumed, so that a resumed run needs to read nothing of what
    was seen; with several workers each makes every n-th batch, so their number changes no batch.
    """

    shards: ShardSet
    split: str
    order: Order
    batch_size: int
    token_limit: int
    masks: Masks | None
    """None hides nothing."""
    targets: tuple[str, ...] = ("unweighted_unifrac",)
    """Metrics whose true distances a batch has; NaN without a tree."""
    rarefy_fraction: float = 1.0
    """Share of each sample's reads, drawn anew at each step; 1 takes all."""
    more_columns: tuple[str, ...] = ()
    """What else to read of each sample."""
    accumulate: int = 1
    """Micro-batches of a step, which hide the same bases of an ASV."""
    bucket: bool = False
    """Put samples with about as many ASVs into a batch, which leaves little padding."""
    redraw: bool = True
    """Hide other bases at each step; False hides the same ones always, as validation does."""
    start_batch: int = 0
    """Micro-batches consumed already."""
    rank: int = 0
    num_ranks: int = 1
    """Ranks that take the samples of each micro-batch in turn; each reads all of them, for the distances."""
    _files: dict[str, pq.ParquetFile] = field(default_factory=dict, repr=False)

    @property
    def batches_per_epoch(self) -> int:
        """Micro-batches of an epoch."""
        # Asked for at each batch: no list of them all is made.
        return -(-self.order.num_samples // self.batch_size)

    @property
    def batches_per_step(self) -> int:
        """Micro-batches of a step that is not the last one of an epoch."""
        return min(self.accumulate, self.batches_per_epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch; the last one may have fewer micro-batches."""
        return -(-self.batches_per_epoch // self.accumulate)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        mine = round_robin(worker.id, worker.num_workers) if worker else round_robin(0, 1)
        batches = micro_batches(self.samples, self.order.num_samples, self.batch_size, self.start_batch)
        for batch in islice(batches, mine.start, None, mine.step):
            step = batch.epoch * self.steps_per_epoch + batch.index // self.accumulate
            yield self.make_part(self._rarefied(batch.samples, step), step if self.redraw else 0)

    def epoch(self) -> Iterator[Batch]:
        """Give the batches of one epoch, without workers."""
        return islice(iter(self), self.batches_per_epoch)

    def make_part(self, samples: list[Sample], step: int) -> Batch:
        """Make this rank's part of a micro-batch.

        A base that is hidden in several ranks' ASVs counts on the first. A rank that gets no sample, since
        there are fewer than ranks, computes the first one again and nothing of it counts: so all ranks do the
        same at each step.
        """
        if self.num_ranks == 1:
            return self.make_batch(samples, step)
        mine = round_robin(self.rank, self.num_ranks)
        batch = self.make_batch(samples[mine] or samples[:1], step, samples)
        asvs = [sample.asv[: self.token_limit] for sample in samples]
        place = np.searchsorted(np.unique(np.concatenate(asvs)), batch.asv_row.numpy())
        is_mine = torch.from_numpy(first_ranks(asvs, self.num_ranks)[place] == self.rank)
        distance, position = batch.distance, torch.arange(len(samples))[mine]
        if not len(position):
            distance, position = torch.full_like(distance, torch.nan), torch.zeros(1, dtype=torch.int64)
        masked_token = torch.where(is_mine[batch.masked[:, 0]], batch.masked_token, IGNORED)
        return replace(batch, distance=distance, position=position, masked_token=masked_token)

    def make_batch(self, samples: list[Sample], step: int, others: list[Sample] | None = None) -> Batch:
        """Make a batch of samples: its distinct ASVs, its hidden bases, its true distances to each other.

        With `others`, the distances are those to these.
        """
        slots = arrange_slots(samples, self.token_limit, self.shards.manifest.num_kept_asvs)
        tokens = _without_padding(self.shards.tokens.take(slots.asv_row, axis=0))
        is_encoded, masked, masked_token = self._hide(tokens, slots.asv_row, step)
        return Batch(
            sample_ids=tuple(sample.sample_id for sample in samples),
            tokens=torch.from_numpy(tokens),
            asv_row=torch.from_numpy(slots.asv_row),
            is_encoded=torch.from_numpy(is_encoded),
            slot=torch.from_numpy(slots.slot),
            count=torch.from_numpy(slots.count),
            is_real=torch.from_numpy(slots.is_real),
            distance=torch.from_numpy(self.distances(samples, others).astype(np.float32)),
            masked=torch.from_numpy(masked),
            masked_token=torch.from_numpy(masked_token),
            position=torch.arange(len(samples)),
        )

    def samples(self, epoch: int = 0, start: int = 0) -> Iterator[Sample]:
        """Read the samples of one epoch, in order."""
        groups = self._groups()

        def read(window: Window) -> tuple[Window, list[Sample]]:
            return window, self.read([groups[group] for group in window.groups])

        for window, rows in prefetch(map(read, self.order.windows(epoch, start))):
            order = window.order
            if self.bucket:
                sizes = np.minimum([len(sample.asv) for sample in rows], self.token_limit)
                order = self.order.with_like_sizes_together(window, sizes, self.batch_size, epoch)
            yield from (rows[row] for row in order[window.start :])

    def _rarefied(self, samples: list[Sample], step: int) -> list[Sample]:
        """Draw other reads of each sample at each step."""
        if self.rarefy_fraction == 1:
            return samples
        return [
            rarefied(one, self.rarefy_fraction, self.order.seed, step, self.shards.paths) for one in samples
        ]

    def distances(self, samples: list[Sample], others: list[Sample] | None = None) -> npt.NDArray[np.float64]:
        """Compute the distances of samples to each other, or to others, by each target, shape (T, B, C)."""
        others = others or samples
        if not self.targets:
            return np.zeros((0, len(samples), len(others)))
        facts = self.shards.facts
        return np.stack([METRICS[name].between(samples, others, facts) for name in self.targets])

    def _hide(
        self, tokens: npt.NDArray[np.uint8], asv_row: npt.NDArray[np.int64], step: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Choose the ASVs that are read, and their hidden bases: where they are, and what stood there."""
        masks = self.masks
        if masks is None:
            nothing = np.zeros((0, 2), dtype=np.int64)
            return np.ones(len(tokens), dtype=np.bool_), nothing, nothing[:, 0]
        is_encoded = draw_encoded(asv_row, masks.seed, step, masks.asv_encode_fraction)
        read = np.flatnonzero(is_encoded)
        masked, masked_token = draw_masks(
            tokens[read], asv_row[read], masks.seed, step, masks.fraction, masks.span
        )
        masked[:, 0] = read[masked[:, 0]]
        return is_encoded, masked, masked_token

    def read(self, groups: Sequence[RowGroup]) -> list[Sample]:
        """Read the samples of row groups, in the order of these; those of a file are read together."""
        found: dict[RowGroup, list[Sample]] = {}
        for name in dict.fromkeys(one.file for one in groups):
            here = [one for one in groups if one.file == name]
            samples = iter(self._read_together(name, here))
            found |= {one: list(islice(samples, one.rows)) for one in here}
        return [sample for one in groups for sample in found[one]]

    def _read_together(self, name: str, groups: Sequence[RowGroup]) -> list[Sample]:
        metrics = [METRICS[target] for target in self.targets]
        known = [one.columns for one in metrics if one.is_known(self.shards.facts)]
        columns = ["sample_id", *dict.fromkeys(chain(("asv", "count"), self.more_columns, *known))]
        if name not in self._files:
            self._files[name] = self.shards.open(name)
        with reading(self.shards.folder / name):
            numbers = [one.number for one in groups]
            table = self._files[name].read_row_groups(numbers, columns=columns, use_threads=False)
        positions = chain.from_iterable(range(one.first, one.first + one.rows) for one in groups)
        limit = self.shards.manifest.choices.token_limit
        return samples_of(table, self.shards.limits, positions, limit)

    def _groups(self) -> list[RowGroup]:
        """List the row groups of the split."""
        return [one for one in self.shards.row_groups if one.split == self.split]

    def __getstate__(self) -> dict[str, object]:
        # Each worker opens files of its own: handles do not survive the way into another process.
        return self.__dict__ | {"_files": {}}


def stream_split(
    shards: ShardSet, split: str, order: Order, masks: Masks | None, batch_size: int, token_limit: int | None
) -> BatchStream:
    """Make the stream of one split.

    Raises
    ------
    UsageError
        If the token limit is larger than the shards'.
    """
    limit = shards.manifest.choices.token_limit
    if token_limit is not None and token_limit > limit:
        raise UsageError(
            f"a token limit of {token_limit} is more than the {limit} that the shards keep",
            "--token-limit",
            f"give {limit} or less, or make the shards again with a larger limit",
        )
    return BatchStream(shards, split, order, batch_size, token_limit or limit, masks)


def split_order(shards: ShardSet, split: str, seed: int, shuffled: bool) -> Order:
    """Give the order of a split's samples."""
    files = shards.manifest.sample_files(split)
    return Order(tuple(rows for file in files for rows in file.row_group_rows), seed, shuffled=shuffled)


def _without_padding(tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cut off the columns that are padding in every row: those at the end."""
    if tokens[:, -1].any():
        return tokens
    return tokens[:, : np.count_nonzero(np.bitwise_or.reduce(tokens, axis=0))]
