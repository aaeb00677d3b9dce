"""Shard sets in Python: tables as data frames, tree and distances as scikit-bio objects."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.text import as_argument
from aam_schemas.manifest import Manifest, ShardFile, read_manifest
from aam_schemas.shards import (
    ASVS_FILE,
    DISTANCES_FILE,
    METADATA_FILE,
    REJECTED_FILE,
    SPLITS,
    TREE_FILE,
)
from aamprep.arrow import list_sizes, list_values
from aamprep.read.npy import open_npy
from aamprep.shards.stored import Entries, branches_of, entries, matrix_problem, open_listed
from aamprep.tree.branches import tree_problems

if TYPE_CHECKING:
    import biom
    import polars as pl
    import skbio


@dataclass(frozen=True, repr=False)
class ShardSet:
    """A shard set on disk. Files are read when a method needs them.

    Parameters
    ----------
    path : Path
        Folder of the shard set.
    manifest : Manifest
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> "ShardSet":
        """Open a shard set and check its manifest. See `aamprep.open_shards`."""
        path = Path(folder)
        return cls(path, read_manifest(path))

    def samples(self, split: str | None = None, columns: list[str] | None = None) -> "pl.DataFrame":
        """Read the samples.

        Parameters
        ----------
        split : str, optional
            train, validation or test. By default, all samples are read, in the order of the manifest.
        columns : list of str, optional
            Columns to read. By default, all columns are read, and a column `split` is added.

        Returns
        -------
        polars.DataFrame
            One row per sample. The lists `asv` and `dropped_asv` contain row indices of `asvs()`.

        Raises
        ------
        UsageError
            If there is no such split.
        """
        if split is not None and split not in SPLITS:
            raise UsageError(f"there is no split {split!r}", "split", f"give one of: {', '.join(SPLITS)}")
        import polars as pl

        files = [file for file in self.manifest.files if file.split and split in (None, file.split)]
        parts = [self._samples_of(file, columns) for file in files]
        return pl.concat(parts) if parts else pl.DataFrame()

    def asvs(self, columns: list[str] | None = None) -> "pl.DataFrame":
        """Read the ASVs, one row each: id, aliases, sequence, tokens, prevalence, total count of reads."""
        return self._frame(ASVS_FILE, columns)

    def metadata(self) -> "pl.DataFrame | None":
        """Read the metadata, one row per sample in the order of `samples()`. None if there are none."""
        return self._frame(METADATA_FILE) if self._has(METADATA_FILE) else None

    def rejected(self) -> "pl.DataFrame | None":
        """Read the rejected samples and ASVs with the reasons. None if there are none."""
        return self._frame(REJECTED_FILE) if self._has(REJECTED_FILE) else None

    def tree(self) -> "skbio.TreeNode | None":
        """Read the tree, pruned to the ASVs, with ASV ids as names of the tips. None if there is none."""
        if not self._has(TREE_FILE):
            return None
        import skbio

        branches = branches_of(self._table(TREE_FILE))
        for row, problem in tree_problems(branches, self.manifest.num_asvs)[:1]:
            raise self._invalid(TREE_FILE, f"row {row}: {problem}")
        names = self._asv_ids
        nodes = [skbio.TreeNode(length=float(length)) for length in branches.length]
        for node, parent, asv in zip(nodes, branches.parent.tolist(), branches.asv.tolist(), strict=True):
            node.name = names[asv] if asv >= 0 else None
            if parent >= 0:
                nodes[parent].append(node)
        nodes[0].length = None
        return nodes[0]

    def distances(self) -> "skbio.DistanceMatrix | None":
        """Read the precomputed distances of the samples. None if there are no distances.

        Samples that were missing from the matrix when the shards were written are left out.
        """
        if not self._has(DISTANCES_FILE):
            return None
        import skbio

        problem = matrix_problem(self.path / DISTANCES_FILE, len(self))
        if problem:
            raise self._invalid(DISTANCES_FILE, problem)
        matrix = np.asarray(open_npy(self.path / DISTANCES_FILE), dtype=np.float64)
        known = np.flatnonzero(~np.isnan(np.diag(matrix)))
        ids = self._unique(self.samples(columns=["sample_id"])["sample_id"].to_list())
        return skbio.DistanceMatrix(matrix[np.ix_(known, known)], [ids[row] for row in known])

    def table(self, dropped: bool = True) -> "biom.Table":
        """Return the samples as a BIOM table of counts.

        Parameters
        ----------
        dropped : bool
            Whether to include the ASVs of a sample beyond the token limit. If not, ASVs that no sample keeps
            are rows without counts.
        """
        import biom
        import scipy.sparse as sp

        columns = ["sample_id", "asv", "count", "dropped_asv", "dropped_count"]
        samples = self.samples(columns=columns).to_arrow()
        included = entries(samples) if dropped else _kept(samples)
        if included.asv.max(initial=-1) >= self.manifest.num_asvs:
            raise self._invalid(
                "", f"a sample has the ASV of row {included.asv.max():,}, which does not exist"
            )
        shape = (len(samples), self.manifest.num_asvs)
        counts = sp.csr_matrix((included.count, included.asv, included.indptr), shape=shape)
        ids = self._unique(samples["sample_id"].to_pylist())
        return biom.Table(counts.T.tocsr(), self._unique(self._asv_ids), ids)

    def _unique(self, ids: list[str]) -> list[str]:
        """Return ids if they are complete and distinct, as tables and matrices need them."""
        if None in ids or len(set(ids)) < len(ids):
            raise self._invalid("", "an id is missing, or is there twice")
        return ids

    def _invalid(self, name: str, problem: str) -> InvalidDataError:
        fix = f"list all problems with `aamprep verify {as_argument(self.path)}`, then make the shards again"
        return InvalidDataError(problem, str(self.path / name), fix)

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.manifest.num_samples

    def __repr__(self) -> str:
        """Return the folder, the size and the token limit on one line."""
        manifest = self.manifest
        limit = f"token limit {manifest.choices.token_limit:,}"
        return f"<ShardSet {self.path}: {len(self):,} samples, {manifest.num_asvs:,} ASVs, {limit}>"

    @cached_property
    def _asv_ids(self) -> list[str]:
        return self.asvs(["asv_id"])["asv_id"].to_list()

    def _samples_of(self, file: ShardFile, columns: list[str] | None) -> "pl.DataFrame":
        import polars as pl

        frame = self._frame(file.name, columns)
        return frame if columns is not None else frame.with_columns(split=pl.lit(file.split))

    def _has(self, name: str) -> bool:
        return any(file.name == name for file in self.manifest.files)

    def _frame(self, name: str, columns: list[str] | None = None) -> "pl.DataFrame":
        import polars as pl

        return pl.DataFrame(self._table(name, columns))

    def _table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        with open_listed(self.path, self.manifest, name) as file:
            unknown = [column for column in columns or () if column not in file.schema.names]
            if unknown:
                raise UsageError(
                    f"{name} has no column {unknown[0]!r}",
                    "columns",
                    f"choose among: {', '.join(file.schema.names)}",
                )
            return file.read(columns)


def _kept(samples: pa.Table) -> Entries:
    """Return the entries of the ASVs that the token limit keeps."""
    indptr = np.concatenate([[0], np.cumsum(list_sizes(samples, "asv"))]).astype(np.int64)
    asv, count = list_values(samples, "asv"), list_values(samples, "count")
    return Entries(indptr, asv.astype(np.int64), count.astype(np.float64))
