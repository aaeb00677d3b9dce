"""Open a shard set for the model: its manifest, files, ASVs and tree."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.errors import InvalidDataError, UsageError
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
from aammodel.data.rarefy import RootPaths, find_root_paths
from aammodel.data.remote import ShardLocation
from aammodel.data.token_cache import cached_tokens
from aammodel.distances.metrics import MetricInputs

_LARGEST_HASHED_BYTES = 4 << 30
"""Precomputed matrices up to this size are hashed before use. `aamprep verify` hashes larger ones, too."""
_ASVS_AT_ONCE = 1 << 16
LARGEST_MANIFEST_BYTES = 64 << 20
LARGEST_CHECKSUM_BYTES = 1 << 10


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file of samples: the unit of reading."""

    file: str
    number: int
    """Index of the row group in its file."""
    rows: int
    """Number of samples."""
    split: str
    first: int
    """Index of its first sample among all samples of the set, as in the rows of distances.npy."""


@dataclass(frozen=True)
class ShardSet:
    """A shard set in a folder or behind a URL. `open_shards` opens one.

    Files are read when they are needed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from aammodel.data.shards import open_shards
    >>> shards = open_shards(Path("shards"))
    >>> shards.tokens.shape == (shards.manifest.num_kept_asvs, shards.manifest.sequence_length)
    True
    """

    folder: ShardLocation
    manifest: Manifest

    def __reduce__(self) -> tuple[object, ...]:
        # Without files and arrays: each worker opens the set for itself.
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

    def row_groups_of(self, split: str) -> tuple[RowGroup, ...]:
        """Return the row groups of a split, in the order of the manifest."""
        return tuple(group for group in self.row_groups if group.split == split)

    def group_rows(self, split: str) -> tuple[int, ...]:
        """Return the number of samples of each row group of a split, from which an `Order` is made."""
        return tuple(group.rows for group in self.row_groups_of(split))

    def resolve_token_limit(self, token_limit: int | None) -> int:
        """Return a token limit, or that of the shards if it is None.

        Raises
        ------
        UsageError
            If it is larger than that of the shards.
        """
        limit = self.manifest.choices.token_limit
        if token_limit is not None and token_limit > limit:
            raise UsageError(
                f"a token limit of {token_limit} is larger than the {limit} of the shards",
                "--token-limit",
                f"set {limit} or less, or make the shards again with a larger limit",
            )
        return token_limit or limit

    @property
    def has_tree(self) -> bool:
        """Whether samples have branch lists, so that UniFrac can be computed."""
        return self.manifest.num_branches > 0

    @cached_property
    def tokens(self) -> npt.NDArray[np.uint8]:
        """Token ids of the ASVs that samples keep, shape (kept ASVs, L), memory-mapped from the cache."""
        shape = (self.manifest.num_kept_asvs, self.manifest.sequence_length)
        return cached_tokens(self.manifest.sha256[:32], shape, self._read_tokens)

    @cached_property
    def branch_length(self) -> npt.NDArray[np.float64]:
        """Length of each branch of the tree, shape (branches,). Empty without a tree."""
        if not self.has_tree:
            return np.zeros(0)
        with self.open(TREE_FILE) as file, reporting_damage(self.folder / TREE_FILE):
            return file.read(columns=["length"])["length"].to_numpy()

    @cached_property
    def root_paths(self) -> RootPaths:
        """The branches between each ASV and the root. None without a tree."""
        if not self.has_tree:
            nothing = np.zeros(0, dtype=np.int64)
            return find_root_paths(nothing, nothing, self.manifest.num_asvs)
        with self.open(TREE_FILE) as file, reporting_damage(self.folder / TREE_FILE):
            table = file.read(columns=["parent", "asv"])
        parent, asv = (table[name].cast("int64").fill_null(-1).to_numpy() for name in ("parent", "asv"))
        return find_root_paths(parent, asv, self.manifest.num_asvs)

    def asv_id(self, row: int) -> str:
        """Return the id of the ASV in a row of asvs.parquet."""
        with self.open(ASVS_FILE) as file, reporting_damage(self.folder / ASVS_FILE):
            return str(file.read(columns=["asv_id"])["asv_id"][row].as_py())

    @cached_property
    def distance_matrix(self) -> npt.NDArray[np.float32]:
        """The precomputed distances of all samples, shape (samples, samples), memory-mapped.

        Raises
        ------
        InvalidDataError
            If the file is missing, or is not the one that the manifest lists.
        """
        path = self.folder / DISTANCES_FILE
        listed = next(file for file in self.manifest.files if file.name == DISTANCES_FILE)
        if not isinstance(path, Path) or not path.is_file() or not _is_same(path, listed):
            raise _changed(path)
        matrix: npt.NDArray[np.float32] = np.load(path, mmap_mode="r")
        return matrix

    @cached_property
    def metric_inputs(self) -> MetricInputs:
        """Data from which distances are computed. A precomputed matrix behind a URL is not used."""
        has_matrix = isinstance(self.folder, Path) and any(
            file.name == DISTANCES_FILE for file in self.manifest.files
        )
        return MetricInputs(
            branch_length=self.branch_length,
            num_asvs=self.manifest.num_asvs,
            open_matrix=(lambda: self.distance_matrix) if has_matrix else None,
        )

    @property
    def num_rows(self) -> dict[str, int]:
        """Number of rows that each column of row numbers of a sample can point to."""
        manifest = self.manifest
        return {
            "asv": manifest.num_kept_asvs,
            "dropped_asv": manifest.num_asvs,
            "branch": manifest.num_branches,
        }

    def open(self, name: str) -> pq.ParquetFile:
        """Open a Parquet file of the set, after checking its size and footer against the manifest.

        Raises
        ------
        InvalidDataError
            If the file is missing, or is not the one that the manifest lists.
        """
        listed = next((file for file in self.manifest.files if file.name == name), None)
        path = self.folder / name
        if listed is None or (isinstance(path, Path) and not path.is_file()):
            raise InvalidDataError(
                "this file of the shard set is missing", str(path), "copy the whole folder again"
            )
        if not _is_whole(path, listed):
            raise _changed(path)
        with reporting_damage(path):
            return open_parquet(
                path if isinstance(path, Path) else pa.PythonFile(path.open(listed.bytes), "r")
            )

    def _read_tokens(self) -> npt.NDArray[np.uint8]:
        """Read the tokens of the kept ASVs, checked against the contract of `aam_schemas.tables`."""
        path, length = self.folder / ASVS_FILE, self.manifest.sequence_length
        with self.open(ASVS_FILE) as file, reporting_damage(path):
            column = file.read(columns=["tokens"])["tokens"].combine_chunks()
        values = column.flatten()
        if values.type != pa.uint8() or values.null_count or len(values) != len(column) * length:
            raise _wrong_tokens(
                f"column tokens does not have {length} values of type uint8 for each ASV", str(path)
            )
        tokens = values.to_numpy().reshape(len(column), length)[: self.manifest.num_kept_asvs]
        if len(tokens) < self.manifest.num_kept_asvs:
            raise _wrong_tokens(
                f"it has {len(tokens)} ASVs, and the manifest lists {self.manifest.num_kept_asvs}", str(path)
            )
        for start in range(0, len(tokens), _ASVS_AT_ONCE):
            bad = np.flatnonzero(~are_asvs(tokens[start : start + _ASVS_AT_ONCE]))
            if len(bad):
                where = f"{path}, row {start + bad[0]} (the first is 0)"
                raise _wrong_tokens("its tokens are not START, bases, then padding", where)
        return tokens


