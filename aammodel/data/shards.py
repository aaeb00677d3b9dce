"""Opening a shard set for the model: its manifest, its files, its ASVs and its branch lengths."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.manifest import (
    CHECKSUM_FILE,
    MANIFEST_FILE,
    Manifest,
    ShardFile,
    parse_manifest,
    read_manifest,
)
from aam_schemas.shards import (
    ASVS_FILE,
    DISTANCES_FILE,
    TREE_FILE,
    file_sha256,
    footer_sha256,
    footer_sha256_of,
    open_parquet,
)
from aam_schemas.vocabulary import are_asvs
from aammodel.data.rarefy import Paths, paths_of
from aammodel.data.remote import ShardLocation
from aammodel.data.token_cache import cached_tokens
from aammodel.distances.metrics import Facts

_MOST_HASHED_BYTES = 4 << 30
"""Of a precomputed matrix that is read whole before it is used; of larger ones `aamprep verify` does it."""
_ASVS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class RowGroup:
    """The unit of reading."""

    file: str
    number: int
    """In its file."""
    rows: int
    split: str
    first: int
    """Samples of the set before it, over all splits: rows of distances.npy count so."""


@dataclass(frozen=True)
class ShardSet:
    """A shard set that lies in a folder, or behind a URL."""

    folder: ShardLocation
    manifest: Manifest

    def __reduce__(self) -> tuple[object, ...]:
        # What was mapped or read stays behind: each worker opens the set anew.
        return ShardSet, (self.folder, self.manifest)

    @cached_property
    def row_groups(self) -> tuple[RowGroup, ...]:
        """All row groups of samples, in the order of the manifest."""
        groups, first = [], 0
        for file in self.manifest.files:
            for number, rows in enumerate(file.row_group_rows if file.split else ()):
                groups.append(RowGroup(file.name, number, rows, file.split, first))
                first += rows
        return tuple(groups)

    @property
    def has_tree(self) -> bool:
        """True where samples have branch lists, so that UniFrac is known."""
        return self.manifest.num_branches > 0

    @cached_property
    def tokens(self) -> npt.NDArray[np.uint8]:
        """Token ids of the ASVs that some sample keeps, (kept ASVs, L), memory-mapped from the cache."""
        shape = (self.manifest.num_kept_asvs, self.manifest.sequence_length)
        return cached_tokens(self.manifest.sha256[:32], shape, self._read_tokens)

    @cached_property
    def branch_length(self) -> npt.NDArray[np.float64]:
        """Length of each branch of the tree, shape (branches,); empty without a tree."""
        if not self.has_tree:
            return np.zeros(0)
        with self.open(TREE_FILE) as file, reading(self.folder / TREE_FILE):
            return file.read(columns=["length"])["length"].to_numpy()

    @cached_property
    def paths(self) -> Paths:
        """The branches above each ASV; none without a tree."""
        if not self.has_tree:
            return paths_of(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), self.manifest.num_asvs)
        with self.open(TREE_FILE) as file, reading(self.folder / TREE_FILE):
            table = file.read(columns=["parent", "asv"])
        parent, asv = (table[name].cast("int64").fill_null(-1).to_numpy() for name in ("parent", "asv"))
        return paths_of(parent, asv, self.manifest.num_asvs)

    def asv_id(self, row: int) -> str:
        """Give the id of one ASV by its row number."""
        with self.open(ASVS_FILE) as file, reading(self.folder / ASVS_FILE):
            return str(file.read(columns=["asv_id"])["asv_id"][row].as_py())

    @cached_property
    def distance_matrix(self) -> npt.NDArray[np.float32]:
        """The precomputed distances of all samples, (samples, samples), memory-mapped.

        Raises
        ------
        InvalidDataError
            If the file is absent, or not the one that the manifest lists.
        """
        path = self.folder / DISTANCES_FILE
        listed = next(file for file in self.manifest.files if file.name == DISTANCES_FILE)
        if not isinstance(path, Path) or not path.is_file() or not _is_same(path, listed):
            raise _changed(path)
        matrix: npt.NDArray[np.float32] = np.load(path, mmap_mode="r")
        return matrix

    @cached_property
    def facts(self) -> Facts:
        """What metrics of distance know of the set; a matrix is not read over a network."""
        has_matrix = isinstance(self.folder, Path) and any(
            file.name == DISTANCES_FILE for file in self.manifest.files
        )
        return Facts(
            branch_length=self.branch_length,
            num_asvs=self.manifest.num_asvs,
            open_matrix=(lambda: self.distance_matrix) if has_matrix else None,
        )

    @property
    def limits(self) -> dict[str, int]:
        """Rows that each column of row numbers of a sample may name."""
        manifest = self.manifest
        return {
            "asv": manifest.num_kept_asvs,
            "dropped_asv": manifest.num_asvs,
            "branch": manifest.num_branches,
        }

    def open(self, name: str) -> pq.ParquetFile:
        """Open one Parquet file of the set, after a look at its size and footer.

        Raises
        ------
        InvalidDataError
            If the file is absent, or not the one that the manifest lists.
        """
        listed = next((file for file in self.manifest.files if file.name == name), None)
        path = self.folder / name
        if listed is None or (isinstance(path, Path) and not path.is_file()):
            raise InvalidDataError(
                "this file of the shard set is missing", str(path), "copy the whole folder again"
            )
        if not _is_whole(path, listed):
            raise _changed(path)
        with reading(path):
            return open_parquet(
                path if isinstance(path, Path) else pa.PythonFile(path.open(listed.bytes), "r")
            )

    def _read_tokens(self) -> npt.NDArray[np.uint8]:
        """Read the tokens of the kept ASVs, and hold them against the contract of `aam_schemas.tables`."""
        path, length = self.folder / ASVS_FILE, self.manifest.sequence_length
        with self.open(ASVS_FILE) as file, reading(path):
            column = file.read(columns=["tokens"])["tokens"].combine_chunks()
        values = column.flatten()
        if values.type != pa.uint8() or values.null_count or len(values) != len(column) * length:
            raise _wrong_tokens(f"column tokens does not hold {length} of uint8 for each ASV", str(path))
        tokens = values.to_numpy().reshape(len(column), length)[: self.manifest.num_kept_asvs]
        if len(tokens) < self.manifest.num_kept_asvs:
            raise _wrong_tokens(f"there are {len(tokens)} ASVs, fewer than samples keep", str(path))
        for start in range(0, len(tokens), _ASVS_AT_ONCE):
            bad = np.flatnonzero(~are_asvs(tokens[start : start + _ASVS_AT_ONCE]))
            if len(bad):
                where = f"{path}, row {start + bad[0]} (the first is 0)"
                raise _wrong_tokens("its tokens are not START, then bases, then padding", where)
        return tokens


@contextmanager
def reading(path: ShardLocation) -> Iterator[None]:
    """Turn what Parquet raises for a damaged page into an error that names the file.

    Raises
    ------
    InvalidDataError
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InvalidDataError(
            f"this file is damaged: {error}",
            str(path),
            "copy it again, or make the shards anew with `aamprep shard`",
        ) from error


