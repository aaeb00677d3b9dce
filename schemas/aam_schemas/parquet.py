"""Read the Parquet files of a shard set that may be damaged, hostile, or written by another program.

On opening, a file is compared with the manifest and with its Arrow schema, by its footer alone. A row group
is read into memory, compared with its hash in the manifest, and decoded from there: what was checked is used.
Before it is decoded, the headers of its pages are compared with the footer, and the size of its values with a
budget: a few bytes of a page can stand for gigabytes of values.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular
from aam_schemas.common.text import shorten, truncate_list
from aam_schemas.manifest import Manifest, ShardFile
from aam_schemas.pages import longest_text, read_pages
from aam_schemas.shards import (
    ASVS_FILE,
    METADATA_FILE,
    REJECTED,
    REJECTED_FILE,
    TREE,
    TREE_FILE,
    asvs_schema,
    chunk_span,
    samples_schema,
)

MOST_GROUP_BYTES = 128 << 20
"""Largest size of the values of a row group. `aamprep shard` writes row groups of about 1 MiB."""
MOST_RATIO = 200
"""Largest ratio of the values of a file to its bytes, for values of more than `RATIO_ABOVE` bytes."""
RATIO_ABOVE = 64 << 20
MOST_FOOTER_BYTES = 16 << 20
_THRIFT_LIMITS = {"thrift_string_size_limit": MOST_FOOTER_BYTES, "thrift_container_size_limit": 1 << 20}

OPTIONAL_COLUMNS = {ASVS_FILE: {"taxon": pa.string()}}
"""Columns that a file may have, or not."""

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a value of each physical type, without the characters of text."""
_COPY = "copy the whole folder again, or make it again with `aamprep shard`"
_REMAKE = "correct the program that wrote this file, or make the shards again with `aamprep shard`"


