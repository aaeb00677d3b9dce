"""A sample or sequence that is far too large is left out by id, and others are not affected."""

from pathlib import Path

import numpy as np

import aamprep
from aam_schemas.manifest import InputFile
from aamprep.prepare.block import blocks, too_large
from aamprep.read.maxima import LARGEST_SAMPLE, MOST_BASES
from aamprep.read.types import CountTable
from tests.helpers.studies import random_counts, random_sequences, write_table


def test_a_sample_with_too_many_entries_is_left_out_of_the_blocks() -> None:
    sizes = [2, LARGEST_SAMPLE + 1, 3, 0, 1]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.arange(indptr[-1], dtype=np.int32)
    source = InputFile(role="table", name="t", bytes=1, sha256="0" * 64, kind="k")
    ids = tuple(f"S{number}" for number in range(len(sizes)))
    table = CountTable(source, "t", ids, (), indptr, entries, np.ones(len(entries)))
    assert too_large(table).tolist() == [1]
    found = list(blocks(table, np.arange(len(entries))))
    assert [sample_id for block in found for sample_id in block.sample_ids] == ["S0", "S2", "S3", "S4"]
    assert [size for block in found for size in block.num_asvs] == [2, 3, 0, 1]
    assert found[1].asv.tolist() == [*range(indptr[2], indptr[3]), int(indptr[-1]) - 1]


def test_a_sequence_that_is_too_long_is_excluded_by_id(tmp_path: Path) -> None:
    counts = random_counts(6, 10) + 1
    sequences = random_sequences(10)
    ids = [f"asv{number}" for number in range(10)]
    table = write_table(tmp_path, counts, ids)
    rep_seqs = dict(zip(ids, sequences, strict=True)) | {"asv3": "ACGT" * 50_000, "asv4": "A" * MOST_BASES}
    written = aamprep.shard(table, rep_seqs=rep_seqs, output=tmp_path / "shards")
    assert written.report.counts["sequence-too-long"] == 1
    assert written.manifest.sequence_length == MOST_BASES + 1
    rejected = written.open().rejected()
    assert rejected is not None
    assert rejected["id"].to_list() == ["asv3"]
    assert rejected["rule"].to_list() == ["sequence-too-long"]