def open_shards(folder: ShardLocation) -> ShardSet:
    """Open a shard set.

    Raises
    ------
    UsageError
        If there is no such folder, or no way to it.
    InvalidDataError
        If it holds no shard set.
    """
    if isinstance(folder, Path):
        return ShardSet(folder, read_manifest(folder))
    content, checksum = ((folder / name).read_bytes() for name in (MANIFEST_FILE, CHECKSUM_FILE))
    return ShardSet(folder, parse_manifest(content, checksum, str(folder)))


def _is_whole(path: ShardLocation, listed: ShardFile) -> bool:
    try:
        if isinstance(path, Path):
            return path.stat().st_size == listed.bytes and footer_sha256(path) == listed.footer_sha256
        return footer_sha256_of(path.open(listed.bytes)) == listed.footer_sha256
    except ValueError:
        return False


def _is_same(path: Path, listed: ShardFile) -> bool:
    """Hold a file without checksums of its own against the manifest, all of it unless that takes minutes."""
    if path.stat().st_size != listed.bytes:
        return False
    return listed.bytes > _MOST_HASHED_BYTES or file_sha256(path) == listed.sha256


def _changed(path: ShardLocation) -> InvalidDataError:
    return InvalidDataError(
        "this file is not the one that the manifest lists: it was changed or cut short",
        str(path),
        "copy the whole folder again, or make it anew with `aamprep shard`",
    )


def _wrong_tokens(what: str, where: str) -> InvalidDataError:
    return InvalidDataError(
        what, where, "find out with `aamprep verify` what is wrong, and make the shards again"
    )
