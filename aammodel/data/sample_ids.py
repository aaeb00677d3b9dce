"""Sample ids of a whole shard set: none is missing, and none is there twice.

A sample that is there twice is learned twice, and another is learned never, or a test sample is learned.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import shorten

Ids = Callable[[], Iterator[tuple[str, pa.ChunkedArray]]]
"""Iterates over the files of a set: a name and some ids each time."""
_FIX = (
    "run `aamprep verify` on the folder to list all faults, then make the shards again with `aamprep shard`"
)


def check_distinct(read: Ids, num_samples: int) -> None:
    """Refuse a set with a sample id that is missing, blank or there twice.

    Only a hash of each id is kept, of 8 bytes. If two are equal, the ids are read again and compared.

    Parameters
    ----------
    read : callable
        Iterates over the ids.
    num_samples : int
        Number of all ids.

    Raises
    ------
    InvalidDataError
        With the first such id and its file.
    """
    hashes = np.empty(num_samples, dtype=np.int64)
    first = 0
    for source, ids in read():
        values = ids.to_pylist()
        check_given(values, source)
        hashes[first : first + len(values)] = np.fromiter(map(hash, values), np.int64, len(values))
        first += len(values)
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if len(repeated):
        _raise_repeated(read, repeated)


def check_given(ids: Iterable[str | None], source: str) -> None:
    """Refuse ids that are missing or blank."""
    for sample_id in ids:
        if sample_id is None or not sample_id.strip():
            raise InvalidDataError(f"column sample_id has an empty id: {sample_id!r}", source, _FIX)


def _raise_repeated(read: Ids, hashes: npt.NDArray[np.int64]) -> None:
    seen: dict[str, str] = {}
    suspects = set(hashes.tolist())
    for source, ids in read():
        for sample_id in ids.to_pylist():
            if hash(sample_id) in suspects:
                if sample_id in seen:
                    where = "twice" if seen[sample_id] == source else f"also in {seen[sample_id]}"
                    raise InvalidDataError(
                        f"column sample_id has {shorten(repr(sample_id), 80)} {where}", source, _FIX
                    )
                seen[sample_id] = source
