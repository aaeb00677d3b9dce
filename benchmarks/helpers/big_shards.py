"""Write a larger shard set from a small one, with its training samples repeated.

The training samples are written many times under new names, in files and row groups like those of `aamprep
shard`. Small files (ASVs, branches) are copied. So sets of any size differ only in their number of samples.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.manifest import Manifest, read_manifest, write_manifest
from aam_schemas.shards import ASVS_FILE, TREE_FILE, parquet_writer, samples_file
from aamprep.shards.write import describe

ROUNDS_PER_FILE = 20


def write_big_shards(shards: Path, folder: Path, times: int) -> Manifest:
    """Write a set that repeats the training samples of another one."""
    manifest = read_manifest(shards)
    folder.mkdir()
    common = [file.name for file in manifest.files if file.name in (ASVS_FILE, TREE_FILE)]
    for name in common:
        shutil.copy(shards / name, folder)
    small = [file.name for file in manifest.sample_files("train")]
    groups = [
        group
        for name in small
        for group in map(pq.ParquetFile(shards / name).read_row_group, _groups(shards / name))
    ]
    num_files = -(-times // ROUNDS_PER_FILE)
    names = [samples_file("train", index, num_files) for index in range(num_files)]
    for index, name in enumerate(names):
        rounds = range(index * ROUNDS_PER_FILE, min((index + 1) * ROUNDS_PER_FILE, times))
        with parquet_writer(folder / name, groups[0].schema) as writer:
            for number in rounds:
                for group in groups:
                    writer.write_table(_renamed(group, number))
    samples = tuple(describe(folder / name, "train") for name in names)
    files = (*(describe(folder / name) for name in common), *samples)
    larger = replace(
        manifest,
        files=files,
        num_samples=sum(file.rows for file in samples),
        metadata_types={},
        num_rejected_samples=0,
        num_rejected_asvs=0,
    )
    write_manifest(folder, larger)
    return larger


def _groups(path: Path) -> range:
    return range(pq.read_metadata(path).num_row_groups)


def _renamed(group: pa.Table, number: int) -> pa.Table:
    ids = [f"{name}.{number}" for name in group["sample_id"].to_pylist()]
    return group.set_column(0, group.schema.field("sample_id"), pa.array(ids))


if __name__ == "__main__":
    write_big_shards(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
