"""Parquet files of a shard set are read as pyarrow reads them, or refused before they take memory."""

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.footer import ColumnsError
from aam_schemas.manifest import ShardFile
from aam_schemas.pages import read_pages
from aam_schemas.parquet import open_shard_file
from aam_schemas.shards import chunk_span
from aamprep.shards.write import describe

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "number": pa.float64(),
        "rows": pa.list_(pa.uint32()),
        "names": pa.list_(pa.string()),
        "tokens": pa.list_(pa.uint8(), 3),
    }
)
ROWS = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.floats(allow_nan=False),
    st.lists(st.integers(0, 2**32 - 1), max_size=4),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3),
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
)
OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["zstd", "snappy", "none", "gzip", "lz4", "brotli"]),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "data_page_size": st.sampled_from([100, 1 << 20]),
        "row_group_size": st.integers(1, 20),
        "write_statistics": st.booleans(),
        "write_page_checksum": st.booleans(),
        "store_schema": st.just(True),
    }
)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA)
    return pa.table([pa.array(list(c), f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def small_table(num_rows: int = 6) -> pa.Table:
    return table_of([(f"S{n}", float(n), list(range(n)), ["a", "b"], [5, 1, 2]) for n in range(num_rows)])


def write(path: Path, table: pa.Table, **options: Any) -> ShardFile:
    pq.write_table(table, path, **({"compression": "zstd", "write_page_checksum": True} | options))
    return describe(path)


def refusal(path: Path, listed: ShardFile, schema: pa.Schema = SCHEMA) -> str:
    """Return why a file is refused; it must be named."""
    with pytest.raises(InvalidDataError) as raised, open_shard_file(path, listed, schema) as reader:
        reader.read()
    assert raised.value.where == str(path)
    return raised.value.what


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(ROWS, max_size=12), options=OPTIONS)
def test_valid_files_are_read_as_pyarrow_reads_them(
    rows: list[tuple[Any, ...]], options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    table = table_of(rows)
    listed = write(path, table, **options)
    with open_shard_file(path, listed, SCHEMA) as reader:
        assert reader.read().equals(table)
        assert pa.concat_tables(reader.batches(100)).equals(table)
        assert reader.read(["tokens", "id"]).equals(table.select(["tokens", "id"]))
    content, metadata = path.read_bytes(), pq.read_metadata(path)
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns if group.num_rows else 0)):
            pages = read_pages(content, *chunk_span(chunk))
            assert pages.num_values == chunk.num_values
            assert pages.num_bytes <= chunk.total_uncompressed_size


def test_names_and_nullability_of_list_elements_do_not_matter(tmp_path: Path) -> None:
    kind = pa.list_(pa.field("element", pa.uint32(), nullable=False))
    schema = SCHEMA.set(2, pa.field("rows", kind, nullable=False))
    table = small_table().cast(schema).select(SCHEMA.names[::-1]).append_column("more", pa.nulls(6))
    listed = write(tmp_path / "a.parquet", table)
    with open_shard_file(tmp_path / "a.parquet", listed, SCHEMA) as reader:
        assert reader.read().equals(small_table())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("id", pa.large_string()), ("id", pa.binary()), ("id", pa.dictionary(pa.int32(), pa.string())),
        ("number", pa.float32()), ("number", pa.int64()), ("rows", pa.list_(pa.int64())),
        ("rows", pa.large_list(pa.uint32())), ("tokens", pa.list_(pa.uint8())),
    ],
)  # fmt: skip
def test_other_types_are_named(name: str, kind: pa.DataType, tmp_path: Path) -> None:
    index = SCHEMA.names.index(name)
    table = small_table().set_column(index, name, small_table().column(index).cast(kind))
    listed = write(tmp_path / "a.parquet", table)
    with pytest.raises(ColumnsError, match=f"column {name}: .*; .* is needed"):
        open_shard_file(tmp_path / "a.parquet", listed, SCHEMA)


def test_missing_duplicate_and_covered_columns_are_named(tmp_path: Path) -> None:
    path, table = tmp_path / "a.parquet", small_table()
    assert refusal(path, write(path, table.drop_columns("id"))) == "column id: missing; string is needed"
    assert "column id: string, string" in refusal(path, write(path, table.append_column("id", table["id"])))
    assert "column id.x" in refusal(path, write(path, table.append_column("id.x", table["id"])))


