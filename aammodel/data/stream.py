"""Stream batches of a split: read samples in order, rarefy them, and collate them, epoch after epoch."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from aammodel.batch import Batch
from aammodel.data.collate import Collator
from aammodel.data.masking import Masking
from aammodel.data.order import (
    Order,
    SampleOrder,
    bucket_by_size,
    count_batches,
    micro_batches,
    round_robin,
)
from aammodel.data.rarefy import RAREFY_COLUMNS, rarefy_sample
from aammodel.data.sample_labels import label_columns
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import columns_needed
from aammodel.sample import Sample


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Everything that decides which batches a stream yields, beside the shards and their order.

    Examples
    --------
    >>> StreamConfig(batch_size=8, targets=("braycurtis",)).accumulate
    1
    """

    batch_size: int = 16
    """Number of samples of a micro-batch, over all ranks."""
    token_limit: int | None = None
    """Largest number of ASVs of a sample. None keeps as many as the shards have."""
    targets: tuple[str, ...] = ("unweighted_unifrac",)
    """Distances that a batch has, by their names in `METRICS`. NaN where the shards lack what one needs."""
    labels: tuple[str, ...] = ()
    """Labels of samples that a batch has, by their names in `SAMPLE_LABELS`."""
    masking: Masking | None = field(default_factory=Masking)
    """How bases are masked. None masks no base and encodes every ASV."""
    seed: int = 0
    """Seed of the order of samples and of rarefaction. `Masking` has its own."""
    shuffle: bool = True
    """Whether to shuffle the samples anew in each epoch. False keeps the order of the files."""
    bucket: bool = False
    """Whether to put samples with similar numbers of ASVs into a batch, which saves padding."""
    rarefy_fraction: float = 1.0
    """Fraction of the reads of each sample to draw anew at each step. 1 keeps all reads."""
    accumulate: int = 1
    """Number of micro-batches of a step. They share the step of which masks and reads are drawn."""


@dataclass(frozen=True)
class BatchStream(IterableDataset[Batch]):
    """An endless stream of micro-batches of a split, one epoch after the other.

    The position in the stream is a number of micro-batches. So a resumed run continues without reading what
    came before. With several workers, each makes every n-th batch, so their number changes no batch.

    Parameters
    ----------
    shards : ShardSet
    split : {"train", "validation", "test"}
    config : StreamConfig
    sample_order : SampleOrder, optional
        An order of your own. By default `config` decides.
    first_batch_index : int
        Number of micro-batches to skip, over all epochs.
    rank, num_ranks : int
        Which part of each micro-batch to yield. Every rank reads all samples of it, for the distances.

    Raises
    ------
    UsageError
        If the token limit is larger than that of the shards.

    Examples
    --------
    >>> from itertools import islice
    >>> from pathlib import Path
    >>> from aammodel.data.shards import open_shards
    >>> from aammodel.data.stream import BatchStream, StreamConfig
    >>> stream = BatchStream(open_shards(Path("shards")), "train", StreamConfig(batch_size=8))
    >>> [batch.num_samples for batch in islice(stream, 2)]
    [8, 8]
    """

    shards: ShardSet
    split: str
    config: StreamConfig = StreamConfig()
    sample_order: SampleOrder | None = None
    first_batch_index: int = 0
    rank: int = 0
    num_ranks: int = 1

    def __post_init__(self) -> None:
        self.shards.resolve_token_limit(self.config.token_limit)

    @cached_property
    def order(self) -> SampleOrder:
        """The order of the samples."""
        if self.sample_order is not None:
            return self.sample_order
        return Order(self.shards.group_rows(self.split), self.config.seed, shuffled=self.config.shuffle)

    @cached_property
    def reader(self) -> SampleReader:
        """The reader of the samples, with the columns that targets and rarefaction need."""
        columns = RAREFY_COLUMNS if self.config.rarefy_fraction < 1 else ()
        # Without targets, the tree is not opened.
        if self.config.targets:
            columns += columns_needed(self.config.targets, self.shards.metric_inputs)
        if self.config.labels:
            columns += label_columns(self.config.labels, self.shards)
        return SampleReader(self.shards, columns)

    @cached_property
    def collator(self) -> Collator:
        """Makes batches of samples."""
        limit = self.shards.resolve_token_limit(self.config.token_limit)
        return Collator(self.shards, limit, self.config.targets, self.config.masking, self.config.labels)

    @property
    def token_limit(self) -> int:
        """Largest number of ASVs of a sample."""
        return self.collator.token_limit

    @property
    def batches_per_epoch(self) -> int:
        """Number of micro-batches of an epoch."""
        return count_batches(self.order.num_samples, self.config.batch_size)

    @property
    def batches_per_step(self) -> int:
        """Number of micro-batches of a step. The last step of an epoch may have fewer."""
        return min(self.config.accumulate, self.batches_per_epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps of an epoch."""
        return -(-self.batches_per_epoch // self.config.accumulate)

    def from_batch(self, first_batch_index: int) -> "BatchStream":
        """Return the stream without its first micro-batches, counted over all epochs."""
        return replace(self, first_batch_index=first_batch_index)

    def for_rank(self, rank: int, num_ranks: int) -> "BatchStream":
        """Return the stream of the part of each micro-batch that one of several ranks takes."""
        return replace(self, rank=rank, num_ranks=num_ranks)

    def __iter__(self) -> Iterator[Batch]:
        config, worker = self.config, get_worker_info()
        taken = round_robin(worker.id, worker.num_workers) if worker else round_robin(0, 1)
        batches = micro_batches(
            self.samples, self.order.num_samples, config.batch_size, self.first_batch_index
        )
        for batch in islice(batches, taken.start, None, taken.step):
            step = batch.epoch * self.steps_per_epoch + batch.index // config.accumulate
            yield self.collate(self._rarefy(batch.samples, step), step)

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, without workers."""
        return islice(iter(self), self.batches_per_epoch)

    def samples(self, epoch: int = 0, first_sample: int = 0) -> Iterator[Sample]:
        """Read the samples of one epoch in order, whole: not rarefied, and not cut to the token limit."""
        config = self.config
        for window, samples in self.reader.read_windows(self.split, self.order, epoch, first_sample):
            order = window.order
            if config.bucket:
                sizes = np.minimum([len(sample.asv) for sample in samples], self.token_limit)
                order = bucket_by_size(window, sizes, config.batch_size, config.seed, epoch)
            yield from (samples[row] for row in order[window.num_consumed :])

    def collate(self, samples: list[Sample], step: int) -> Batch:
        """Return this rank's part of a micro-batch of samples."""
        return self.collator.for_rank(samples, step, self.rank, self.num_ranks)

    def _rarefy(self, samples: list[Sample], step: int) -> list[Sample]:
        fraction, seed = self.config.rarefy_fraction, self.config.seed
        if fraction == 1:
            return samples
        paths = self.shards.root_paths
        return [rarefy_sample(sample, fraction, seed, step, paths) for sample in samples]