@dataclass
class ParquetReader:
    """An open Parquet file of a shard set, from `open_shard_file`. Only one thread at a time may use it."""

    name: str
    """File, for messages."""
    listed: ShardFile
    schema: pa.Schema
    """Columns of the file that readers use."""
    metadata: pq.FileMetaData
    _source: io.BufferedIOBase
    _window: "_Window"
    _verified: set[tuple[int, str]] = field(default_factory=set)
    """Row groups and their columns whose pages were checked already. An empty name stands for the hash."""

    @property
    def num_row_groups(self) -> int:
        """Number of row groups."""
        return len(self.listed.row_group_rows)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows. See `read_row_groups`."""
        return self.read_row_groups(range(self.num_row_groups), columns)

    def read_row_groups(self, numbers: Iterable[int], columns: Sequence[str] | None = None) -> pa.Table:
        """Read some row groups.

        Parameters
        ----------
        numbers : iterable of int
        columns : sequence of str, optional
            By default, all columns of `schema`. The others of the file are never read.

        Returns
        -------
        pyarrow.Table
            The columns in this order, with the types of `schema`.

        Raises
        ------
        InvalidDataError
            If a row group differs from its hash, its pages are damaged or contradict the footer, or its
            values exceed the limits of this module.
        """
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        numbers = [number for number in numbers if self._has_rows(number)]
        if not numbers:
            return schema.empty_table()
        self._check_budget(numbers, schema.names)
        self._window.parts = [self._content(number, schema.names) for number in numbers]
        try:
            with naming_damage(self.name):
                table = self._file.read_row_groups(numbers, columns=schema.names, use_threads=False)
                return _as_needed(table.select(schema.names), schema)
        finally:
            self._window.parts = []

    def batches(self, most_bytes: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in row groups, several together while their values have up to `most_bytes`."""
        names = self.schema.names if columns is None else columns
        sizes = {n: self._value_bytes(n, names) for n in range(self.num_row_groups) if self._has_rows(n)}
        # Callers may keep all of them, so the ratio is that of the whole file.
        self._check_ratio(sum(sizes.values()))
        waiting: list[int] = []
        waiting_bytes = 0
        for number, size in sizes.items():
            if waiting and waiting_bytes + size > most_bytes:
                yield self.read_row_groups(waiting, columns)
                waiting, waiting_bytes = [], 0
            waiting, waiting_bytes = [*waiting, number], waiting_bytes + size
        if waiting or not self.listed.rows:
            yield self.read_row_groups(waiting, columns)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> "ParquetReader":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._window,
            metadata=self.metadata,
            page_checksum_verification=True,
            pre_buffer=False,
        )

    @cached_property
    def _leaves(self) -> dict[str, int]:
        """Index among the Parquet columns of each column of `schema`."""
        actual = self.metadata.schema.to_arrow_schema()
        sizes = [_num_leaves(field.type) for field in actual]
        return {name: sum(sizes[: actual.names.index(name)]) for name in self.schema.names}

    def _has_rows(self, number: int) -> bool:
        # Some programs write an empty row group for an empty table.
        return self.listed.row_group_rows[number] > 0

    def _content(self, number: int, names: Sequence[str]) -> tuple[int, bytes]:
        """Read a row group, compare it with its hash, and its pages with the footer."""
        group = self.metadata.row_group(number)
        hashes = self.listed.row_group_sha256
        is_hashed = bool(hashes) and (number, "") not in self._verified
        # All columns are read for the hash. Else only those that are needed are.
        leaves = range(group.num_columns) if is_hashed else [self._leaves[name] for name in names]
        spans = [chunk_span(group.column(leaf)) for leaf in leaves]
        start, stop = min(start for start, _ in spans), max(stop for _, stop in spans)
        if not 4 <= start <= stop <= self.listed.bytes or stop - start > 2 * MOST_GROUP_BYTES:
            raise self._invalid(
                f"row group {number} has bytes {start:,} to {stop:,}, which is impossible", _COPY
            )
        with naming_damage(self.name):
            self._source.seek(start)
            content = self._source.read(stop - start)
        if len(content) < stop - start:
            raise self._invalid(f"it ends within row group {number}", _COPY)
        if is_hashed:
            if hashlib.sha256(content).hexdigest() != hashes[number]:
                raise self._invalid(f"row group {number} differs from its SHA-256 in the manifest", _COPY)
            self._verified.add((number, ""))
        for name in names:
            if (number, name) not in self._verified:
                self._check_pages(number, name, content, start)
                self._verified.add((number, name))
        return start, content

    def _check_pages(self, number: int, name: str, content: bytes, offset: int) -> None:
        """Compare the headers of the pages of a column chunk with the footer."""
        chunk = self.metadata.row_group(number).column(self._leaves[name])
        start, stop = chunk_span(chunk)
        try:
            pages = read_pages(content, start - offset, stop - offset)
        except ValueError as error:
            raise self._invalid(f"{_where(name, number)} has an invalid page: {error}", _COPY) from None
        if pages.num_values != chunk.num_values or pages.num_bytes > chunk.total_uncompressed_size:
            what = f"{pages.num_values:,} values of {pages.num_bytes:,} bytes in its pages"
            listed = f"{chunk.num_values:,} values of {chunk.total_uncompressed_size:,} bytes in the footer"
            raise self._invalid(f"{_where(name, number)} has {what}, but {listed}", _REMAKE)
        if chunk.physical_type == "BYTE_ARRAY" and pages.dictionary is not None:
            # A few bytes can refer to one long text a million times.
            size = chunk.num_values * _longest_text(content, pages.dictionary, chunk.compression)
            if size > MOST_GROUP_BYTES:
                raise self._invalid(f"{_where(name, number)} has text of up to {size:,} bytes", _REMAKE)

    def _check_budget(self, numbers: list[int], names: Sequence[str]) -> None:
        sizes = [self._value_bytes(number, names) for number in numbers]
        if max(sizes) > MOST_GROUP_BYTES:
            what = f"row group {numbers[sizes.index(max(sizes))]} has values of {max(sizes):,} bytes"
            raise self._invalid(f"{what}; at most {MOST_GROUP_BYTES:,} are read", _REMAKE)
        self._check_ratio(sum(sizes))

    def _check_ratio(self, size: int) -> None:
        if size > max(RATIO_ABOVE, MOST_RATIO * self.listed.bytes):
            what = f"its {self.listed.bytes:,} bytes stand for values of {size:,} bytes"
            raise self._invalid(f"{what}; at most {MOST_RATIO} times as many are read", _REMAKE)

    def _value_bytes(self, number: int, names: Sequence[str]) -> int:
        """Return the bytes of the values of a row group, by its footer, whose numbers are checked."""
        group = self.metadata.row_group(number)
        size = 0
        for name in names:
            chunk = group.column(self._leaves[name])
            self._check_chunk(name, number, chunk)
            size += max(
                chunk.num_values * _WIDTHS.get(chunk.physical_type, 16), chunk.total_uncompressed_size
            )
        return size

    def _check_chunk(self, name: str, number: int, chunk: pq.ColumnChunkMetaData) -> None:
        start, stop = chunk_span(chunk)
        if not 4 <= start <= stop <= self.listed.bytes:
            raise self._invalid(f"{_where(name, number)} is outside of the file", _COPY)
        num_rows, kind = self.listed.row_group_rows[number], self.schema.field(name).type
        least, most = num_rows, num_rows
        if pa.types.is_fixed_size_list(kind):
            least = most = num_rows * kind.list_size
        elif pa.types.is_list(kind):
            most = MOST_GROUP_BYTES
        if not least <= chunk.num_values <= most or chunk.total_uncompressed_size < 0:
            what = f"{_where(name, number)} has {chunk.num_values:,} values for {num_rows:,} rows"
            raise self._invalid(f"{what}, which is impossible for the type {kind}", _REMAKE)

    def _invalid(self, what: str, fix: str) -> InvalidDataError:
        return InvalidDataError(what, self.name, fix)


