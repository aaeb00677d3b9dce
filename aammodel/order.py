"""In which order samples are read: a pure function of (manifest, seed, epoch), in integers alone.

Row groups are permuted over the whole split; then the rows of a window of neighbouring groups are shuffled
together. So reading stays sequential within a window, and a place in the epoch is found without reading what
came before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aammodel.hashing import hash64

Integers = npt.NDArray[np.int64]

_GROUPS, _ROWS = 1, 2  # what a permutation is for, so that no two share their numbers


@dataclass(frozen=True)
class Window:
    """Row groups that are read together, and the order of their rows."""

    groups: tuple[int, ...]
    """Row groups to read, numbered over all files of the split."""
    order: Integers
    """A permutation of the rows of these groups, one after the other."""


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

    @property
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
            The first one may be cut short at its beginning.
        """
        groups = self._groups(epoch)
        for first in range(0, len(groups), self.window_groups):
            chosen = tuple(int(group) for group in groups[first : first + self.window_groups])
            rows = sum(self.group_rows[group] for group in chosen)
            if start < rows:
                order = (
                    permutation(rows, self.seed, epoch, _ROWS, first) if self.shuffled else np.arange(rows)
                )
                yield Window(chosen, order[start:])
            start = max(0, start - rows)

    def _groups(self, epoch: int) -> Integers:
        size = len(self.group_rows)
        return permutation(size, self.seed, epoch, _GROUPS) if self.shuffled else np.arange(size)


def batch_sizes(num_samples: int, batch_size: int) -> Sequence[int]:
    """Cut an epoch into batches: all full but the last."""
    return [min(batch_size, num_samples - start) for start in range(0, num_samples, batch_size)]