@contextmanager
def reporting_damage(path: ShardLocation) -> Iterator[None]:
    """Turn the errors that pyarrow raises for a damaged file into one that names the file.

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
            "copy it again, or make the shards again with `aamprep shard`",
        ) from error


def open_shards(folder: ShardLocation) -> ShardSet:
    """Open a shard set.

    Parameters
    ----------
    folder : Path or RemotePath
        `parse_location` makes one from a path or URL.

    Raises
    ------
    UsageError
        If the folder does not exist or cannot be reached.
    InvalidDataError
        If it is not a shard set.
    """
    if isinstance(folder, Path):
        return ShardSet(folder, read_manifest(folder))
    content = (folder / MANIFEST_FILE).read_bytes(LARGEST_MANIFEST_BYTES)
    checksum = (folder / CHECKSUM_FILE).read_bytes(LARGEST_CHECKSUM_BYTES)
    return ShardSet(folder, parse_manifest(content, checksum, str(folder)))


def _is_whole(path: ShardLocation, listed: ShardFile) -> bool:
    try:
        if isinstance(path, Path):
            return path.stat().st_size == listed.bytes and footer_sha256(path) == listed.footer_sha256
        return footer_sha256_of(path.open(listed.bytes)) == listed.footer_sha256
    except ValueError:
        return False


def _is_same(path: Path, listed: ShardFile) -> bool:
    """Return whether a file without checksums of its own is the one listed. Large files: by size alone."""
    if path.stat().st_size != listed.bytes:
        return False
    return listed.bytes > _LARGEST_HASHED_BYTES or file_sha256(path) == listed.sha256


def _changed(path: ShardLocation) -> InvalidDataError:
    return InvalidDataError(
        "this file is not the one that the manifest lists: it was changed or truncated",
        str(path),
        "copy the whole folder again, or make it again with `aamprep shard`",
    )


def _wrong_tokens(what: str, where: str) -> InvalidDataError:
    return InvalidDataError(
        what, where, "run `aamprep verify` on the folder to list all faults, then make the shards again"
    )
