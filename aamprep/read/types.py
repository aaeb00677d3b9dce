"""Data that the readers return: one class for each role of an input file."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aam_schemas.common.ids import without_control
from aam_schemas.manifest import InputFile


@dataclass(frozen=True)
class CountTable:
    """A feature table in compressed sparse form, by sample.

    The entries of sample i are `indptr[i]` to `indptr[i + 1]` in `feature` and `count`. These arrays may be
    memory-mapped, so read them in slices.
    """

    source: InputFile
    study: str
    """Name of the study: that of the file, or of its folder if the file has a generic name."""
    sample_ids: tuple[str, ...]
    feature_ids: tuple[str, ...]
    indptr: npt.NDArray[np.int64]
    """Offsets of the samples, shape (samples + 1,)."""
    feature: npt.NDArray[np.int32]
    """Index into `feature_ids` of each entry, shape (entries,). Unordered within a sample. A feature can
    occur twice."""
    count: npt.NDArray[np.float64]
    """Reads of each entry as in the file, shape (entries,). Can be zero, negative, NaN or infinite."""
    with_bad_counts: frozenset[str] = frozenset()
    """Ids of the samples with negative, NaN, infinite or too large counts."""
    in_order: bool = False
    """Whether the entries of each sample are in order of selection already, as in a shard set."""

    @property
    def path(self) -> str:
        """Path of the file as given by the user."""
        return self.source.name


@dataclass(frozen=True)
class Sequences:
    """Sequences of features."""

    source: InputFile
    by_id: dict[str, str]
    """Sequences by feature id, as written in the file: in either case, with U or T."""


@dataclass(frozen=True)
class Tree:
    """A phylogeny. Node 0 is the root, and parents precede their children."""

    source: InputFile
    parent: npt.NDArray[np.int64]
    """Node number of the parent of each node, -1 for the root. Shape (nodes,)."""
    length: npt.NDArray[np.float64]
    """Length of the branch above each node, NaN if the file gives none. Shape (nodes,)."""
    names: tuple[str, ...]
    """Name of each node without quotes, empty if it has none."""

    @cached_property
    def num_children(self) -> npt.NDArray[np.int64]:
        """Number of children of each node, 0 for a tip. Shape (nodes,)."""
        return np.bincount(self.parent[1:], minlength=len(self.parent))

    @cached_property
    def tips(self) -> dict[str, int]:
        """Node number of each tip by name. A name that several tips have is left out."""
        tips = np.flatnonzero(self.num_children == 0).tolist()
        number = Counter(self.names[tip] for tip in tips)
        return {self.names[tip]: tip for tip in tips if number[self.names[tip]] == 1}


@dataclass(frozen=True)
class Metadata:
    """Sample metadata: text cells, with a type for each column."""

    source: InputFile
    ids: tuple[str, ...]
    columns: dict[str, tuple[str | None, ...]]
    """Cells of each column in the order of `ids`, as text. None if missing."""
    types: dict[str, str]
    """Type of each column: numeric or categorical."""

    def stored_names(self) -> dict[str, str]:
        """Return the name of each column in the shards, where `sample_id` holds the sample ids.

        A column of this name gets another one that no other column has.
        """
        names = {name: name for name in self.columns}
        if "sample_id" in names:
            free = (f"metadata_sample_id{number}" for number in ("", *range(2, len(names) + 2)))
            names["sample_id"] = next(name for name in free if name not in names)
        return names


@dataclass(frozen=True)
class Distances:
    """A precomputed distance matrix."""

    source: InputFile
    ids: tuple[str, ...]
    matrix: npt.NDArray[np.float64]
    """Distances, shape (ids, ids)."""


@dataclass(frozen=True)
class Taxonomy:
    """Taxa of features."""

    source: InputFile
    by_id: dict[str, str]
    """Taxon by feature id, such as `k__Bacteria; p__Firmicutes`."""


def study_name(path: Path) -> str:
    """Return the name of a study: that of its file, or of the folder if the file is called `table.biom`."""
    stem = path.name.split(".")[0]
    is_generic = stem in ("table", "feature-table", "")
    return without_control((path.absolute().parent.name or "study") if is_generic else stem)
