"""Open a shard set for the model: its manifest, files, ASVs and tree.

Nothing is taken on trust: each file is compared with the manifest when it is opened, and each row group with
its SHA-256 when it is read (`aam_schemas.parquet`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.footer import expected_schema
from aam_schemas.manifest import (
    CHECKSUM_FILE,
    MANIFEST_FILE,
    MOST_BYTES,
    Manifest,
    ShardFile,
    parse_manifest,
    read_manifest,
)
from aam_schemas.parquet import ParquetReader, open_shard_file
from aam_schemas.shards import ASVS_FILE, DISTANCES_FILE, SPLITS, TREE_FILE
from aam_schemas.vocabulary import are_asvs
from aammodel.data.matrix import check_sha256, open_matrix
from aammodel.data.rarefy import RootPaths, find_root_paths
from aammodel.data.remote import RangeFile, ShardLocation
from aammodel.data.sample_ids import check_distinct
from aammodel.data.token_cache import keep_tokens, map_tokens, tokens_sha256
from aammodel.data.tree import Branches, check_branches
from aammodel.distances.metrics import MetricInputs

MOST_CHECKSUM_BYTES = 1024
"""Largest size of manifest.sha256."""
_ASVS_AT_ONCE = 1 << 16


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
    checked_tokens: str = ""
    """SHA-256 of the tokens, if the process that made this object has checked them."""
    _hashed: set[str] = field(default_factory=set, repr=False, compare=False)
    """Files of an older set whose SHA-256 this process has compared."""

    def __reduce__(self) -> tuple[object, ...]:
        # Without files and arrays: each worker opens the set for itself. It maps the tokens of its parent.
        checked = tokens_sha256(self.tokens) if "tokens" in self.__dict__ else self.checked_tokens
        return ShardSet, (self.folder, self.manifest, checked)

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

    def check_split(self, split: str | None) -> None:
        """Refuse a split without samples. None stands for all splits.

        Raises
        ------
        InvalidDataError
            The message names the splits that have samples.
        """
        sizes = {name: self.manifest.num_rows(name) for name in SPLITS}
        others = [f"--split {name} ({size:,} samples)" for name, size in sizes.items() if size]
        if not others:
            fix = "make the shards again with `aamprep shard`"
            raise InvalidDataError("there is no sample", str(self.folder), fix)
        if split is not None and not sizes[split]:
            fix = f"use {' or '.join(others)}, or shard a table with more samples"
            raise InvalidDataError(f"there is no {split} sample", str(self.folder), fix)

    @property
    def has_tree(self) -> bool:
        """Whether samples have branch lists, so that UniFrac can be computed."""
        return self.manifest.num_branches > 0

    @cached_property
    def tokens(self) -> npt.NDArray[np.uint8]:
        """Token ids of the ASVs that samples keep, shape (kept ASVs, L), memory-mapped from the cache.

        Raises
        ------
        InvalidDataError
            If asvs.parquet is damaged, an ASV is invalid, or the manifest lists other tokens.
        """
        shape = (self.manifest.num_kept_asvs, self.manifest.sequence_length)
        listed = self.checked_tokens or self.manifest.tokens_sha256
        # An older manifest does not list the hash. Then a file of the cache proves nothing.
        found = map_tokens(listed, shape) if listed else None
        if found is not None:
            if not self.checked_tokens:
                self._check_tokens(found)
            return found
        made = self._read_tokens()
        sha256 = tokens_sha256(made)
        if listed and sha256 != listed:
            raise _wrong_tokens(
                "the tokens differ from tokens_sha256 in manifest.json", str(self.folder / ASVS_FILE)
            )
        keep_tokens(sha256, made)
        mapped = map_tokens(sha256, shape)
        return made if mapped is None else mapped

    @cached_property
    def branches(self) -> Branches:
        """The branches of the tree, checked. None without a tree.

        Raises
        ------
        InvalidDataError
            If they do not form a tree of the ASVs.
        """
        if not self.has_tree:
            return Branches.none()
        with self.open(TREE_FILE) as file:
            branches = Branches.from_table(file.read())
        check_branches(branches, self.manifest.num_asvs, str(self.folder / TREE_FILE))
        return branches

    @property
    def branch_length(self) -> npt.NDArray[np.float64]:
        """Length of each branch of the tree, shape (branches,). Empty without a tree."""
        return self.branches.length

    @cached_property
    def root_paths(self) -> RootPaths:
        """The branches between each ASV and the root. None without a tree."""
        return find_root_paths(self.branches.parent, self.branches.asv, self.manifest.num_asvs)

    def asv_id(self, row: int) -> str:
        """Return the id of the ASV in a row of asvs.parquet."""
        with self.open(ASVS_FILE) as file:
            return str(file.read(["asv_id"])["asv_id"][row].as_py())

    def asv_groups(self) -> Iterator[tuple[list[str], list[str], npt.NDArray[np.uint8]]]:
        """Yield the ids, sequences and tokens of all ASVs, also of those that no sample keeps.

        Yields
        ------
        ids, sequences : list of str
            Those of a row group of asvs.parquet.
        tokens : ndarray of uint8, shape (rows, L)

        Raises
        ------
        InvalidDataError
            If asvs.parquet is damaged, or an ASV is invalid.
        """
        with self.open(ASVS_FILE) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_groups([number], ["asv_id", "sequence", "tokens"])
                tokens = self._as_tokens(table["tokens"])
                self._check_tokens(tokens)
                yield table["asv_id"].to_pylist(), table["sequence"].to_pylist(), tokens

    @cached_property
    def distance_matrix(self) -> npt.NDArray[np.floating]:
        """The precomputed distances of all samples, shape (samples, samples), memory-mapped.

        Raises
        ------
        InvalidDataError
            If the file is missing, is not the one that the manifest lists, or is no such matrix.
        """
        path = self.folder / DISTANCES_FILE
        assert isinstance(path, Path)
        return open_matrix(path, self._listed(DISTANCES_FILE), self.manifest.num_samples)

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

    def open(self, name: str) -> ParquetReader:
        """Open a Parquet file of the set, after checking its size, footer and columns.

        Raises
        ------
        InvalidDataError
            If the file is missing, is not the one that the manifest lists, or has other columns or rows.
        """
        listed, path = self._listed(name), self.folder / name
        if isinstance(path, Path) and not listed.row_group_sha256 and name not in self._hashed:
            # Older sets have no hashes of row groups.
            check_sha256(path, listed)
            self._hashed.add(name)
        return open_shard_file(self._source(name), listed, expected_schema(self.manifest, listed))

    def check_samples(self) -> None:
        """Compare all sample files with the manifest, and check that no sample id occurs twice.

        The footers and the ids are read, and nothing else.

        Raises
        ------
        InvalidDataError
        """
        check_distinct(self._sample_ids, self.manifest.num_samples)

    def _sample_ids(self) -> Iterator[tuple[str, pa.ChunkedArray]]:
        """Yield the ids of the samples of each row group, with the name of its file."""
        for listed in self.manifest.files:
            if not listed.split:
                continue
            # Without hashes, since only one column is read. Training compares them when it reads the samples.
            unhashed = replace(listed, row_group_sha256=())
            schema = expected_schema(self.manifest, listed)
            with open_shard_file(self._source(listed.name), unhashed, schema) as file:
                for number in range(file.num_row_groups):
                    yield file.name, file.read_row_groups([number], ["sample_id"])["sample_id"]

    def _source(self, name: str) -> Path | RangeFile:
        path = self.folder / name
        return path if isinstance(path, Path) else path.open(self._listed(name).bytes)

    def _listed(self, name: str) -> ShardFile:
        listed = next((file for file in self.manifest.files if file.name == name), None)
        if listed is None:
            raise InvalidDataError(
                f"{name} is not listed in {MANIFEST_FILE}",
                str(self.folder),
                "make the shards again with `aamprep shard`",
            )
        return listed

    def _read_tokens(self) -> npt.NDArray[np.uint8]:
        """Read the tokens of the kept ASVs, checked against the contract of `aam_schemas.tables`."""
        number = self.manifest.num_kept_asvs
        with self.open(ASVS_FILE) as file:
            before = np.cumsum([0, *file.listed.row_group_rows[:-1]])
            column = file.read_row_groups(np.flatnonzero(before < number).tolist(), ["tokens"])["tokens"]
        tokens = self._as_tokens(column)[:number]
        self._check_tokens(tokens)
        return tokens

    def _as_tokens(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
        length, values = self.manifest.sequence_length, column.combine_chunks().flatten()
        if values.null_count or len(values) != len(column) * length:
            raise _wrong_tokens(
                f"column tokens does not have {length} values for each ASV", str(self.folder / ASVS_FILE)
            )
        tokens: npt.NDArray[np.uint8] = values.to_numpy().reshape(len(column), length)
        return tokens

    def _check_tokens(self, tokens: npt.NDArray[np.uint8]) -> None:
        for start in range(0, len(tokens), _ASVS_AT_ONCE):
            bad = np.flatnonzero(~are_asvs(tokens[start : start + _ASVS_AT_ONCE]))
            if len(bad):
                where = f"{self.folder / ASVS_FILE}, row {start + bad[0]} (the first is 0)"
                raise _wrong_tokens("its tokens are not START, bases, then padding", where)


def open_shards(folder: ShardLocation) -> ShardSet:
    """Open a shard set, and check all that can be checked without reading it whole.

    In a folder, this is the manifest, the size, footer and columns of each sample file, and that no sample is
    in the set twice. Behind a URL, it is the manifest; a file is checked when it is opened.

    Parameters
    ----------
    folder : Path or RemotePath
        `parse_location` makes one from a path or URL.

    Raises
    ------
    UsageError
        If the folder does not exist or cannot be reached.
    InvalidDataError
        If it is not a shard set, or not a sound one.
    """
    if isinstance(folder, Path):
        shards = ShardSet(folder, read_manifest(folder))
        shards.check_samples()
        return shards
    content = (folder / MANIFEST_FILE).read_bytes(MOST_BYTES)
    checksum = (folder / CHECKSUM_FILE).read_bytes(MOST_CHECKSUM_BYTES)
    return ShardSet(folder, parse_manifest(content, checksum, str(folder)))


def _wrong_tokens(what: str, where: str) -> InvalidDataError:
    return InvalidDataError(
        what, where, "run `aamprep verify` on the folder to list all faults, then make the shards again"
    )
