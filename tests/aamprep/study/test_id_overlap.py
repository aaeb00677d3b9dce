"""Ids that two files share, and explanations for those that do not match."""

import json
from pathlib import Path
from typing import Any

from aamprep.rules.findings import Findings
from aamprep.study.id_overlap import overlaps
from aamprep.study.study import Paths, read_study
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(6)


def study_with(
    folder: Path, metadata_ids: list[str] | None = None, sample_ids: list[str] | None = None
) -> Path:
    table = write_table(folder, random_counts(4, 6), SEQUENCES, sample_ids)
    if metadata_ids is not None:
        rows = "".join(f"{name}\t{number}\n" for number, name in enumerate(metadata_ids))
        (folder / "metadata.tsv").write_text("sample-id\tage\n" + rows)
    return table


def findings_of(run: Programs, table: Path) -> dict[str, str]:
    document: dict[str, Any] = json.loads(run("aamprep", "validate", table, "--json").out)
    return {finding["code"]: finding["value"] for finding in document["findings"]}


def test_three_lists(tmp_path: Path) -> None:
    table = study_with(tmp_path, ["S0", "S1", "S9"])
    (tmp_path / "tree.nwk").write_text(random_newick([*SEQUENCES[1:], "other"]))
    paths = Paths([table], tree=tmp_path / "tree.nwk", metadata=tmp_path / "metadata.tsv")
    study = read_study(paths, Findings())
    assert study is not None
    samples, asvs = overlaps(study)
    assert (samples.both, samples.only_here, samples.only_there) == (("S0", "S1"), ("S2", "S3"), ("S9",))
    assert set(asvs.both) == set(SEQUENCES[1:])
    assert (asvs.only_here, asvs.only_there) == ((SEQUENCES[0],), ("other",))


def test_samples_and_rows_without_each_other_are_counted(tmp_path: Path, run: Programs) -> None:
    found = findings_of(run, study_with(tmp_path, ["S0", "S1", "s2", "S9"]))
    assert found["sample-without-metadata"].startswith(
        "2, such as S2; 2 samples in both, 2 only in the table, 2 only in the metadata; 1 would match if case"
    )
    assert found["metadata-without-sample"].startswith("2, such as s2; 2 samples in both")


def test_no_sample_in_the_metadata_is_one_clear_warning(tmp_path: Path, run: Programs) -> None:
    table = study_with(tmp_path, ["1.1", "1.2", "1.3", "1.4"], ["1.10", "1.20", "1.30", "1.40"])
    found = findings_of(run, table)
    assert found["metadata-of-other-samples"].startswith("none of 4 samples; 4 would match if numbers")
    assert not {"sample-without-metadata", "metadata-without-sample", "column-with-one-value"} & set(found)
    shown = run("aamprep", "validate", table).out
    assert "warning metadata-of-other-samples" in shown


def test_without_a_near_miss_the_ids_of_both_are_shown(tmp_path: Path, run: Programs) -> None:
    found = findings_of(run, study_with(tmp_path, ["x", "y"]))
    assert "ids such as 'S0', the metadata such as 'x'" in found["metadata-of-other-samples"]


def test_rep_seqs_that_the_table_lacks_are_counted(tmp_path: Path, run: Programs) -> None:
    names = [f"asv{number}" for number in range(6)]
    table = write_table(tmp_path, random_counts(4, 6), names)
    pairs = zip([*names, "more"], random_sequences(7), strict=True)
    (tmp_path / "rep-seqs.fasta").write_text("".join(f">{name}\n{sequence}\n" for name, sequence in pairs))
    found = findings_of(run, table)
    assert found["rep-seqs-without-feature"] == (
        "1, such as more; 6 features in both, 0 only in the table, 1 only in rep-seqs"
    )


def test_features_that_nearly_match_rep_seqs_get_a_hint(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(4, 2), ["OTU_1", "OTU_2"])
    (tmp_path / "rep-seqs.fasta").write_text(">OTU-1\nACGT\n>OTU-2\nACGA\n")
    assert "2 would match if dots, dashes" in findings_of(run, table)["rep-seqs-of-other-features"]


def test_a_tree_with_nearly_the_same_names_gets_a_hint(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(4, 2), ["OTU_1", "OTU_2"])
    (tmp_path / "rep-seqs.fasta").write_text(">OTU_1\nACGT\n>OTU_2\nACGA\n")
    (tmp_path / "tree.nwk").write_text("('OTU 1':1,'OTU 2':1);")
    assert "2 would match if dots, dashes" in findings_of(run, table)["tree-of-other-asvs"]


def test_metadata_of_features_are_told(tmp_path: Path, run: Programs) -> None:
    found = findings_of(run, study_with(tmp_path, [*SEQUENCES[1:], "more"]))
    assert found["metadata-of-other-samples"] == (
        "none of 4 samples; 5 of 6 ids of the metadata are features of the table"
    )


def test_distances_of_features_are_told(tmp_path: Path, run: Programs) -> None:
    table = study_with(tmp_path)
    names = SEQUENCES[:2]
    (tmp_path / "distances.tsv").write_text(
        "\t".join(["", *names]) + f"\n{names[0]}\t0\t1\n{names[1]}\t1\t0\n"
    )
    found = findings_of(run, table)
    assert "2 of 2 ids of the distances are features" in found["distances-of-other-samples"]


def test_sample_ids_in_another_column_are_told(tmp_path: Path, run: Programs) -> None:
    table = study_with(tmp_path)
    (tmp_path / "metadata.tsv").write_text("id\tage\tname\n1\t7\tS3\n2\t8\tS0\n3\t9\tS1\n")
    assert findings_of(run, table)["metadata-of-other-samples"] == (
        "none of 4 samples; 3 are in column 'name', but the ids must be in the first column"
    )


def test_transposed_metadata_are_told(tmp_path: Path, run: Programs) -> None:
    table = study_with(tmp_path)
    (tmp_path / "metadata.tsv").write_text("id\tS0\tS1\tS2\tS3\nage\t7\t8\t9\t6\nsex\tf\tm\tf\tm\n")
    assert findings_of(run, table)["metadata-of-other-samples"] == (
        "none of 4 samples; 4 are names of columns: the metadata are transposed"
    )


def test_a_column_of_numbers_does_not_hold_the_sample_ids_by_chance(tmp_path: Path, run: Programs) -> None:
    table = study_with(tmp_path, ["1.0", "2.0", "3.0", "4.0"], ["1", "2", "3", "4"])
    value = findings_of(run, table)["metadata-of-other-samples"]
    assert "4 would match if numbers had not lost their zeros" in value
    table = study_with(tmp_path, ["u", "v", "w", "x"], ["1", "2", "3", "4"])
    assert "the metadata such as 'u'" in findings_of(run, table)["metadata-of-other-samples"]