def test_the_time_to_read_wide_files_grows_with_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({f"c{number}": [1.0, 2.0] for number in range(4000)})
    listed = write(path, table)
    start = time.process_time()
    with open_shard_file(path, listed, table.schema) as reader:
        assert reader.read().equals(table)
    # About 1.5 s. Comparing each column with all others takes 40 s.
    assert time.process_time() - start < 15


def test_what_is_not_the_listed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    listed = write(path, small_table(), row_group_size=2)
    good = path.read_bytes()
    assert "the manifest lists 9" in refusal(path, replace(listed, bytes=9))
    assert "row groups" in refusal(path, replace(listed, row_group_rows=(3, 3)))
    assert "rows" in refusal(path, replace(listed, rows=7))
    path.write_bytes(good[:-4] + b"PARE")
    assert "encrypted" in refusal(path, listed)
    path.write_bytes(good[:-8] + (2**31).to_bytes(4, "little") + b"PAR1")
    assert "footer" in refusal(path, listed)
    path.write_bytes(good + b"x")
    assert f"{len(good) + 1:,} bytes" in refusal(path, listed)
    path.unlink()
    assert "No such file" in refusal(path, listed)
    os.mkfifo(path)
    assert "pipe" in refusal(path, listed)


def test_a_forged_page_is_refused_though_its_footer_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_page_checksum": False}
    options["write_statistics"] = False
    listed = write(path, small_table(), **options)
    forged = path.read_bytes().replace(np.float64(5).tobytes(), np.float64(9.5).tobytes())
    path.write_bytes(forged)
    assert refusal(path, listed) == "row group 0 differs from its SHA-256 in the manifest"
    # A set without the hashes is protected by the checksums of its pages alone, and this file has none.
    with open_shard_file(path, replace(listed, row_group_sha256=()), SCHEMA) as reader:
        assert reader.read()["number"].to_pylist()[5] == 9.5


def zigzag(value: int, size: int) -> bytes:
    """Encode a signed number as Thrift does, in a number of bytes."""
    value = value << 1
    digits = [value >> (7 * index) & 127 for index in range(size)]
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def test_values_that_few_bytes_stand_for_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    path, number = tmp_path / "a.parquet", 30_000_000
    lists = pa.ListArray.from_arrays(
        pa.array([0] + [number] * 6, pa.int32()), pa.array(np.zeros(number, "u4"))
    )
    before = pa.total_allocated_bytes()
    listed = write(path, small_table().set_column(2, "rows", lists))
    assert "values of" in refusal(path, listed)
    # The footer says that there are few.
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little") + 8
    footer = content[-length:].replace(zigzag(number + 5, 4), zigzag(6, 4))
    assert footer != content[-length:]
    path.write_bytes(content[:-length] + footer)
    lying = replace(listed, footer_sha256=hashlib.sha256(footer).hexdigest())
    assert "values" in refusal(path, lying)
    del lists
    assert pa.total_allocated_bytes() <= before


def test_many_row_groups_of_few_bytes_are_refused_before_the_first_is_read(tmp_path: Path) -> None:
    path, schema = tmp_path / "a.parquet", pa.schema([("length", pa.float64())])
    listed = write(path, pa.table({"length": np.zeros(20_000_000)}), row_group_size=1 << 20)
    assert len(listed.row_group_rows) > 1
    with open_shard_file(path, listed, schema) as reader, pytest.raises(InvalidDataError, match="stand for"):
        next(reader.batches(1 << 20))


def test_long_text_repeated_in_a_dictionary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = small_table(300).set_column(0, "id", pa.array(["x" * 1_000_000] * 300))
    assert "text of 300,000,000 bytes" in refusal(path, write(path, table))
    assert path.stat().st_size < 100_000


def test_one_long_text_beside_many_short_ones_is_read(tmp_path: Path) -> None:
    path, long = tmp_path / "a.parquet", "x" * 1_000_000
    table = small_table(300).set_column(0, "id", pa.array([long, *["y"] * 298, None]))
    table = table.set_column(3, "names", pa.array([[long], ["z"], *[["z", None]] * 298]))
    with open_shard_file(path, write(path, table), SCHEMA) as reader:
        assert reader.read().equals(table)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = small_table().set_column(0, "id", pa.array([b"\xff"] * 6).view(pa.string()))
    assert "UTF8" in refusal(path, write(path, table))


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY"])
def test_encodings_of_unknown_size_are_refused(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    listed = write(path, small_table(), use_dictionary=False, column_encoding={"id": encoding})
    assert encoding in refusal(path, listed)
