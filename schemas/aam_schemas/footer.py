"""Compare the footer of a Parquet file with the manifest: its hash, columns, row groups and rows."""

import hashlib
import io
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.text import shorten, truncate_list
from aam_schemas.manifest import Manifest, ShardFile
from aam_schemas.shards import (
    ASVS_FILE,
    METADATA_FILE,
    REJECTED,
    REJECTED_FILE,
    TREE,
    TREE_FILE,
    asvs_schema,
    samples_schema,
)

MOST_FOOTER_BYTES = 16 << 20
_THRIFT_LIMITS = {"thrift_string_size_limit": MOST_FOOTER_BYTES, "thrift_container_size_limit": 1 << 20}

OPTIONAL_COLUMNS = {ASVS_FILE: {"taxon": pa.string()}}
"""Columns that a file may have, or not."""

COPY = "copy the whole folder again, or make it again with `aamprep shard`"
REMAKE = "correct the program that wrote this file, or make the shards again with `aamprep shard`"


class ColumnsError(InvalidDataError):
    """A column is missing, or has another type."""


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
        raise InvalidDataError(f"this file is damaged: {shorten(error)}", name, COPY) from error


def column_problems(actual: pa.Schema, needed: pa.Schema) -> list[tuple[str, str]]:
    """Return the columns that are missing, duplicated or of another type, each with a description."""
    problems = []
    names, known = sorted(actual.names), set(needed.names)
    for column in needed:
        types = [actual.field(index).type for index in actual.get_all_field_indices(column.name)]
        if len(types) != 1 or not _is_same(types[0], column.type):
            words = ", ".join(map(str, types)) or "missing"
            problems.append((column.name, f"{shorten(words)}; {column.type} is needed"))
        # pyarrow would read such a column along with the one that is needed.
        problems += [
            (name, f"its name begins with that of {column.name}")
            for name in _beginning(names, f"{column.name}.")
            if name not in known
        ]
    return problems


def _beginning(names: list[str], prefix: str) -> Iterator[str]:
    """Yield the names of a sorted list that begin with a prefix. A file can have thousands of columns."""
    index = bisect_left(names, prefix)
    while index < len(names) and names[index].startswith(prefix):
        yield names[index]
        index += 1


def read_footer(file: io.BufferedIOBase, name: str, listed: ShardFile) -> pq.FileMetaData:
    """Read the footer of a file, whose size and hash must be those of the manifest.

    Raises
    ------
    InvalidDataError
    """
    with naming_damage(name):
        size = file.seek(0, os.SEEK_END)
        if size != listed.bytes:
            raise _changed(f"it has {size:,} bytes; the manifest lists {listed.bytes:,}", name)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little") + 8
        if tail[4:] == b"PARE":
            raise InvalidDataError("this Parquet file is encrypted", name, REMAKE)
        if tail[4:] != b"PAR1" or not 12 < length <= min(size, MOST_FOOTER_BYTES):
            raise InvalidDataError("this file does not end with a Parquet footer", name, COPY)
        file.seek(size - length)
        footer = file.read(length)
        if hashlib.sha256(footer).hexdigest() != listed.footer_sha256:
            raise _changed("the sha256 of its footer differs from the manifest", name)
        # The footer alone is a Parquet file for this purpose.
        return pq.ParquetFile(io.BytesIO(b"PAR1" + footer), **_THRIFT_LIMITS).metadata


def check_rows(metadata: pq.FileMetaData, name: str, listed: ShardFile) -> None:
    """Compare the row groups of a file with the manifest.

    Raises
    ------
    InvalidDataError
    """
    rows = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
    if rows != listed.row_group_rows or metadata.num_rows != listed.rows:
        actual = f"{metadata.num_rows:,} rows in {len(rows):,} row groups"
        raise _changed(
            f"{actual}; the manifest lists {listed.rows:,} in {len(listed.row_group_rows):,}", name
        )


def check_columns(actual: pa.Schema, name: str, listed: ShardFile, needed: pa.Schema) -> pa.Schema:
    """Return the needed columns of a file, and the optional ones that it has.

    Raises
    ------
    ColumnsError
        If a needed column is missing, duplicated or of another type.
    """
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
        raise ColumnsError(truncate_list(problems, separator="; "), name, REMAKE)
    return columns


def _is_same(actual: pa.DataType, needed: pa.DataType) -> bool:
    """Return whether two types are equal. List elements may have other names, and be nullable or not."""
    if pa.types.is_list(needed) and pa.types.is_list(actual):
        return _is_same(actual.value_type, needed.value_type)
    if pa.types.is_fixed_size_list(needed) and pa.types.is_fixed_size_list(actual):
        is_as_long = actual.list_size == needed.list_size
        return is_as_long and _is_same(actual.value_type, needed.value_type)
    return bool(actual == needed)


def _changed(what: str, name: str) -> InvalidDataError:
    return InvalidDataError(f"this file is not the one that the manifest lists: {what}", name, COPY)
