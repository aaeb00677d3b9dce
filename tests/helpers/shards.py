"""Small shard sets for the tests of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.manifest import read_manifest, write_manifest
from aam_schemas.shards import SPLITS, samples_file, write_parquet
from aammodel.data.shards import ShardSet, open_shards
from aamprep.shards.write import describe
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table


def make_shards(
    run: Programs,
    folder: Path,
    *options: object,
    num_samples: int = 40,
    num_asvs: int = 30,
    has_tree: bool = True,
) -> ShardSet:
    """Shard a random study."""
    sequences = random_sequences(num_asvs)
    # Sequences differ in length, so that tokens have padding.
    sequences = [sequence[: 40 + index % 20] for index, sequence in enumerate(sequences)]
    table = write_table(folder, random_counts(num_samples, num_asvs), sequences)
    if has_tree:
        (folder / "tree.nwk").write_text(random_newick(sequences))
    ran = run("aamprep", "shard", table, "--output", folder / "shards", *options)
    assert ran.code == 0, ran.err
    return open_shards(folder / "shards")


TINY = """
[model]
width = 16
attention_heads = 2
asv_layers = 1
sample_layers = 1
soft_branches = 8
dropout = 0.1
[train]
learning_rate = 0.003
validate_every = 4
checkpoint_every = 3
"""


def tiny_config(folder: Path, more: str = "") -> Path:
    """Write the configuration of a tiny model, which trains fast."""
    path = folder / "tiny.toml"
    path.write_text(TINY + more)
    return path


def counts_by_sample(num_samples: int = 40, num_asvs: int = 30) -> dict[str, np.ndarray]:
    """Return the counts of the table that `make_shards` writes."""
    return {f"S{n}": row for n, row in enumerate(random_counts(num_samples, num_asvs))}


def rewrite_samples(shards: ShardSet, column: str, values: pa.Array) -> ShardSet:
    """Change a column of the first sample file, as another tool might, and the manifest with it."""
    return rewrite(shards, shards.manifest.sample_files("train")[0].name, column, values)


def rewrite(shards: ShardSet, name: str, column: str, values: pa.Array) -> ShardSet:
    """Change a column of a file, as another tool might, and the manifest with it."""
    path = shards.folder / name
    table = pq.read_table(path)
    field = table.schema.field(column).with_type(values.type)
    table = table.set_column(table.column_names.index(column), field, values)
    path.unlink()
    write_parquet(table, path)
    files = tuple(describe(path, file.split) if file.name == name else file for file in shards.manifest.files)
    # As other tools may write it: without hashes of the tokens.
    write_manifest(shards.folder, replace(shards.manifest, files=files, tokens_sha256=""))
    return open_shards(shards.folder)


def divide_samples(folder: Path, rows: int) -> Path:
    """Divide the sample files of a shard set into files of some rows each, as another tool might."""
    manifest = read_manifest(folder)
    files = [file for file in manifest.files if not file.split]
    for split in SPLITS:
        listed = manifest.sample_files(split)
        tables = [pq.read_table(folder / file.name) for file in listed]
        for file in listed:
            (folder / file.name).unlink()
        table = pa.concat_tables(tables) if tables else pa.table({})
        starts = range(0, len(table), rows)
        for index, start in enumerate(starts):
            path = folder / samples_file(split, index, len(starts))
            write_parquet(table.slice(start, rows), path)
            files.append(describe(path, split))
    write_manifest(folder, replace(manifest, files=tuple(files)))
    return folder
