"""A table on its way from its reader to the pipeline: three arrays and the ids in a folder.

The reader writes slices as it goes, so memory does not grow with the table; the pipeline maps the arrays. No
pickle is involved: arrays are .npy, the rest is JSON.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aam_schemas.common.errors import UsageError, naming_full_disk
from aamprep.arrays import LARGEST_COUNT, new_array, write_array
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule

SLICE = 1 << 18
"""Entries handled at once: small enough for the processor's cache."""

_NPY_HEADER = 128
_BAD_COUNTS = (
    (rules.COUNT_NAN, np.isnan),
    (rules.COUNT_INFINITE, np.isinf),
    (rules.COUNT_NEGATIVE, lambda count: count < 0),
    (rules.COUNT_TOO_LARGE, lambda count: (count > LARGEST_COUNT) & np.isfinite(count)),
)


class TableWriter:
    """Writes a table, sample by sample, into a folder.

    Parameters
    ----------
    folder : Path
        An empty folder.
    sample_ids, feature_ids : list of str
    indptr : ndarray of int64, shape (samples + 1,)
        Checked: starts at 0, never falls.
    """

    def __init__(
        self, folder: Path, sample_ids: list[str], feature_ids: list[str], indptr: npt.NDArray[np.int64]
    ) -> None:
        self.folder, self.indptr = folder, indptr
        self.sample_ids, self.feature_ids = sample_ids, feature_ids
        write_array(folder / "indptr.npy", indptr)
        self._feature = new_array(folder / "feature.npy", np.dtype(np.int32), (int(indptr[-1]),))
        self._count = new_array(folder / "count.npy", np.dtype(np.float64), (int(indptr[-1]),))
        self._written = 0
        self._bad: dict[tuple[Rule, int], tuple[str, int]] = {}

    def write(self, feature: npt.NDArray[Any], count: npt.NDArray[np.float64]) -> None:
        """Write the next entries."""
        if not ((count >= 0) & (count <= LARGEST_COUNT)).all():
            self._gather_bad(self._written, feature, count)
        self._feature.write(feature.astype(np.int32).tobytes())
        self._count.write(count.tobytes())
        self._written += len(count)

    def finish(self, where: str, findings: Findings) -> None:
        """Write the ids, and report the counts that are none, sample by sample."""
        self._feature.close()
        self._count.close()
        for (rule, sample), (first, number) in self._bad.items():
            more = f" and {number - 1:,} more" if number > 1 else ""
            findings.add(rule, f"{where}: sample {self.sample_ids[sample]}", first + more)
        ids = {"samples": self.sample_ids, "features": self.feature_ids}
        (self.folder / "ids.json").write_text(json.dumps(ids), encoding="utf-8")

    def _gather_bad(self, start: int, feature: npt.NDArray[Any], count: npt.NDArray[Any]) -> None:
        for rule, test in _BAD_COUNTS:
            entries = np.flatnonzero(test(count))
            samples = np.searchsorted(self.indptr, start + entries, side="right") - 1
            found, first, number = np.unique(samples, return_index=True, return_counts=True)
            for sample, entry, total in zip(found.tolist(), entries[first], number.tolist(), strict=True):
                words = f"{count[entry]:.16g} in {self.feature_ids[feature[entry]]}"
                known, before = self._bad.get((rule, sample), (words, 0))
                self._bad[rule, sample] = known, before + total


def load(folder: Path) -> dict[str, Any]:
    """Map the arrays of a finished table, and read its ids.

    Returns
    -------
    dict
        `sample_ids`, `feature_ids`, `indptr`, `feature` and `count`. The arrays stay usable after the folder
        is removed: the system keeps a mapped file until its last map is gone.
    """
    ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
    return {
        "sample_ids": tuple(ids["samples"]),
        "feature_ids": tuple(ids["features"]),
        "indptr": np.load(folder / "indptr.npy"),
        "feature": _map(folder / "feature.npy"),
        "count": _map(folder / "count.npy"),
    }


def as_counts(stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn stored numbers into counts, so that a whole number too large to be exact is still seen as such."""
    counts = stored.astype(np.float64)
    if stored.dtype.kind in "iu" and stored.dtype.itemsize == 8:
        large = stored > int(LARGEST_COUNT)
        counts[large] = np.maximum(counts[large], LARGEST_COUNT + 2)
    return counts


def check_ids(ids: list[str], kind: str, where: str, findings: Findings) -> None:
    """Report empty and duplicated ids; kind is sample or feature."""
    empty, twice = {
        "sample": (rules.SAMPLE_ID_EMPTY, rules.SAMPLE_ID_DUPLICATE),
        "feature": (rules.FEATURE_ID_EMPTY, rules.FEATURE_ID_DUPLICATE),
    }[kind]
    first: dict[str, int] = {}
    for position, one in enumerate(ids):
        if not one.strip():
            findings.add(empty, f"{where}: {kind} {position + 1}", repr(one))
        elif one in first:
            findings.add(twice, f"{where}: {kind} {one}", f"{kind}s {first[one] + 1} and {position + 1}")
        first.setdefault(one, position)


def check_indptr(indptr: npt.NDArray[np.int64], num_rows: int, num_entries: int, where: str) -> None:
    """Refuse an indptr that does not cut `num_entries` entries into `num_rows` rows.

    Raises
    ------
    RefusedError
        Names the position.
    """
    if len(indptr) != num_rows + 1:
        raise RefusedError(rules.BIOM_LENGTH, where, f"{len(indptr):,} numbers for {num_rows:,} ids")
    if indptr[0] != 0:
        raise RefusedError(rules.BIOM_INDPTR, f"{where}[0]", indptr[0])
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if len(falls):
        at = int(falls[0]) + 1
        raise RefusedError(rules.BIOM_INDPTR, f"{where}[{at}]", f"{indptr[at]} after {indptr[at - 1]}")
    if indptr[-1] != num_entries:
        raise RefusedError(
            rules.BIOM_INDPTR, f"{where}[{num_rows}]", f"{indptr[-1]}; there are {num_entries} entries"
        )


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that goes at the end.

    Raises
    ------
    UsageError
        If no disk takes temporary files, or the one that does is full.
    """
    fix = "free some space there, or set TMPDIR to a folder on another disk"
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError("no folder takes temporary files", str(error.strerror), fix) from error
    with naming_full_disk(place, fix), tempfile.TemporaryDirectory(prefix="aamprep-") as folder:
        yield Path(folder)


def _map(path: Path) -> npt.NDArray[Any]:
    has_entries = path.stat().st_size > _NPY_HEADER  # what has none cannot be mapped
    return np.load(path, mmap_mode="r" if has_entries else None)
