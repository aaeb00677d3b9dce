"""Write prepared samples to Parquet: each file has one split, in row groups of about one megabyte."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.manifest import ShardFile
from aam_schemas.shards import (
    ROW_GROUP_BYTES,
    file_sha256,
    footer_sha256,
    parquet_writer,
    row_group_sha256,
    samples_file,
    write_parquet,
)

FILE_BYTES = 256 << 20
"""Uncompressed size above which a new sample file is started."""


@dataclass
class SplitWriter:
    """Write the samples of one split, in the order in which they are added."""

    folder: Path
    split: str
    schema: pa.Schema
    sample_ids: list[str] = field(default_factory=list)
    """Ids of the samples added so far."""
    _waiting: list[pa.Table] = field(default_factory=list)
    _waiting_bytes: int = 0
    _paths: list[Path] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None
    _file_bytes: int = 0

    def write(self, samples: pa.Table) -> None:
        """Add samples. Complete row groups are written to disk, and the rest waits for more samples."""
        self.sample_ids.extend(samples["sample_id"].to_pylist())
        self._waiting.append(samples)
        self._waiting_bytes += samples.nbytes
        if self._waiting_bytes < ROW_GROUP_BYTES:
            return
        waiting = pa.concat_tables(self._waiting)
        rows = rows_per_group(waiting)
        whole = len(waiting) - len(waiting) % rows
        for start in range(0, whole, rows):
            self._write_group(waiting.slice(start, rows))
        self._waiting = [waiting.slice(whole)]
        self._waiting_bytes = self._waiting[0].nbytes

    def close(self) -> list[str]:
        """Write the remaining samples, and give the files their final names.

        The names contain the number of files, which is known only now.
        """
        waiting = pa.concat_tables(self._waiting) if self._waiting else None
        if waiting is not None and len(waiting):
            self._write_group(waiting)
        if self._writer is not None:
            self._writer.close()
        names = [samples_file(self.split, index, len(self._paths)) for index in range(len(self._paths))]
        for path, name in zip(self._paths, names, strict=True):
            path.rename(self.folder / name)
        return names

    def _write_group(self, group: pa.Table) -> None:
        if self._writer is None or self._file_bytes > FILE_BYTES:
            self._next_file()
        assert self._writer is not None
        self._writer.write_table(group.combine_chunks(), row_group_size=len(group))
        self._file_bytes += group.nbytes

    def _next_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        path = self.folder / f"{self.split}-{len(self._paths):05d}.part"
        self._paths.append(path)
        self._writer, self._file_bytes = parquet_writer(path, self.schema), 0


def rows_per_group(table: pa.Table) -> int:
    """Return the number of rows in a row group of about one megabyte before compression."""
    return max(1, ROW_GROUP_BYTES * len(table) // max(table.nbytes, 1))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table that fits into memory, in row groups of about one megabyte."""
    write_parquet(table, path, rows_per_group(table))


def describe(path: Path, split: str = "") -> ShardFile:
    """Return the entry of a file in the manifest: its size, rows and hashes."""
    if path.suffix != ".parquet":
        return ShardFile(
            name=path.name,
            split=split,
            rows=0,
            row_group_rows=(),
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
            footer_sha256="",
        )
    metadata = pq.read_metadata(path)
    groups = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
    return ShardFile(
        name=path.name,
        split=split,
        rows=sum(groups),
        row_group_rows=groups,
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        footer_sha256=footer_sha256(path),
        row_group_sha256=row_group_sha256(path, metadata),
    )


class Spool:
    """Prepared blocks on disk, between the first and the second pass over the samples."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)

    def add(self, table: pa.Table) -> None:
        """Append a block."""
        self._writer.write_table(table.combine_chunks())

    def read(self) -> Iterator[pa.Table]:
        """Yield all blocks again, then delete the file."""
        self._writer.close()
        self._sink.close()
        # The file is not memory-mapped, since mapped pages would stay in memory until the last block is read.
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_file(source) as file:
            for index in range(file.num_record_batches):
                yield pa.table(file.get_batch(index))
        self.path.unlink()
