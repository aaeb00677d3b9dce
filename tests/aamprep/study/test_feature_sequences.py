"""If no feature of a table has a sequence, the true cause is told, once, with a fix that works."""

import subprocess
import sys
from collections.abc import Callable
from hashlib import md5, sha1
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import DNA

import aamprep
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.study.study import Paths, Study, read_study
from tests.helpers.biom_files import write_hdf5
from tests.helpers.paths import RealData
from tests.helpers.studies import random_sequences

SEQUENCES = random_sequences(6, bases=40)
SAMPLES = ["S1", "S2", "10-A", "blank"]
COUNTS = np.arange(1.0, 25).reshape(6, 4)
NAMES = {
    "sequences": SEQUENCES,
    "names": [f"ASV{number}" for number in range(6)],
    "words": ["Apis", "Bos", "Canis", "Danio", "Equus", "Felis"],
    "hashes": [md5(sequence.encode()).hexdigest() for sequence in SEQUENCES],
}
"""Ids of the features."""

Files = dict[str, str]


def write_beside(folder: Path, files: Files) -> dict[str, Any]:
    """Write texts as files, and return their paths by role."""
    paths = {}
    for role, text in files.items():
        paths[role] = folder / {"rep_seqs": "rep-seqs.fasta", "tree": "tree.nwk"}.get(role, f"{role}.tsv")
        paths[role].write_text(text)
    return paths


def study_of(
    folder: Path, features: list[str], files: Files, samples: list[str] = SAMPLES, counts: np.ndarray = COUNTS
) -> tuple[Study | None, Findings]:
    write_hdf5(folder / "table.biom", counts, samples, features)
    findings = Findings()
    paths = Paths([folder / "table.biom"], **write_beside(folder, files))
    return read_study(paths, findings, isolate=False), findings


def fasta(names: list[str], sequences: list[str]) -> str:
    return "".join(f">{name}\n{sequence}\n" for name, sequence in zip(names, sequences, strict=True))


def only(findings: Findings) -> tuple[str, str]:
    """Return code and value of the only finding."""
    [finding] = findings
    return finding.code, finding.value


def aligned(draw: Any, sequence: str) -> str:
    gaps = draw(st.lists(st.integers(0, len(sequence)), min_size=1, max_size=5))
    for place in sorted(gaps, reverse=True):
        sequence = sequence[:place] + draw(st.sampled_from(["-", ".", "--", "..", "~"])) + sequence[place:]
    return sequence


def numbered(_: Any, sequence: str) -> str:
    """Write a sequence as GenBank does: with the number of the first base of each line."""
    return "\n".join(
        f"{start + 1:>9} {sequence[start : start + 10]}" for start in range(0, len(sequence), 10)
    )


CHANGED: dict[str, Callable[[Any, str], str]] = {
    "this is an alignment; take its gaps out": aligned,
    "this is a stop sign at the end; take it out": lambda _, sequence: sequence + "*",
    "these are numbers of positions, as GenBank writes them; take them out": numbered,
}