def open_shard_file(source: Path | io.BufferedIOBase, listed: ShardFile, schema: pa.Schema) -> ParquetReader:
    """Open a Parquet file of a shard set, and check its size, footer, columns and rows.

    Nothing but the footer is read.

    Parameters
    ----------
    source : Path or file object
        The file, or an object that reads it from elsewhere. Messages show the name `str(source)`.
    listed : ShardFile
        Its entry in the manifest.
    schema : pyarrow.Schema
        Columns that it must have, of the same types. Their order does not matter, nor whether they are
        declared nullable. Other columns are never read.

    Raises
    ------
    InvalidDataError
        If the file is missing, is not the one that the manifest lists, is not Parquet, or has other columns,
        row groups or rows.
    """
    name = str(source)
    file = open_regular(source) if isinstance(source, Path) else source
    try:
        metadata = _read_footer(file, name, listed)
        _check_rows(metadata, name, listed)
        with naming_damage(name):
            columns = _check_columns(metadata.schema.to_arrow_schema(), name, listed, schema)
    except BaseException:
        file.close()
        raise
    return ParquetReader(name, listed, columns, metadata, file, _Window(listed.bytes))


def expected_schema(manifest: Manifest, listed: ShardFile) -> pa.Schema:
    """Return the columns that a Parquet file of a shard set must have."""
    if listed.split:
        return samples_schema(manifest.num_branches > 0)
    if listed.name == METADATA_FILE:
        kinds = {"numeric": pa.float64(), "categorical": pa.string()}
        types = {name: kinds[kind] for name, kind in manifest.metadata_types.items()}
        return pa.schema({"sample_id": pa.string()} | types)
    schemas = {ASVS_FILE: asvs_schema(manifest.sequence_length), TREE_FILE: TREE, REJECTED_FILE: REJECTED}
    return schemas[listed.name]


class ColumnsError(InvalidDataError):
    """A column is missing, or has another type."""


@contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Turn the errors that pyarrow raises for a damaged file into one that names the file.

    Raises
    ------
    InvalidDataError
    """
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidDataError(f"this file is damaged: {shorten(error)}", name, _COPY) from error


def column_problems(actual: pa.Schema, needed: pa.Schema) -> list[tuple[str, str]]:
    """Return the columns that are missing, duplicated or of another type, each with a description."""
    problems = []
    for column in needed:
        types = [actual.field(index).type for index in actual.get_all_field_indices(column.name)]
        if len(types) != 1 or not _is_same(types[0], column.type):
            words = ", ".join(map(str, types)) or "missing"
            problems.append((column.name, f"{shorten(words)}; {column.type} is needed"))
        # pyarrow would read such a column along with the one that is needed.
        problems += [
            (name, f"its name begins with that of {column.name}")
            for name in actual.names
            if name.startswith(f"{column.name}.") and name not in needed.names
        ]
    return problems


def _read_footer(file: io.BufferedIOBase, name: str, listed: ShardFile) -> pq.FileMetaData:
    with naming_damage(name):
        size = file.seek(0, os.SEEK_END)
        if size != listed.bytes:
            raise _changed(f"it has {size:,} bytes; the manifest lists {listed.bytes:,}", name)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little") + 8
        if tail[4:] == b"PARE":
            raise InvalidDataError("this Parquet file is encrypted", name, _REMAKE)
        if tail[4:] != b"PAR1" or not 12 < length <= min(size, MOST_FOOTER_BYTES):
            raise InvalidDataError("this file does not end with a Parquet footer", name, _COPY)
        file.seek(size - length)
        footer = file.read(length)
        if hashlib.sha256(footer).hexdigest() != listed.footer_sha256:
            raise _changed("the sha256 of its footer differs from the manifest", name)
        # The footer alone is a Parquet file for this purpose.
        return pq.ParquetFile(io.BytesIO(b"PAR1" + footer), **_THRIFT_LIMITS).metadata


def _check_rows(metadata: pq.FileMetaData, name: str, listed: ShardFile) -> None:
    rows = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
    if rows != listed.row_group_rows or metadata.num_rows != listed.rows:
        actual = f"{metadata.num_rows:,} rows in {len(rows):,} row groups"
        raise _changed(
            f"{actual}; the manifest lists {listed.rows:,} in {len(listed.row_group_rows):,}", name
        )


def _check_columns(actual: pa.Schema, name: str, listed: ShardFile, needed: pa.Schema) -> pa.Schema:
    """Compare the columns of a file with those needed, and return these and the optional ones that it has."""
    optional = [
        pa.field(column, kind)
        for column, kind in OPTIONAL_COLUMNS.get(listed.name, {}).items()
        if column in actual.names
    ]
    columns = pa.schema([*needed, *optional])
    problems = [
        f"column {shorten(column, 80)}: {words}" for column, words in column_problems(actual, columns)
    ]
    if problems:
        raise ColumnsError(truncate_list(problems, separator="; "), name, _REMAKE)
    return columns


def _is_same(actual: pa.DataType, needed: pa.DataType) -> bool:
    """Return whether two types are equal. List elements may have other names, and be nullable or not."""
    if pa.types.is_list(needed) and pa.types.is_list(actual):
        return _is_same(actual.value_type, needed.value_type)
    if pa.types.is_fixed_size_list(needed) and pa.types.is_fixed_size_list(actual):
        is_as_long = actual.list_size == needed.list_size
        return is_as_long and _is_same(actual.value_type, needed.value_type)
    return bool(actual == needed)


def _num_leaves(kind: pa.DataType) -> int:
    """Return the number of Parquet columns that hold an Arrow column."""
    if isinstance(kind, pa.BaseExtensionType):
        return _num_leaves(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return 1
    return sum(_num_leaves(kind.field(index).type) for index in range(kind.num_fields)) or 1


def _as_needed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the types of a schema, and check that its text is UTF-8, which pyarrow does not."""
    columns = []
    for column, kind in zip(table.columns, schema.types, strict=True):
        if pa.types.is_string(kind) or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type)):
            column.validate(full=True)
        columns.append(column if column.type.equals(kind) else column.cast(kind))
    # Missing values are left to the checks of the content, which name their row.
    return pa.table(columns, schema=pa.schema([field.with_nullable(True) for field in schema]))


def _longest_text(content: bytes, dictionary: tuple[int, int, int], codec: str) -> int:
    """Return the length of the longest text of a dictionary in bytes, or the size of the whole dictionary."""
    start, stop, size = dictionary
    page = content[start:stop]
    if codec != "UNCOMPRESSED":
        try:
            page = pa.decompress(page, size, codec.lower(), asbytes=True)
        except (ValueError, OSError, pa.ArrowException):
            return size
    return longest_text(page)


def _where(name: str, number: int) -> str:
    return f"column {shorten(name, 80)} of row group {number}"


def _changed(what: str, name: str) -> InvalidDataError:
    return InvalidDataError(f"this file is not the one that the manifest lists: {what}", name, _COPY)


class _Window(io.RawIOBase):
    """A file of which some parts are in memory, and nothing else is read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.parts: list[tuple[int, bytes]] = []
        """First byte of each part in the file, and its content."""
        self._size, self._position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        )
        return self._position

    def read(self, size: int = -1) -> bytes:
        for start, content in self.parts:
            first = self._position - start
            if first >= 0 and first + size <= len(content):
                self._position += size
                return content[first : first + size]
        raise OSError(f"bytes {self._position:,} to {self._position + size:,} are in no column that is read")
