"""Collate samples into a `Batch`: slots that point to distinct ASVs, masked bases, true distances.

All of it is numpy until the batch is made. Small torch operations stall when several threads share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from aammodel.batch import IGNORED, Batch
from aammodel.data.masking import Masking
from aammodel.data.order import first_ranks, round_robin
from aammodel.data.sample_labels import sample_labels
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import pairwise_distances
from aammodel.sample import Int64Array, Sample


@dataclass(frozen=True)
class Collator:
    """Collate samples of a shard set into batches.

    Parameters
    ----------
    shards : ShardSet
    token_limit : int
        Largest number of ASVs of a sample in a batch. Others at the end of a sample's selection are left out.
    targets : tuple of str
        Distances that a batch has, by their names in `METRICS`.
    masking : Masking or None
        None masks no base and encodes every ASV.
    labels : tuple of str
        Labels of samples that a batch has, by their names in `SAMPLE_LABELS`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from aammodel.data.collate import Collator
    >>> from aammodel.data.samples import SampleReader
    >>> from aammodel.data.shards import open_shards
    >>> shards = open_shards(Path("shards"))
    >>> samples = SampleReader(shards, ("branch",)).read(shards.row_groups[:1])[:4]
    >>> batch = Collator(shards, token_limit=64, targets=("unweighted_unifrac",))(samples)
    >>> tuple(batch.distance.shape)
    (1, 4, 4)
    """

    shards: ShardSet
    token_limit: int
    targets: tuple[str, ...] = ()
    masking: Masking | None = None
    labels: tuple[str, ...] = ()

    def __call__(
        self, samples: Sequence[Sample], step: int = 0, others: Sequence[Sample] | None = None
    ) -> Batch:
        """Return a batch of samples.

        Parameters
        ----------
        samples : sequence of Sample, B of them
            Read with the columns that the targets need.
        step : int
            Step for which masked bases are drawn.
        others : sequence of Sample, C of them, optional
            Samples to which the distances are computed. By default the distances are between `samples`.
        """
        slots = arrange_slots(samples, self.token_limit, self.shards.manifest.num_kept_asvs)
        tokens = _without_padding(self.shards.tokens.take(slots.asv_row, axis=0))
        is_encoded, masked, masked_token = self._draw(tokens, slots.asv_row, step)
        true = pairwise_distances(self.targets, samples, others or samples, self.shards.metric_inputs)
        return Batch(
            sample_ids=tuple(sample.sample_id for sample in samples),
            tokens=torch.from_numpy(tokens),
            asv_row=torch.from_numpy(slots.asv_row),
            is_encoded=torch.from_numpy(is_encoded),
            slot=torch.from_numpy(slots.slot),
            count=torch.from_numpy(slots.count),
            is_real=torch.from_numpy(slots.is_real),
            distance=torch.from_numpy(true.astype(np.float32)),
            masked=torch.from_numpy(masked),
            masked_token=torch.from_numpy(masked_token),
            position=torch.arange(len(samples)),
            micro_batch_size=len(others or samples),
            labels=sample_labels(self.labels, samples, self.shards.metric_inputs),
        )

    def for_rank(self, samples: Sequence[Sample], step: int, rank: int, num_ranks: int) -> Batch:
        """Return the part of a micro-batch that one of several ranks takes.

        A base that is masked on several ranks, because they share an ASV, counts on the first of them only.
        A rank that gets no sample, because there are fewer samples than ranks, computes the first sample
        again and nothing of it counts. So all ranks do the same operations at each step.

        Parameters
        ----------
        samples : sequence of Sample
            The samples of all ranks.
        step, rank, num_ranks : int
        """
        if num_ranks == 1:
            return self(samples, step)
        taken = round_robin(rank, num_ranks)
        batch = self(samples[taken] or samples[:1], step, samples)
        asvs = [sample.asv[: self.token_limit] for sample in samples]
        index = np.searchsorted(np.unique(np.concatenate(asvs)), batch.asv_row.numpy())
        is_counted = torch.from_numpy(first_ranks(asvs, num_ranks)[index] == rank)
        distance, position = batch.distance, torch.arange(len(samples))[taken]
        if not len(position):
            distance, position = torch.full_like(distance, torch.nan), torch.zeros(1, dtype=torch.int64)
        masked_token = torch.where(is_counted[batch.masked[:, 0]], batch.masked_token, IGNORED)
        return replace(
            batch,
            distance=distance,
            position=position,
            masked_token=masked_token,
            is_repeated=not samples[taken],
        )

    def _draw(
        self, tokens: npt.NDArray[np.uint8], asv_row: Int64Array, step: int
    ) -> tuple[npt.NDArray[np.bool_], Int64Array, Int64Array]:
        if self.masking is not None:
            return self.masking.draw(tokens, asv_row, step)
        nothing = np.zeros((0, 2), dtype=np.int64)
        return np.ones(len(tokens), dtype=np.bool_), nothing, nothing[:, 0]


@dataclass(frozen=True)
class Slots:
    """Samples as rows of slots. B samples, S slots, U distinct ASVs."""

    asv_row: Int64Array
    """Row of each distinct ASV in asvs.parquet, ascending, shape (U,)."""
    slot: Int64Array
    """Index in `asv_row` of the ASV in each slot, shape (B, S); 0 in padding."""
    count: npt.NDArray[np.float32]
    """Reads of the ASV in each slot, shape (B, S); 0 in padding."""
    is_real: npt.NDArray[np.bool_]
    """True where a slot holds an ASV, shape (B, S)."""


def arrange_slots(samples: Sequence[Sample], token_limit: int, num_asvs: int) -> Slots:
    """Arrange samples as rows of slots, each cut to the first ASVs of its selection.

    Parameters
    ----------
    samples : sequence of Sample
    token_limit : int
        Largest number of ASVs of a sample.
    num_asvs : int
        Number of ASVs of the set; row numbers are smaller.
    """
    asvs = np.concatenate([sample.asv[:token_limit] for sample in samples], dtype=np.intp)
    counts = [sample.count[:token_limit] for sample in samples]
    sizes = np.array([len(values) for values in counts])
    distinct, index = unique_values(asvs, num_asvs)
    is_real = np.arange(sizes.max()) < sizes[:, None]
    slot, count = np.zeros(is_real.shape, dtype=np.int64), np.zeros(is_real.shape, dtype=np.float32)
    slot[is_real], count[is_real] = index, np.concatenate(counts)
    return Slots(distinct, slot, count, is_real)


_FLAGS_PER_VALUE = 2
"""With more possible values than this for each value, sorting the values is faster than flagging them."""


def unique_values(values: Int64Array, num_possible: int) -> tuple[Int64Array, npt.NDArray[np.int32]]:
    """Return the distinct values and the index of each value among them, as `np.unique` does but faster.

    Parameters
    ----------
    values : ndarray of int64, shape (N,)
        From 0 to `num_possible` - 1.
    num_possible : int
        Below 2**31.

    Returns
    -------
    distinct : ndarray of int64, shape (U,)
        In ascending order.
    index : ndarray of int32, shape (N,)
        Index of each value in `distinct`.

    Raises
    ------
    IndexError
        If a value is out of range.
    """
    # Not filled with zeros, since only entries of values that occur are written and read.
    index = np.empty(num_possible, dtype=np.int32)
    if num_possible <= _FLAGS_PER_VALUE * len(values):
        occurs = np.zeros(num_possible, dtype=np.bool_)
        occurs[values] = True
        distinct = np.flatnonzero(occurs)
    else:
        # 32 bits are sorted in half the time of 64.
        ordered = np.sort(values.astype(np.uint32))
        is_first = np.ones(len(values), dtype=np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        distinct = ordered[is_first].astype(np.int64)
    index[distinct] = np.arange(len(distinct), dtype=np.int32)
    return distinct, index[values]


def _without_padding(tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cut off the last columns if they are padding in every row."""
    if tokens[:, -1].any():
        return tokens
    return tokens[:, : np.count_nonzero(np.bitwise_or.reduce(tokens, axis=0))]