@pytest.mark.parametrize("words", CHANGED)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_sequences_of_another_alphabet_are_one_finding_with_a_fix_that_works(
    words: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, names = tmp_path_factory.mktemp("study"), NAMES["names"]
    changed = [CHANGED[words](data.draw, sequence) for sequence in SEQUENCES]
    study, findings = study_of(folder, names, {"rep_seqs": fasta(names, changed)})
    assert study is None
    code, value = only(findings)
    assert code == "not-a-nucleotide"
    assert value.startswith("all 6 sequences hold '")
    assert words in value
    command = findings[0].rule.fix.split("`")[1]
    (folder / "rep-seqs.fasta").rename(folder / "FILE")
    subprocess.run(command, cwd=folder, check=True, shell=True)
    study, findings = study_of(folder, names, {"rep_seqs": (folder / "NEW").read_text()})
    assert not findings
    assert study is not None
    assert set(study.asvs.sequences) == set(SEQUENCES)


def test_proteins_are_named(tmp_path: Path) -> None:
    names = NAMES["names"]
    proteins = [f"MKVLAT{letter}FPEQ-" for letter in "ACDGHK"]
    _, findings = study_of(tmp_path, names, {"rep_seqs": fasta(names, proteins)})
    assert only(findings)[0] == "not-a-nucleotide"
    assert "these are proteins; give the nucleotide sequences" in only(findings)[1]


def test_aligned_sequences_as_feature_ids_are_no_names(tmp_path: Path) -> None:
    gapped = [sequence[:20] + "--" + sequence[20:] for sequence in SEQUENCES]
    _, findings = study_of(tmp_path, gapped, {})
    assert findings[0].where.endswith("table.biom")
    assert only(findings)[1].startswith("all 6 sequences hold '-': this is an alignment")


def test_one_invalid_sequence_is_told_with_its_name(tmp_path: Path) -> None:
    names = NAMES["names"]
    study, findings = study_of(tmp_path, names, {"rep_seqs": fasta(names, [*SEQUENCES[:5], "AC-GT"])})
    assert study is not None
    assert (findings[0].where.split(": ")[1], *only(findings)) == (
        "ASV ASV5", "not-a-nucleotide", "'-' at base 3, a gap of an alignment"
    )  # fmt: skip


def test_missing_and_invalid_sequences_are_told_apart(tmp_path: Path) -> None:
    names = NAMES["names"]
    study, findings = study_of(tmp_path, names, {"rep_seqs": fasta(names[:4], ["A-C", "A.C", "G-", "T-"])})
    assert study is None
    assert findings.counts() == {rules.NOT_A_NUCLEOTIDE: 1, rules.NO_SEQUENCE: 2}


@pytest.mark.parametrize("text", [">\nACGT\n>\nACCT\n", ">ASV0\n>ASV1\n", ">ASV0\nAC\n>ASV0\nAG\n"])
def test_rep_seqs_without_a_readable_entry_have_no_second_cause(tmp_path: Path, text: str) -> None:
    study, findings = study_of(tmp_path, NAMES["names"], {"rep_seqs": text})
    assert study is None
    assert {rule.code.split("-")[0] for rule in findings.counts()} == {"fasta"}


def beside(names: list[str]) -> dict[str, str]:
    tips = ",".join(f"'{name}':1" for name in names)
    return {
        "rep_seqs": fasta(names, SEQUENCES),
        "tree": f"(({tips}):1,other:1);",
        "taxonomy": "Feature ID\tTaxon\n" + "".join(f"{name}\tk__Bacteria\n" for name in names),
        "metadata": "sample-id\tage\n" + "".join(f"{name}\t1\n" for name in SAMPLES),
    }


@pytest.mark.parametrize("kind", NAMES)
@settings(max_examples=8, deadline=None)
@given(roles=st.sets(st.sampled_from(["rep_seqs", "tree", "taxonomy", "metadata"]), min_size=1))
def test_a_transposed_table_is_told_whatever_shows_it(
    kind: str, roles: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, names = tmp_path_factory.mktemp("study"), NAMES[kind]
    files = {role: text for role, text in beside(names).items() if role in roles}
    study, findings = study_of(folder, SAMPLES, files, names, COUNTS.T)
    assert study is None
    assert only(findings)[0] == "table-transposed"
    study, findings = study_of(folder, names, files)
    assert rules.TRANSPOSED not in findings.counts()
    assert (study is not None) == (kind == "sequences" or "rep_seqs" in roles)


def test_the_command_of_the_fix_runs_as_it_is_written(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "FILE", COUNTS.T, SEQUENCES, SAMPLES)
    command = next(part for part in rules.TRANSPOSED.fix.split("`") if part.startswith("python"))
    subprocess.run(command.replace("python", sys.executable, 1), cwd=tmp_path, check=True, shell=True)
    assert aamprep.validate(tmp_path / "table.biom", isolate=False).is_valid


def test_inspect_and_limits_tell_a_transposed_table(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "table.biom", COUNTS.T, SEQUENCES, SAMPLES)
    inspection = aamprep.inspect(tmp_path / "table.biom")
    assert only(inspection.findings)[0] == "table-transposed"
    assert inspection.facts["samples"] == 6
    with pytest.raises(aamprep.InvalidStudyError, match="transposed") as refused:
        aamprep.limits(tmp_path / "table.biom", isolate=False)
    assert set(refused.value.report.counts) == {"table-transposed"}


def test_a_near_miss_on_the_other_axis_is_a_transposed_table(tmp_path: Path) -> None:
    files = {"rep_seqs": fasta([f"{name};size=3" for name in NAMES["names"]], SEQUENCES)}
    _, findings = study_of(tmp_path, SAMPLES, files, NAMES["names"], COUNTS.T)
    code, value = only(findings)
    assert code == "table-transposed"
    assert "6 of 6 sample ids are nearly in rep-seqs" in value
    assert "'ASV0' is 'ASV0;size=3' there" in value


@pytest.mark.parametrize(
    ("features", "header"),
    [
        (["OTU1", "OTU2", "OTU3", "OTU4", "OTU5", "OTU6"], "id\tnote"),
        (["k__A;p__B", "k__A;p__C", "k__D", "k__E", "k__F", "k__G"], "id\tnote"),
        (NAMES["words"], "id\tTaxon"),
    ],
)
def test_metadata_of_features_do_not_make_a_table_transposed(
    tmp_path: Path, features: list[str], header: str
) -> None:
    files = {"metadata": header + "\n" + "".join(f"{name}\tx\n" for name in features)}
    _, findings = study_of(tmp_path, features, files)
    assert only(findings)[0] == "ids-are-not-sequences"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"ASV{n};size={n}" for n in range(6)], "6 would match if annotations"),
        (["u", "v", "w", "x", "y", "z"], "its ids are such as 'u'"),
    ],
)
def test_rep_seqs_of_other_features(tmp_path: Path, names: list[str], words: str) -> None:
    _, findings = study_of(tmp_path, NAMES["names"], {"rep_seqs": fasta(names, SEQUENCES)})
    code, value = only(findings)
    assert code == "rep-seqs-of-other-features"
    assert words in value


