"""Formats of other programs are named, and the command of each fix gives a file that can be read."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import biom
import h5py
import numpy as np
import pytest

from aamprep.read import read_metadata, read_sequences, read_table, read_tree
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import COUNTS, FEATURES, SAMPLES, dense


def apply_fix(rule: Rule, folder: Path) -> None:
    """Run the first command of a fix in a folder, on its file FILE."""
    words = shlex.split(rule.fix.split("`")[1 if rule is not rules.METADATA_SEPARATOR else 7])
    if words[0] == "biom":
        subprocess.run([Path(sys.executable).with_name("biom"), *words[1:]], cwd=folder, check=True)
        return
    if words[0] == "python":
        subprocess.run([sys.executable, *words[1:]], cwd=folder, check=True)
        return
    with (folder / "tree.nwk").open("w") as output:
        subprocess.run(words[: words.index(">")], cwd=folder, check=True, stdout=output)


def matrix(header: list[str], names: list[str], counts: np.ndarray) -> str:
    rows = [
        "\t".join([name, *(f"{count:g}" for count in row)]) for name, row in zip(names, counts, strict=True)
    ]
    return "\n".join(["\t".join(header), *rows]) + "\n"


TABLES = {
    "features in rows": (matrix(["", *SAMPLES], FEATURES, COUNTS), rules.TEXT_MATRIX),
    "R's write.table, quoted": (
        matrix([f'"{s}"' for s in SAMPLES], [f'"{f}"' for f in FEATURES], COUNTS),
        rules.TEXT_MATRIX,
    ),
    "seqtab": (matrix(["", *FEATURES], SAMPLES, COUNTS.T), rules.TEXT_SAMPLES),
    "seqtab of R's write.table": (matrix(FEATURES, SAMPLES, COUNTS.T), rules.TEXT_SAMPLES),
    "mothur": (
        matrix(["label", "Group", "numOtus", *FEATURES], [f"0.03\t{s}\t3" for s in SAMPLES], COUNTS.T),
        rules.TEXT_MOTHUR,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_fix_of_a_text_table_gives_its_counts(tmp_path: Path, name: str) -> None:
    text, rule = TABLES[name]
    (tmp_path / "FILE").write_text(text)
    findings = Findings()
    assert read_table(tmp_path / "FILE", findings, isolate=False) is None
    assert findings.counts() == {rule: 1}
    apply_fix(rule, tmp_path)
    table = read_table(tmp_path / "table.biom", Findings(), isolate=False)
    assert table.sample_ids == tuple(SAMPLES)
    assert table.feature_ids == tuple(FEATURES)
    np.testing.assert_array_equal(dense(table), COUNTS)


@pytest.mark.parametrize("word", ["NA", "NaN", "nan"])
def test_lengths_that_are_words_are_named(tmp_path: Path, word: str) -> None:
    (tmp_path / "FILE").write_text(f"((a:{word},b:2):1,c:{word});")
    findings = Findings()
    assert read_tree(tmp_path / "FILE", findings, isolate=False) is None
    assert findings.counts() == {rules.NEWICK_LENGTH_WORD: 1}
    assert findings[0].value == repr(word)
    apply_fix(rules.NEWICK_LENGTH_WORD, tmp_path)
    tree = read_tree(tmp_path / "tree.nwk", Findings(), isolate=False)
    assert dict(zip(tree.names, tree.length.tolist(), strict=True))["b"] == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("#NEXUS\nbegin trees;\n\ttree t1 = [&R] ((a:1,b:2):1,(c:1,d:1):1);\nend;\n", "NEXUS"),
        ('<?xml version="1.0"?>\n<phyloxml xmlns="http://www.phyloxml.org"></phyloxml>\n', "PhyloXML"),
    ],
)
def test_trees_of_other_formats_are_named(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "FILE").write_text(text)
    findings = Findings()
    assert read_tree(tmp_path / "FILE", findings, isolate=False) is None
    assert (findings[0].rule, findings[0].value) == (rules.TREE_FORMAT, name)


BASES = "ACGTTGCA" * 5


@pytest.mark.parametrize(
    ("text", "name", "command"),
    [
        (f"id\tsequence\na\t{BASES}\nb\t{BASES[1:]}\n", "a table of ids and sequences", 1),
        (f'"a"\t"{BASES}"\n"b"\t"{BASES[1:]}"\n', "a table of ids and sequences", 1),
        ("CLUSTAL W (1.82) multiple sequence alignment\n\na AC-GT\n", "Clustal", 0),
        ("# STOCKHOLM 1.0\na AC-GT\n//\n", "Stockholm", 0),
    ],
)
def test_sequences_of_other_formats_are_named(tmp_path: Path, text: str, name: str, command: int) -> None:
    (tmp_path / "FILE").write_text(text)
    findings = Findings()
    assert read_sequences(tmp_path / "FILE", findings, isolate=False) is None
    assert [(finding.rule, finding.value) for finding in findings] == [(rules.FASTA_OTHER_FORMAT, name)]
    if command:
        fix = rules.FASTA_OTHER_FORMAT.fix.split("`")[command]
        subprocess.run(fix, cwd=tmp_path, check=True, shell=True)
        sequences = read_sequences(tmp_path / "NEW", Findings(), isolate=False)
        assert {"a": BASES, "b": BASES[1:]}.items() <= sequences.by_id.items()


@pytest.mark.parametrize(("mark", "name"), [(",", "commas"), (";", "semicolons"), ("   ", "blanks")])
def test_the_fix_of_metadata_separated_otherwise_gives_its_cells(
    tmp_path: Path, mark: str, name: str
) -> None:
    rows = (("sample-id", "age", "zip"), ("S1", "4", "02139"), ("S2", "NA", "1"))
    (tmp_path / "FILE").write_text("\n".join(mark.join(row) for row in rows) + "\n")
    findings = Findings()
    assert read_metadata(tmp_path / "FILE", findings, isolate=False) is None
    assert (findings[0].rule, findings[0].value) == (rules.METADATA_SEPARATOR, name)
    parts = rules.METADATA_SEPARATOR.fix.split("`")
    separator = next(part for part in parts[1::2] if name in parts[parts.index(part) + 1])
    code = parts[7].replace("sep=','", separator)
    subprocess.run([sys.executable, *shlex.split(code)[1:]], cwd=tmp_path, check=True)
    metadata = read_metadata(tmp_path / "metadata.tsv", Findings(), isolate=False)
    assert metadata.ids == ("S1", "S2")
    assert metadata.columns == {"age": ("4", "NA"), "zip": ("02139", "1")}


def newer_version(file: h5py.File) -> None:
    file.attrs["format-version"] = (3, 7)


def linked(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        file.copy("sample/matrix", other, "matrix")
    del file["sample/matrix"]
    file["sample/matrix"] = h5py.ExternalLink("other.h5", "matrix")


@pytest.mark.parametrize(
    ("change", "rule"), [(newer_version, rules.BIOM_VERSION), (linked, rules.BIOM_FOREIGN)]
)
def test_the_biom_library_converts_what_is_refused(
    tmp_path: Path, change: Callable[[h5py.File], None], rule: Rule
) -> None:
    with h5py.File(tmp_path / "FILE", "w") as file:
        biom.Table(COUNTS, FEATURES, SAMPLES).to_hdf5(file, "test")
        change(file)
    findings = Findings()
    assert read_table(tmp_path / "FILE", findings, isolate=False) is None
    assert findings.counts() == {rule: 1}
    apply_fix(rule, tmp_path)
    table = read_table(tmp_path / "table.biom", Findings(), isolate=False)
    np.testing.assert_array_equal(dense(table), COUNTS)
