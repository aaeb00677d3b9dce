"""The order in which samples are read: a pure function of (row groups, seed, epoch), in integers alone.

The row groups of a split are permuted. Then the samples of a window of neighbouring row groups are shuffled
together. So reading stays sequential within a window, and a resumed run finds where it was without reading
what came before.

Samples in this order are cut into micro-batches, which all ranks share. Workers take whole micro-batches in
turn, and ranks take the samples of each micro-batch in turn (`round_robin`). So the number of workers or
ranks moves no sample to another step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from aammodel.data.hashing import hash64
from aammodel.sample import Int64Array

T = TypeVar("T")

_GROUPS, _ROWS, _BLOCKS = 1, 2, 3
"""Part of the key of each kind of permutation, so that no two kinds draw the same numbers."""


@dataclass(frozen=True)
class ShuffleWindow:
    """Row groups that are read together, and the order of their samples."""

    groups: tuple[int, ...]
    """Row groups to read, numbered within the split."""
    order: Int64Array
    """Order of the samples of these groups: indices into them, group after group."""
    first_sample: int
    """Number of samples of the epoch before this window."""
    num_consumed: int = 0
    """Number of samples at the beginning of `order` to skip."""


class SampleOrder(Protocol):
    """The order of the samples of a split. Implement it to use your own.

    It must be deterministic, since every worker and rank computes it for itself.

    Examples
    --------
    Read the row groups backwards, and drop none:

    >>> import numpy as np
    >>> class Backwards:
    ...     def __init__(self, group_rows):
    ...         self.group_rows = group_rows
    ...         self.num_samples = sum(group_rows)
    ...     def windows(self, epoch, first_sample=0):
    ...         before = 0
    ...         for group in reversed(range(len(self.group_rows))):
    ...             rows = self.group_rows[group]
    ...             if first_sample < before + rows:
    ...                 skip = max(0, first_sample - before)
    ...                 yield ShuffleWindow((group,), np.arange(rows), before, skip)
    ...             before += rows
    >>> [window.groups for window in Backwards([2, 3]).windows(epoch=0)]
    [(1,), (0,)]
    """

    @property
    def num_samples(self) -> int:
        """Number of samples of an epoch, the same in every epoch."""

    def windows(self, epoch: int, first_sample: int = 0) -> Iterator[ShuffleWindow]:
        """Yield the windows of an epoch in order, without those that end before sample `first_sample`.

        A window that `first_sample` lies in is yielded whole, with `num_consumed` samples to skip.
        """


@dataclass(frozen=True)
class Order:
    """Shuffle row groups, then samples within windows of row groups; or keep the order of the files.

    Examples
    --------
    >>> order = Order(group_rows=(2, 3), seed=0)
    >>> order.num_samples
    5
    >>> [window.groups for window in Order((2, 3), seed=0, shuffled=False).windows(epoch=0)]
    [(0, 1)]
    """

    group_rows: tuple[int, ...]
    """Number of samples of each row group of the split."""
    seed: int
    window_groups: int = 8
    """Number of row groups that are shuffled together."""
    shuffled: bool = True
    """False keeps the order of the files, as validation does."""

    @cached_property
    def num_samples(self) -> int:
        """Number of samples of an epoch."""
        return sum(self.group_rows)

    def windows(self, epoch: int, first_sample: int = 0) -> Iterator[ShuffleWindow]:
        """Yield the windows of an epoch, without those that end before sample `first_sample`.

        Parameters
        ----------
        epoch : int
        first_sample : int
            Samples of the epoch to skip. Only the first window can have samples to skip within it.
        """
        groups = self._groups(epoch)
        before = 0
        for first in range(0, len(groups), self.window_groups):
            chosen = tuple(int(group) for group in groups[first : first + self.window_groups])
            rows = sum(self.group_rows[group] for group in chosen)
            if first_sample < before + rows:
                order = (
                    permutation(rows, self.seed, epoch, _ROWS, first) if self.shuffled else np.arange(rows)
                )
                yield ShuffleWindow(chosen, order, before, max(0, first_sample - before))
            before += rows

    def _groups(self, epoch: int) -> Int64Array:
        size = len(self.group_rows)
        return permutation(size, self.seed, epoch, _GROUPS) if self.shuffled else np.arange(size)


def permutation(size: int, *key: int) -> Int64Array:
    """Return a permutation of 0 to size - 1: the same for a key on every machine and version of numpy."""
    return np.argsort(hash64(*key, values=np.arange(size)), kind="stable")


def bucket_by_size(window: ShuffleWindow, sizes: Int64Array, batch_size: int, *key: int) -> Int64Array:
    """Order a window so that the samples of a batch have similar numbers of ASVs, which saves padding.

    The samples of all whole batches within the window are sorted by size (the window's order decides among
    equals) and cut into batches. The batches come in a random order. Samples of a batch that reaches into
    another window keep their positions.

    Parameters
    ----------
    window : ShuffleWindow
    sizes : ndarray of int, shape (samples of the window,)
        Number of ASVs of each sample of its row groups, group after group.
    batch_size : int
    key : int
        Key of the random order of the batches, such as a seed and an epoch.

    Returns
    -------
    ndarray of int64, shape (samples of the window,)
        The order to use in place of `window.order`.
    """
    order = window.order
    lead = min(len(order), -window.first_sample % batch_size)
    num_blocks = (len(order) - lead) // batch_size
    middle = slice(lead, lead + num_blocks * batch_size)
    by_size = order[middle][np.argsort(sizes[order[middle]], kind="stable")].reshape(-1, batch_size)
    drawn = by_size[permutation(num_blocks, *key, _BLOCKS, window.first_sample)]
    return np.concatenate([order[:lead], drawn.reshape(-1), order[middle.stop :]])


@dataclass(frozen=True)
class MicroBatch(Generic[T]):
    """Samples that go through the model together, over all ranks."""

    epoch: int
    index: int
    """Index of the micro-batch in its epoch."""
    samples: list[T]


def count_batches(num_samples: int, batch_size: int) -> int:
    """Return the number of batches of an epoch. All are full but the last."""
    return -(-num_samples // batch_size)


def micro_batches(
    read: Callable[[int, int], Iterable[T]], num_samples: int, batch_size: int, first_batch_index: int = 0
) -> Iterator[MicroBatch[T]]:
    """Cut samples into micro-batches, epoch after epoch without end.

    Parameters
    ----------
    read : callable
        Takes an epoch and the number of its samples to skip, and returns the other samples in order.
    num_samples : int
        Number of samples of an epoch.
    batch_size : int
    first_batch_index : int
        Number of micro-batches to skip, counted over all epochs.

    Raises
    ------
    ValueError
        If an epoch has another number of samples.
    """
    first_epoch, index = divmod(first_batch_index, count_batches(num_samples, batch_size))
    for epoch in count(first_epoch):
        waiting: list[T] = []
        number = index * batch_size
        for sample in read(epoch, number):
            number += 1
            waiting.append(sample)
            if len(waiting) == batch_size or number == num_samples:
                yield MicroBatch(epoch, index, waiting)
                waiting, index = [], index + 1
        if number != num_samples:
            raise ValueError(
                f"the order has {num_samples} samples in an epoch, and epoch {epoch} had {number}"
            )
        index = 0


def first_ranks(asvs: Sequence[npt.NDArray[np.integer]], num_ranks: int) -> Int64Array:
    """Return the rank that holds each distinct ASV of a micro-batch in its earliest sample.

    Parameters
    ----------
    asvs : sequence of ndarray of int, one per sample
        ASVs of each sample of the micro-batch.
    num_ranks : int
        Number of ranks that take the samples in turn.

    Returns
    -------
    ndarray of int64, shape (distinct ASVs,)
        A rank for each ASV, in ascending order of the ASVs.
    """
    _, first = np.unique(np.concatenate(asvs), return_index=True)
    sample = np.searchsorted(np.cumsum([len(rows) for rows in asvs]), first, side="right")
    return sample % num_ranks


def round_robin(index: int, number: int) -> slice:
    """Return the part of a list that one of `number` workers or ranks takes: every `number`-th item."""
    return slice(index, None, number)
