"""Read the Parquet files of a shard set that may be damaged, hostile, or written by another program.

On opening, a file is compared with the manifest and with its Arrow schema, by its footer alone. A row group
is read into memory, compared with its hash in the manifest, and decoded from there: what was checked is used.
Before it is decoded, the headers of its pages are compared with the footer, and the size of its values with a
budget: a few bytes of a page can stand for gigabytes of values.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.json_files import open_regular
from aam_schemas.common.seekable import SeekableReader
from aam_schemas.common.text import shorten
from aam_schemas.footer import COPY, REMAKE, check_columns, check_rows, naming_damage, read_footer
from aam_schemas.manifest import ShardFile
from aam_schemas.pages import longest_text, read_pages
from aam_schemas.shards import chunk_span

MOST_GROUP_BYTES = 128 << 20
"""Largest size of the values of a row group. `aamprep shard` writes row groups of about 1 MiB."""
MOST_RATIO = 200
"""Largest ratio of the values of a file to its bytes, for values of more than `RATIO_ABOVE` bytes."""
RATIO_ABOVE = 64 << 20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a value of each physical type, without the characters of text."""


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
        """Index among the Parquet columns of the first of each Arrow column."""
        actual = self.metadata.schema.to_arrow_schema()
        firsts = accumulate((_num_leaves(column.type) for column in actual), initial=0)
        return dict(zip(actual.names, firsts, strict=False))

    def _has_rows(self, number: int) -> bool:
        # Some programs write an empty row group for an empty table.
        return self.listed.row_group_rows[number] > 0

    def _content(self, number: int, names: Sequence[str]) -> tuple[int, bytes]:
        """Read a row group, compare it with its hash, and its pages with the footer."""
        group = self.metadata.row_group(number)
        hashes = self.listed.row_group_sha256
        is_hashed = bool(hashes) and (number, "") not in self._verified
        # All columns are read for the hash. Without one, only the needed columns are.
        columns = range(group.num_columns) if is_hashed else [self._leaves[name] for name in names]
        spans = [chunk_span(group.column(index)) for index in columns]
        start, stop = min(start for start, _ in spans), max(stop for _, stop in spans)
        if not 4 <= start <= stop <= self.listed.bytes or stop - start > 2 * MOST_GROUP_BYTES:
            raise self._invalid(
                f"row group {number} has bytes {start:,} to {stop:,}, which is impossible", COPY
            )
        with naming_damage(self.name):
            self._source.seek(start)
            content = self._source.read(stop - start)
        if len(content) < stop - start:
            raise self._invalid(f"it ends within row group {number}", COPY)
        if is_hashed:
            if hashlib.sha256(content).hexdigest() != hashes[number]:
                raise self._invalid(f"row group {number} differs from its SHA-256 in the manifest", COPY)
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
            raise self._invalid(f"{_where(name, number)} has an invalid page: {error}", COPY) from None
        if pages.num_values != chunk.num_values or pages.num_bytes > chunk.total_uncompressed_size:
            what = f"{pages.num_values:,} values of {pages.num_bytes:,} bytes in its pages"
            listed = f"{chunk.num_values:,} values of {chunk.total_uncompressed_size:,} bytes in the footer"
            raise self._invalid(f"{_where(name, number)} has {what}, but {listed}", REMAKE)
        if chunk.physical_type == "BYTE_ARRAY" and pages.dictionary is not None:
            # A few bytes can refer to one long text a million times.
            size = chunk.num_values * _longest_text(content, pages.dictionary, chunk.compression)
            if size > MOST_GROUP_BYTES:
                size = self._text_bytes(number, chunk.path_in_schema, (offset, content))
            if size > MOST_GROUP_BYTES:
                raise self._invalid(f"{_where(name, number)} has text of {size:,} bytes", REMAKE)

    def _text_bytes(self, number: int, path: str, part: tuple[int, bytes]) -> int:
        """Return the bytes of the text of a column chunk, without storing a repeated text twice."""
        window = _Window(self.listed.bytes)
        window.parts = [part]
        with naming_damage(self.name):
            file = pq.ParquetFile(
                window,
                metadata=self.metadata,
                read_dictionary=[path],
                page_checksum_verification=True,
                pre_buffer=False,
            )
            column = file.read_row_group(number, columns=[path], use_threads=False).column(0)
            return sum(_num_text_bytes(chunk) for chunk in column.chunks)

    def _check_budget(self, numbers: list[int], names: Sequence[str]) -> None:
        sizes = [self._value_bytes(number, names) for number in numbers]
        if max(sizes) > MOST_GROUP_BYTES:
            what = f"row group {numbers[sizes.index(max(sizes))]} has values of {max(sizes):,} bytes"
            raise self._invalid(f"{what}; at most {MOST_GROUP_BYTES:,} are read", REMAKE)
        self._check_ratio(sum(sizes))

    def _check_ratio(self, size: int) -> None:
        if size > max(RATIO_ABOVE, MOST_RATIO * self.listed.bytes):
            what = f"its {self.listed.bytes:,} bytes stand for values of {size:,} bytes"
            raise self._invalid(f"{what}; at most {MOST_RATIO} times as many are read", REMAKE)

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
            raise self._invalid(f"{_where(name, number)} is outside of the file", COPY)
        num_rows, kind = self.listed.row_group_rows[number], self.schema.field(name).type
        least, most = num_rows, num_rows
        if pa.types.is_fixed_size_list(kind):
            least = most = num_rows * kind.list_size
        elif pa.types.is_list(kind):
            most = MOST_GROUP_BYTES
        if not least <= chunk.num_values <= most or chunk.total_uncompressed_size < 0:
            what = f"{_where(name, number)} has {chunk.num_values:,} values for {num_rows:,} rows"
            raise self._invalid(f"{what}, which is impossible for the type {kind}", REMAKE)

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
        metadata = read_footer(file, name, listed)
        check_rows(metadata, name, listed)
        with naming_damage(name):
            columns = check_columns(metadata.schema.to_arrow_schema(), name, listed, schema)
    except BaseException:
        file.close()
        raise
    return ParquetReader(name, listed, columns, metadata, file, _Window(listed.bytes))


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


def _num_text_bytes(array: pa.Array) -> int:
    """Return the bytes of all text of a dictionary, or of a list of it, as often as it occurs."""
    if pa.types.is_list(array.type):
        array = array.flatten()
    sizes = pc.binary_length(array.dictionary)
    return pc.sum(pc.take(sizes, array.indices).cast(pa.int64())).as_py() or 0


def _where(name: str, number: int) -> str:
    return f"column {shorten(name, 80)} of row group {number}"


class _Window(SeekableReader):
    """A file of which some parts are in memory, and nothing else is read."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.parts: list[tuple[int, bytes]] = []
        """First byte of each part in the file, and its content."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self.size - self.position
        for start, content in self.parts:
            first = self.position - start
            if first >= 0 and first + size <= len(content):
                self.position += size
                return content[first : first + size]
        raise OSError(f"bytes {self.position:,} to {self.position + size:,} are in no column that is read")
