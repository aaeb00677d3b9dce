"""In which order samples are read: a pure function of (manifest, seed, epoch), in integers alone.

Row groups are permuted over the whole split; then the rows of a window of neighbouring groups are shuffled
together. So reading stays sequential within a window, and a place in the epoch is found without reading what
came before.

What is read is cut into micro-batches over all ranks. Workers take micro-batches in turn, and ranks take the
rows of each in turn (`round_robin`): how many there are of either moves no sample to another step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from aammodel.data.hashing import hash64

T = TypeVar("T")
Integers = npt.NDArray[np.int64]

_GROUPS, _ROWS, _BLOCKS = 1, 2, 3  # what a permutation is for, so that no two share their numbers


@dataclass(frozen=True)
class Window:
    """Row groups that are read together, and the order of their rows."""

    groups: tuple[int, ...]
    """Row groups to read, numbered over all files of the split."""
    order: Integers
    """A permutation of the rows of these groups, one after the other."""
    first: int
    """Samples of the epoch before this window."""
    start: int
    """How many of the first of `order` were consumed already."""


@dataclass(frozen=True)
class MicroBatch(Generic[T]):
    """Samples that go through the model together, over all ranks."""

    epoch: int
    index: int
    """Its number in the epoch."""
    samples: list[T]


def permutation(size: int, *key: int) -> Integers:
    """Permute 0 to size - 1 under a key: the same on every machine and for every version of numpy."""
    return np.argsort(hash64(*key, values=np.arange(size)), kind="stable")


@dataclass(frozen=True)
class Order:
    """The order of a split's samples."""

    group_rows: tuple[int, ...]
    """Rows of each row group, over all files of the split."""
    seed: int
    window_groups: int = 8
    """Row groups shuffled together."""
    shuffled: bool = True
    """False keeps the order of the files, as validation does."""

    @cached_property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return sum(self.group_rows)

    def windows(self, epoch: int, start: int = 0) -> Iterator[Window]:
        """Give the windows of an epoch, without the first `start` samples.

        Parameters
        ----------
        epoch : int
        start : int
            Samples of this epoch that were consumed already.

        Yields
        ------
        Window
            All those that hold a sample that is left; only the first may begin in its middle.
        """
        groups = self._groups(epoch)
        before = 0
        for first in range(0, len(groups), self.window_groups):
            chosen = tuple(int(group) for group in groups[first : first + self.window_groups])
            rows = sum(self.group_rows[group] for group in chosen)
            if start < before + rows:
                order = (
                    permutation(rows, self.seed, epoch, _ROWS, first) if self.shuffled else np.arange(rows)
                )
                yield Window(chosen, order, before, max(0, start - before))
            before += rows

    def with_like_sizes_together(
        self, window: Window, sizes: Integers, batch_size: int, epoch: int
    ) -> Integers:
        """Order a window so that the samples of a batch have about as many ASVs each, and little is padding.

        Whole batches within the window are filled in ascending order of size (the window's order decides
        among equals), and come in an order that is drawn. Rows of a batch that lies in two windows stay.

        Parameters
        ----------
        window : Window
        sizes : ndarray of int, shape (rows of the window,)
            ASVs of each row of its groups, one group after the other.
        batch_size : int
        epoch : int

        Returns
        -------
        ndarray of int64, shape (rows of the window,)
            A permutation, in place of `window.order`.
        """
        order = window.order
        lead = min(len(order), -window.first % batch_size)
        num_blocks = (len(order) - lead) // batch_size
        middle = slice(lead, lead + num_blocks * batch_size)
        by_size = order[middle][np.argsort(sizes[order[middle]], kind="stable")].reshape(-1, batch_size)
        drawn = by_size[permutation(num_blocks, self.seed, epoch, _BLOCKS, window.first)]
        return np.concatenate([order[:lead], drawn.reshape(-1), order[middle.stop :]])

    def _groups(self, epoch: int) -> Integers:
        size = len(self.group_rows)
        return permutation(size, self.seed, epoch, _GROUPS) if self.shuffled else np.arange(size)


def batch_sizes(num_samples: int, batch_size: int) -> Sequence[int]:
    """Cut an epoch into batches: all full but the last."""
    return [min(batch_size, num_samples - start) for start in range(0, num_samples, batch_size)]


def micro_batches(
    read: Callable[[int, int], Iterable[T]], num_samples: int, batch_size: int, start: int = 0
) -> Iterator[MicroBatch[T]]:
    """Cut what is read into micro-batches, one epoch after the other without end.

    Parameters
    ----------
    read : callable
        Takes an epoch and how many of its samples to leave out, and gives the others in order.
    num_samples, batch_size : int
    start : int
        Micro-batches consumed already, over all epochs.
    """
    first_epoch, index = divmod(start, len(batch_sizes(num_samples, batch_size)))
    for epoch in count(first_epoch):
        waiting: list[T] = []
        for number, sample in enumerate(read(epoch, index * batch_size), index * batch_size + 1):
            waiting.append(sample)
            if len(waiting) == batch_size or number == num_samples:
                yield MicroBatch(epoch, index, waiting)
                waiting, index = [], index + 1
        index = 0


def first_ranks(lists: Sequence[npt.NDArray[np.integer]], parts: int) -> Integers:
    """Find which of several ranks is the first to meet each of the things that samples share.

    Parameters
    ----------
    lists : sequence of ndarray of int, one per sample
        What each sample of a micro-batch holds.
    parts : int
        Ranks that take the samples in turn.

    Returns
    -------
    ndarray of int64, shape (distinct things,)
        A rank for each, in ascending order of the things.
    """
    _, first = np.unique(np.concatenate(lists), return_index=True)
    sample = np.searchsorted(np.cumsum([len(one) for one in lists]), first, side="right")
    return sample % parts


def round_robin(part: int, parts: int) -> slice:
    """Say what one of several workers, or ranks, takes of a list: each takes every n-th."""
    return slice(part, None, parts)