def test_annotations_are_taken_off_by_the_fix(tmp_path: Path) -> None:
    annotated = fasta([f"{name};size=7|k__A" for name in NAMES["names"]], SEQUENCES)
    (tmp_path / "FILE").write_text(annotated)
    subprocess.run(rules.OTHER_REP_SEQS.fix.split("`")[1], cwd=tmp_path, check=True, shell=True)
    study, findings = study_of(tmp_path, NAMES["names"], {"rep_seqs": (tmp_path / "NEW").read_text()})
    assert study is not None
    assert not findings


@pytest.mark.parametrize("make", [md5, sha1])
def test_hashes_of_sequences_with_other_names_are_told(tmp_path: Path, make: Any) -> None:
    hashes = [make(sequence.encode()).hexdigest() for sequence in SEQUENCES]
    words = f"6 would match if sequences were named by their {make().name.upper()}: '"
    _, findings = study_of(tmp_path, hashes, {"rep_seqs": fasta(NAMES["names"], SEQUENCES)})
    assert f"{words}{hashes[0]}' is that of 'ASV0'" in only(findings)[1]
    tree = {"tree": f"(({','.join(f'{name}:1' for name in hashes)}):1,other:1);"}
    _, findings = study_of(tmp_path, SEQUENCES, tree)
    assert words in only(findings)[1]
    taxonomy = {"taxonomy": "Feature ID\tTaxon\n" + "".join(f"{name}\tk__A\n" for name in hashes)}
    study, findings = study_of(tmp_path, SEQUENCES, taxonomy)
    assert study is not None
    assert only(findings)[0] == "taxonomy-of-other-features"
    assert words in only(findings)[1]


