"""Tables in transit from a reader to the pipeline: three arrays and the ids in a temporary folder.

The reader writes slices, and the pipeline maps the arrays into memory, so the memory does not grow with the
table. The arrays are .npy files and the ids JSON. Pickle is not used, since it could run code of a malicious
file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aamprep.arrays import LARGEST_COUNT, new_array, write_array
from aamprep.read.content import map_array
from aamprep.read.ids import refuse_control
from aamprep.read.invisible import report_in_ids
from aamprep.read.maxima import MOST_ENTRIES, MOST_SAMPLES
from aamprep.read.source import RefusedError
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule

SLICE = 1 << 18
"""Number of entries read and checked at a time. It is small enough for the processor cache."""

_INVALID_COUNTS = (
    (rules.COUNT_NAN, np.isnan),
    (rules.COUNT_INFINITE, np.isinf),
    (rules.COUNT_NEGATIVE, lambda count: count < 0),
    (rules.COUNT_TOO_LARGE, lambda count: (count > LARGEST_COUNT) & np.isfinite(count)),
)


class TableWriter:
    """Write a table to a folder, sample by sample.

    Parameters
    ----------
    folder : Path
        Empty folder.
    sample_ids, feature_ids : sequence of str
    indptr : ndarray of int64, shape (samples + 1,)
        Offsets of the samples. They start at 0 and never decrease.
    """

    def __init__(
        self,
        folder: Path,
        sample_ids: list[str],
        feature_ids: Sequence[str],
        indptr: npt.NDArray[np.int64],
    ) -> None:
        self.folder, self.indptr = folder, indptr
        self.sample_ids, self.feature_ids = sample_ids, feature_ids
        write_array(folder / "indptr.npy", indptr)
        self._feature = new_array(folder / "feature.npy", np.dtype(np.int32), (int(indptr[-1]),))
        self._count = new_array(folder / "count.npy", np.dtype(np.float64), (int(indptr[-1]),))
        self._written = 0
        self._invalid: dict[tuple[Rule, int], tuple[str, int]] = {}

    def write(self, feature: npt.NDArray[Any], count: npt.NDArray[np.float64]) -> None:
        """Append entries.

        Parameters
        ----------
        feature : ndarray of int, shape (entries,)
            Index of the feature of each entry.
        count : ndarray of float64, shape (entries,)
        """
        if not ((count >= 0) & (count <= LARGEST_COUNT)).all():
            self._collect_invalid(self._written, feature, count)
        self._feature.write(feature.astype(np.int32).tobytes())
        self._count.write(count.tobytes())
        self._written += len(count)

    def finish(self, where: str, findings: Findings) -> None:
        """End the table, and write the ids."""
        bad = self.end(where, findings)
        ids = {"samples": self.sample_ids, "features": self.feature_ids, "with_bad_counts": bad}
        (self.folder / "ids.json").write_text(json.dumps(ids), encoding="utf-8")

    def end(self, where: str, findings: Findings) -> list[str]:
        """Close the files, add a finding for each sample with invalid counts, and return their ids."""
        self.close()
        for (rule, sample), (first, number) in self._invalid.items():
            more = f" and {number - 1:,} more" if number > 1 else ""
            findings.add(rule, f"{where}: sample {self.sample_ids[sample]}", first + more)
        return sorted({self.sample_ids[sample] for _, sample in self._invalid})

    def close(self) -> None:
        """Close the files. `end` and `finish` close them, too."""
        self._feature.close()
        self._count.close()

    def _collect_invalid(self, start: int, feature: npt.NDArray[Any], count: npt.NDArray[Any]) -> None:
        for rule, test in _INVALID_COUNTS:
            entries = np.flatnonzero(test(count))
            samples = np.searchsorted(self.indptr, start + entries, side="right") - 1
            affected, first, number = np.unique(samples, return_index=True, return_counts=True)
            for sample, entry, total in zip(affected.tolist(), entries[first], number.tolist(), strict=True):
                example = f"{count[entry]:.16g} in {self.feature_ids[feature[entry]]}"
                known, before = self._invalid.get((rule, sample), (example, 0))
                self._invalid[rule, sample] = known, before + total


def load(folder: Path) -> dict[str, Any]:
    """Map the arrays of a finished table into memory, and read its ids.

    Returns
    -------
    dict
        `sample_ids`, `feature_ids`, `with_bad_counts`, `indptr`, `feature` and `count`, as in `CountTable`.
        The arrays remain usable after the folder is removed: the system keeps a file while it is mapped.
    """
    ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
    return {
        "sample_ids": tuple(ids["samples"]),
        "feature_ids": tuple(ids["features"]),
        "with_bad_counts": frozenset(ids["with_bad_counts"]),
        **load_arrays(folder),
    }


def load_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Map `indptr`, `feature` and `count` of a finished table into memory."""
    return {
        "indptr": np.load(folder / "indptr.npy"),
        "feature": map_array(folder / "feature.npy"),
        "count": map_array(folder / "count.npy"),
    }


