"""Layout of a shard set on disk, format version 1: file names, Arrow schemas, Parquet writers and hashes.

shards/
  manifest.json, manifest.sha256         contents and checksums, written last
  asvs.parquet                           one row per distinct ASV; ASVs that some sample keeps come first
  samples-train-00000-of-00009.parquet   one row per sample, one split per file
  metadata.parquet                       optional: one row per sample, in manifest order
  tree.parquet                           optional: one row per branch, parents before children
  distances.npy                          optional: a precomputed matrix, in manifest order
  rejected.parquet                       optional: rejected samples and ASVs, with the reason
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")

ASVS_FILE = "asvs.parquet"
METADATA_FILE = "metadata.parquet"
TREE_FILE = "tree.parquet"
DISTANCES_FILE = "distances.npy"
REJECTED_FILE = "rejected.parquet"

ROW_GROUP_BYTES = 1 << 20
"""Target size of a row group. A loader reads and shuffles whole row groups, so they must be neither too large
to mix samples well nor too small to read fast."""

_ROWS = pa.list_(pa.uint32())
_READS = pa.list_(pa.float64())

SAMPLES = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("study", pa.string(), nullable=False),
        # Row numbers in asvs.parquet, and reads, of the ASVs within the token limit, in order of selection.
        pa.field("asv", _ROWS, nullable=False),
        pa.field("count", _READS, nullable=False),
        # The ASVs beyond the token limit, in the same order. Exact distances need all ASVs of a sample.
        pa.field("dropped_asv", _ROWS, nullable=False),
        pa.field("dropped_count", _READS, nullable=False),
        pa.field("depth", pa.float64(), nullable=False),
        pa.field("depth_before_rarefaction", pa.float64(), nullable=False),
        pa.field("depth_kept", pa.float64(), nullable=False),
        pa.field("num_asvs", pa.uint32(), nullable=False),
        pa.field("num_asvs_kept", pa.uint32(), nullable=False),
    ]
)

BRANCHES = pa.schema(
    [
        # Row numbers in tree.parquet of the branches that the sample covers, with all its ASVs, and the reads
        # under each branch.
        pa.field("branch", _ROWS, nullable=False),
        pa.field("branch_count", _READS, nullable=False),
        pa.field("depth_in_tree", pa.float64(), nullable=False),
    ]
)

TREE = pa.schema(
    [
        pa.field("length", pa.float64(), nullable=False),
        pa.field("parent", pa.uint32()),
        pa.field("asv", pa.uint32()),
    ]
)

REJECTED = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("study", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def samples_schema(has_tree: bool) -> pa.Schema:
    """Return the Arrow schema of a sample file, which includes the branch lists if there is a tree."""
    return pa.schema(list(SAMPLES) + list(BRANCHES)) if has_tree else SAMPLES


def asvs_schema(sequence_length: int) -> pa.Schema:
    """Return the Arrow schema of `asvs.parquet`, with `sequence_length` tokens per ASV (START and bases)."""
    return pa.schema(
        [
            pa.field("asv_id", pa.string(), nullable=False),
            pa.field("aliases", pa.list_(pa.string()), nullable=False),
            pa.field("sequence", pa.string(), nullable=False),
            pa.field("tokens", pa.list_(pa.uint8(), sequence_length), nullable=False),
            pa.field("prevalence", pa.uint32(), nullable=False),
            pa.field("total_count", pa.float64(), nullable=False),
        ]
    )


def samples_file(split: str, index: int, num_files: int) -> str:
    """Return the name of a sample file, in the `name-00000-of-00009` form common for sharded data sets."""
    return f"samples-{split}-{index:05d}-of-{num_files:05d}.parquet"


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file for writing, with page checksums.

    Column statistics are off. They would only enlarge the footer, since no reader filters on list columns.
    """
    return pq.ParquetWriter(
        path, schema, compression="zstd", write_page_checksum=True, write_statistics=False, store_schema=True
    )


def write_parquet(table: pa.Table, path: Path, row_group_rows: int = 1 << 16) -> None:
    """Write a table to a Parquet file with page checksums."""
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=row_group_rows)


def footer_sha256(path: Path) -> str:
    """Return the SHA-256 of a Parquet file's footer, which the page checksums do not cover.

    The footer is the Thrift metadata, its length in four bytes, and the magic number `PAR1`
    (https://parquet.apache.org/docs/file-format/).

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        If the file does not end with a Parquet footer.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        # The footer length is a little-endian integer of four bytes, directly before the magic number.
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little") + 8
        if tail[4:] != b"PAR1" or length > size:
            raise ValueError("the file does not end with a Parquet footer")
        file.seek(size - length)
        return hashlib.sha256(file.read(length)).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a whole file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row_group_span(metadata: pq.FileMetaData, number: int) -> tuple[int, int]:
    """Return the first byte of a row group in its file, and the byte after its last one."""
    group = metadata.row_group(number)
    spans = [chunk_span(group.column(index)) for index in range(group.num_columns)]
    return min(start for start, _ in spans), max(stop for _, stop in spans)


def chunk_span(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Return the first byte of a column chunk, and the byte after its last one."""
    start = int(chunk.data_page_offset)
    if chunk.dictionary_page_offset:
        start = min(start, int(chunk.dictionary_page_offset))
    return start, start + int(chunk.total_compressed_size)


def row_group_sha256(path: Path, metadata: pq.FileMetaData) -> tuple[str, ...]:
    """Return the SHA-256 of the bytes of each row group of a file, as `row_group_span` delimits them."""
    hashes = []
    with path.open("rb") as file:
        for number in range(metadata.num_row_groups):
            start, stop = row_group_span(metadata, number)
            file.seek(start)
            hashes.append(hashlib.sha256(file.read(stop - start)).hexdigest())
    return tuple(hashes)


def tokens_sha256(tokens: pa.ChunkedArray) -> str:
    """Return the SHA-256 of the column `tokens` of some ASVs: one byte per token, ASV after ASV."""
    values = tokens.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