def test_hashes_that_were_changed_are_told_as_such(tmp_path: Path) -> None:
    hashes = NAMES["hashes"]
    _, findings = study_of(
        tmp_path, hashes, {"rep_seqs": fasta([name.upper() for name in hashes], SEQUENCES)}
    )
    assert "6 would match if case were ignored" in only(findings)[1]


def test_a_tree_of_samples_is_told(tmp_path: Path) -> None:
    _, findings = study_of(tmp_path, SEQUENCES, {"tree": "((S1:1,S2:1):1,('10-A':1,blank:1):1);"})
    assert only(findings) == ("tree-of-other-asvs", "none of 6 ASVs; 4 of 4 tips are samples of the table")


def test_a_taxonomy_of_sequences_for_features_with_other_names_is_told(tmp_path: Path) -> None:
    names = NAMES["names"]
    taxonomy = "Feature ID\tTaxon\n" + "".join(f"{sequence}\tk__A\n" for sequence in SEQUENCES)
    study, findings = study_of(tmp_path, names, {"rep_seqs": fasta(names, SEQUENCES), "taxonomy": taxonomy})
    assert study is not None
    assert only(findings) == (
        "taxonomy-of-other-features",
        "none of 6 ASVs; 6 would match if ASVs were named by their sequences",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sequence: sequence[:35], "trimmed to their first 35 bases"),
        (lambda sequence: sequence + "ACG", "trimmed to their first 40 bases"),
        (lambda sequence: str(DNA(sequence).reverse_complement()), "turned round (reverse complement)"),
    ],
)
def test_a_tree_of_other_sequences_is_explained(
    tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    tips = ",".join(f"{change(sequence)}:1" for sequence in SEQUENCES)
    _, findings = study_of(tmp_path, SEQUENCES, {"tree": f"(({tips}):1,other:1);"})
    assert only(findings)[0] == "tree-of-other-asvs"
    assert f"6 would match if sequences were {words}" in only(findings)[1]


def test_taxa_as_feature_ids_are_told_with_any_rep_seqs(tmp_path: Path) -> None:
    taxa = [f"{'k__Bacteria;p' if name < 'C' else 's'}__{name}" for name in NAMES["words"]]
    _, findings = study_of(tmp_path, taxa, {"rep_seqs": fasta(NAMES["names"], SEQUENCES)})
    assert only(findings)[0] == "ids-are-not-sequences"


def test_hashes_with_a_prefix_are_hashes(tmp_path: Path) -> None:
    _, findings = study_of(tmp_path, [f"ITS1/{name}_198" for name in NAMES["hashes"]], {})
    assert only(findings)[0] == "ids-are-hashes"


@pytest.mark.real
def test_a_published_table_of_hashes_with_a_prefix(real_data: RealData) -> None:
    report = aamprep.validate(real_data("awkward/prefixed-md5.biom"), isolate=False)
    assert set(report.counts) == {"ids-are-hashes"}


def test_sample_ids_that_look_like_hashes_are_mentioned(tmp_path: Path) -> None:
    _, findings = study_of(tmp_path, SAMPLES, {}, NAMES["hashes"], COUNTS.T)
    assert only(findings)[0] == "ids-are-not-sequences"
    assert "the table is transposed" in only(findings)[1]


def test_short_sequences_as_ids_are_told(tmp_path: Path) -> None:
    _, findings = study_of(tmp_path, [sequence[:20] for sequence in SEQUENCES], {})
    assert "fewer than 30 bases are read as names" in only(findings)[1]


def test_a_table_without_sequences_is_refused_beside_a_sound_one(tmp_path: Path) -> None:
    study_of(tmp_path, SEQUENCES, {})
    (tmp_path / "more").mkdir()
    study_of(tmp_path / "more", SAMPLES, {}, SEQUENCES, COUNTS.T)
    findings = Findings()
    paths = Paths([tmp_path / "table.biom", tmp_path / "more" / "table.biom"])
    assert read_study(paths, findings, isolate=False) is None
    assert only(findings)[0] == "table-transposed"