def as_counts(stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Convert stored numbers to float64 counts. Integers above 2^53 stay above it, so they are reported."""
    counts = stored.astype(np.float64)
    if stored.dtype.kind in "iu" and stored.dtype.itemsize == 8:
        # 2^53 + 1 would be rounded to 2^53, which is valid.
        large = stored > int(LARGEST_COUNT)
        counts[large] = np.maximum(counts[large], LARGEST_COUNT + 2)
    return counts


def refuse_too_many(num_samples: int, num_features: int, where: str) -> None:
    """Raise RefusedError if a table has more samples or features than can be prepared."""
    if num_samples > MOST_SAMPLES:
        raise RefusedError(rules.FILE_TOO_MANY, where, f"{num_samples:,} samples")
    if num_features > MOST_ENTRIES:
        raise RefusedError(rules.FILE_TOO_MANY, where, f"{num_features:,} features")


def check_ids(ids: list[str], kind: str, where: str, findings: Findings) -> None:
    """Add a finding for each empty or duplicate id. `kind` is sample or feature.

    Raises
    ------
    RefusedError
        If an id contains control characters.
    """
    empty, duplicate = {
        "sample": (rules.SAMPLE_ID_EMPTY, rules.SAMPLE_ID_DUPLICATE),
        "feature": (rules.FEATURE_ID_EMPTY, rules.FEATURE_ID_DUPLICATE),
    }[kind]
    refuse_control(ids, f"{where}: {kind} ids")
    report_in_ids(ids, f"{where}: {kind} ids", findings)
    first: dict[str, int] = {}
    for index, name in enumerate(ids):
        if not name.strip():
            findings.add(empty, f"{where}: {kind} {index + 1}", repr(name))
        elif name in first:
            findings.add(duplicate, f"{where}: {kind} {name}", f"{kind}s {first[name] + 1} and {index + 1}")
        first.setdefault(name, index)


def check_indptr(indptr: npt.NDArray[np.int64], num_rows: int, num_entries: int, where: str) -> None:
    """Check that an indptr divides `num_entries` entries into `num_rows` rows.

    Raises
    ------
    RefusedError
        If it does not, with the position of the first invalid value.
    """
    if len(indptr) != num_rows + 1:
        raise RefusedError(rules.BIOM_LENGTH, where, f"{len(indptr):,} numbers for {num_rows:,} ids")
    if indptr[0] != 0:
        raise RefusedError(rules.BIOM_INDPTR, f"{where}[0]", indptr[0])
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if len(falls):
        first = int(falls[0]) + 1
        value = f"{indptr[first]} after {indptr[first - 1]}"
        raise RefusedError(rules.BIOM_INDPTR, f"{where}[{first}]", value)
    if indptr[-1] != num_entries:
        raise RefusedError(
            rules.BIOM_INDPTR, f"{where}[{num_rows}]", f"{indptr[-1]}; there are {num_entries} entries"
        )
