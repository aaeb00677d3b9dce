"""Read the files of a shard set. Samples come in sparse form, a few row groups at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.text import shorten
from aam_schemas.footer import expected_schema
from aam_schemas.manifest import MANIFEST_FILE, InputFile, Manifest
from aam_schemas.parquet import ParquetReader, open_shard_file
from aam_schemas.shards import ASVS_FILE
from aamprep.arrays import Int64Array
from aamprep.arrow import list_sizes, list_values
from aamprep.read.npy import open_npy
from aamprep.tree.branches import Branches

BYTES_AT_ONCE = 16 << 20
"""Size of the values that are read together: of several row groups, or of one that is larger."""

_HEAD = ["sample_id", "study", "num_asvs", "depth_before_rarefaction"]


@dataclass(frozen=True)
class Entries:
    """Kept and dropped ASVs of samples, in order of selection and in CSR form.

    Sample i has the entries `indptr[i]` to `indptr[i + 1]`.
    """

    indptr: Int64Array
    asv: Int64Array
    """Row of asvs.parquet of each entry."""
    count: npt.NDArray[np.float64]

    @property
    def row(self) -> Int64Array:
        """Index of each entry's sample."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def open_listed(folder: Path, manifest: Manifest, name: str) -> ParquetReader:
    """Open a Parquet file of a shard set, and compare its footer with the manifest.

    Raises
    ------
    InvalidDataError
        See `aam_schemas.parquet.open_shard_file`.
    """
    listed = next(file for file in manifest.files if file.name == name)
    return open_shard_file(folder / name, listed, expected_schema(manifest, listed))


def entries(samples: pa.Table) -> Entries:
    """Return the entries of samples. In each sample, the kept ASVs come before the dropped ones."""
    row, asv, count = [], [], []
    for asv_column, count_column in (("asv", "count"), ("dropped_asv", "dropped_count")):
        row.append(np.repeat(np.arange(len(samples)), list_sizes(samples, asv_column)))
        asv.append(list_values(samples, asv_column).astype(np.int64))
        count.append(list_values(samples, count_column).astype(np.float64))
    rows = np.concatenate(row)
    order = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[order], np.arange(len(samples) + 1))
    return Entries(indptr, np.concatenate(asv)[order], np.concatenate(count)[order])


def branches_of(tree: pa.Table) -> Branches:
    """Convert the rows of tree.parquet to branches. Nulls become -1."""
    rows = {name: tree[name].cast(pa.int64()).fill_null(-1).to_numpy() for name in ("parent", "asv")}
    return Branches(length=tree["length"].to_numpy(), parent=rows["parent"], asv=rows["asv"])


def matrix_problem(path: Path, num_samples: int) -> str:
    """Return the problem of a distance matrix, or an empty text. NaN marks samples without distances."""
    try:
        matrix = open_npy(path)
    except ValueError as error:
        return f"not a .npy file: {shorten(error)}"
    if matrix.shape != (num_samples, num_samples) or matrix.dtype.kind != "f":
        return f"{shorten(matrix.dtype)}, shape {shorten(matrix.shape)}; there are {num_samples:,} samples"
    for row in range(num_samples):
        values = np.asarray(matrix[row])
        if (values < 0).any() or np.isinf(values).any():
            return f"row {row} has a negative or infinite distance"
        if values[row] > 0:
            return f"row {row} has a distance of {values[row]:g} to itself"
        if not np.array_equal(values, matrix[:, row], equal_nan=True):
            return f"row {row} and column {row} differ"
    return ""


@dataclass(frozen=True)
class StoredSet:
    """A verified shard set that is to be merged."""

    folder: Path
    manifest: Manifest
    prefix_samples: bool
    """Whether to name samples `STUDY.SAMPLE`."""

    @property
    def name(self) -> str:
        """Name of the set in messages."""
        return str(self.folder)

    @cached_property
    def head(self) -> pa.Table:
        """Id, study, number of ASVs, depth before rarefaction and split of each sample, in manifest order."""
        files = [file for file in self.manifest.files if file.split]
        parts = []
        for file in files:
            table = self._read(file.name, _HEAD)
            parts.append(table.append_column("split", pa.array([file.split] * len(table), pa.string())))
        return pa.concat_tables(parts)

    @cached_property
    def sample_ids(self) -> list[str]:
        """Sample ids in the merged set, in manifest order."""
        ids, studies = self.head["sample_id"].to_pylist(), self.head["study"].to_pylist()
        if not self.prefix_samples:
            return ids
        return [f"{study}.{sample_id}" for study, sample_id in zip(studies, ids, strict=True)]

    @cached_property
    def asvs(self) -> pa.Table:
        """Rows of asvs.parquet, without the tokens."""
        with open_listed(self.folder, self.manifest, ASVS_FILE) as file:
            return file.read([name for name in file.schema.names if name != "tokens"])

    def optional(self, name: str) -> pa.Table | None:
        """Read an optional file. None if the set does not have it."""
        return self._read(name) if self.has(name) else None

    def has(self, name: str) -> bool:
        """Return whether the set has a file."""
        return any(file.name == name for file in self.manifest.files)

    def sample_batches(self) -> Iterator[pa.Table]:
        """Yield all samples in manifest order, a few row groups at a time."""
        for file in self.manifest.files:
            if file.split:
                with open_listed(self.folder, self.manifest, file.name) as reader:
                    yield from reader.batches(BYTES_AT_ONCE)

    @property
    def source(self) -> InputFile:
        """Description of the set as an input file, for the manifest of the merged set."""
        size = (self.folder / MANIFEST_FILE).stat().st_size
        return InputFile(
            role="shards", name=self.name, bytes=size, sha256=self.manifest.sha256, kind="shard set"
        )

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        with open_listed(self.folder, self.manifest, name) as file:
            return file.read(columns)
