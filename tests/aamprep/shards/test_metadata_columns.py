"""No metadata column is lost, whatever its name is."""

from pathlib import Path

import aamprep
from tests.helpers.studies import random_counts, random_sequences, write_table


def test_columns_named_like_the_sample_ids_are_all_kept(tmp_path: Path) -> None:
    table = write_table(tmp_path, random_counts(6, 10), random_sequences(10))
    names = ["sample_id", "metadata_sample_id", "Sample_ID", "e\u0301", "\u00e9"]
    rows = ["\t".join(["id", *names])]
    rows += ["\t".join([f"S{row}", *(f"{row}{number}x" for number in range(len(names)))]) for row in range(6)]
    (tmp_path / "m.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    written = aamprep.shard(table, metadata=tmp_path / "m.tsv", output=tmp_path / "shards")
    metadata = written.open().metadata()
    stored = ["metadata_sample_id2", *names[1:]]
    assert metadata is not None
    assert metadata.columns == ["sample_id", *stored]
    for row in metadata.to_dicts():
        assert [row[name] for name in stored] == [f"{row['sample_id'][1:]}{number}x" for number in range(5)]
    note = next(finding for finding in written.report.findings if finding.code == "metadata-column-renamed")
    assert "metadata_sample_id2" in note.value
    assert aamprep.verify(tmp_path / "shards").is_valid
