"""What the readers give: one frozen type for each thing that a researcher has."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aam_schemas.manifest import InputFile


@dataclass(frozen=True)
class CountTable:
    """A feature table, sample by sample.

    Sample i has the entries `indptr[i]` to `indptr[i + 1]` of `feature` and `count`. The arrays may be
    memory-mapped, so take slices of them and never the whole.
    """

    source: InputFile
    study: str
    """Name of the study: the file's name, or its folder's where that says nothing."""
    sample_ids: tuple[str, ...]
    feature_ids: tuple[str, ...]
    indptr: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int32]
    """Position in `feature_ids` of each entry; in no particular order within a sample, and possibly twice."""
    count: npt.NDArray[np.float64]
    """Reads of each entry as the file has them: zero, negative, NaN and infinite ones, too."""
    in_order: bool = False
    """Whether the entries of a sample lie in its order of selection already, as in a shard set."""

    @property
    def path(self) -> str:
        """The file, as the user named it."""
        return self.source.name


@dataclass(frozen=True)
class Sequences:
    """Sequences by feature id, as written in the file (case and U not yet folded)."""

    source: InputFile
    by_id: dict[str, str]


@dataclass(frozen=True)
class Tree:
    """A phylogeny, parents before children; node 0 is the root."""

    source: InputFile
    parent: npt.NDArray[np.int64]
    """Node number of the parent; -1 at the root."""
    length: npt.NDArray[np.float64]
    """Length of the branch above each node; NaN where the file gives none."""
    names: tuple[str, ...]
    """Names of all nodes as read, quotes removed; empty where there is none."""

    @cached_property
    def num_children(self) -> npt.NDArray[np.int64]:
        """Children of each node; 0 for a tip."""
        return np.bincount(self.parent[1:], minlength=len(self.parent))

    @cached_property
    def tips(self) -> dict[str, int]:
        """Node number of each tip by its name (the first, where a name occurs twice)."""
        tips = np.flatnonzero(self.num_children == 0)
        return {self.names[tip]: int(tip) for tip in tips[::-1]}


@dataclass(frozen=True)
class Metadata:
    """A table of text about samples, with a type for each column."""

    source: InputFile
    ids: tuple[str, ...]
    columns: dict[str, tuple[str | None, ...]]
    """Cells as text, None where missing, in the order of `ids`."""
    types: dict[str, str]
    """numeric or categorical, by column."""


@dataclass(frozen=True)
class Distances:
    """A precomputed distance matrix."""

    source: InputFile
    ids: tuple[str, ...]
    matrix: npt.NDArray[np.float64]
    """Shape (N, N)."""


@dataclass(frozen=True)
class Taxonomy:
    """The taxon of each feature, as text such as `k__Bacteria; p__Firmicutes`."""

    source: InputFile
    by_id: dict[str, str]


def study_name(path: Path) -> str:
    """Name a study after its file, or after the folder where the file's name says nothing (`table.biom`)."""
    stem = path.name.split(".")[0]
    plain = stem in ("table", "feature-table", "")
    return (path.absolute().parent.name or "study") if plain else stem
