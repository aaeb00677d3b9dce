"""Files of other programs are named in every role, and the command of each fix gives a file that is read."""

import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
import pytest

from aamprep.read import (
    read_distances,
    read_metadata,
    read_sequences,
    read_table,
    read_taxonomy,
    read_tree,
)
from aamprep.rules import tables as rules
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule
from tests.helpers.biom_files import COUNTS, FEATURES, SAMPLES, dense

READERS: dict[str, Callable[..., object]] = {
    "table": read_table,
    "rep-seqs": read_sequences,
    "taxonomy": read_taxonomy,
    "tree": read_tree,
    "metadata": read_metadata,
    "distances": read_distances,
}
METADATA = "sample-id\tage\nS1\t007\nS2\tNA\n"
CELLS = {"age": ("007", "NA")}
R_DATA = b"X\n\x00\x00\x00\x03\x00\x04\x03\x02\x00\x03\x05\x00" + bytes(60)


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(mode: str, name: str, text: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def hdf5(*parts: str) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for part in parts:
            file.create_group(part)
    return content.getvalue()


def parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


UUID = "11111111-2222-3333-4444-555555555555"
QZV = {
    f"{UUID}/VERSION": "QIIME 2\narchive: 5\nframework: 2024.5\n",
    f"{UUID}/metadata.yaml": f"uuid: {UUID}\ntype: Visualization\nformat: null\n",
    f"{UUID}/data/index.html": "<html>",
}
FASTQ = "@ASV0 x\nACGT\n+\nII>@\n@ASV1\nGGTT\n+ASV1\n@III\n"
GENBANK = (
    "LOCUS       AB000001     8 bp    DNA     linear   BCT 01-JAN-2000\nDEFINITION  x\nACCESSION   AB000001\n"
    "ORIGIN\n        1 acgtacgt\n//\n"
)
EMBL = (
    "ID   AB000001; SV 1; linear; genomic DNA; STD; PRO; 8 BP.\nAC   AB000001;\nSQ   Sequence 8 BP;\n"
    "     acgtacgt                                                                  8\n//\n"
)
TAR = "tar archive, which begins with"
XLS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
FOREIGN: dict[str, tuple[bytes, Rule, str]] = {
    "zip": (
        zipped(**{"a/table.biom": "x", "a/": "", "__MACOSX/._a": "x"}),
        rules.FILE_ARCHIVE,
        "zip archive with 'a/table.biom'",
    ),
    "zip without files": (zipped(), rules.FILE_ARCHIVE, "zip archive with no file"),
    "tar": (
        tarred("w", "a/table.biom", "x"),
        rules.FILE_ARCHIVE,
        f"{TAR} 'a/table.biom'",
    ),
    "tar.gz": (tarred("w:gz", "t.biom", "x"), rules.FILE_ARCHIVE, f"{TAR} 't.biom'"),
    "tar.bz2": (
        tarred("w:bz2", "t.biom", "x"),
        rules.FILE_ARCHIVE,
        f"{TAR} 't.biom'",
    ),
    "zip.gz": (gzip.compress(zipped(a="x")), rules.FILE_ARCHIVE, "zip archive"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(40), rules.FILE_ARCHIVE, "compressed with zstd"),
    "xlsx": (zipped(**{"xl/workbook.xml": "x"}), rules.FILE_SPREADSHEET, "Excel workbook (.xlsx)"),
    "ods": (zipped(**{"content.xml": "x"}), rules.FILE_SPREADSHEET, "OpenDocument spreadsheet (.ods)"),
    "xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        rules.FILE_SPREADSHEET,
        "Excel workbook (.xls)",
    ),
    "docx": (zipped(**{"word/document.xml": "x"}), rules.FILE_KIND, "Word document; plain text is needed"),
    "parquet": (parquet(pd.DataFrame(COUNTS.T, SAMPLES, FEATURES)), rules.FILE_PARQUET, "Parquet"),
    "h5ad": (hdf5("X", "obs", "var", "obsm"), rules.FILE_ANNDATA, "AnnData (.h5ad)"),
    "h5ad with the word": (hdf5("X", "obs/observation", "var"), rules.FILE_ANNDATA, "AnnData (.h5ad)"),
    "loom": (hdf5("matrix", "row_attrs", "col_attrs"), rules.FILE_ANNDATA, "Loom (.loom)"),
    "RDS": (gzip.compress(R_DATA), rules.FILE_R_DATA, "data of R (RDS or RData)"),
    "RDS, not compressed": (R_DATA, rules.FILE_R_DATA, "data of R (RDS or RData)"),
    "RDS, text": (gzip.compress(b"A\n3\n262146\n197888\n"), rules.FILE_R_DATA, "data of R (RDS or RData)"),
    "RData, xz": (lzma.compress(b"RDX3\n" + R_DATA), rules.FILE_R_DATA, "data of R (RDS or RData)"),
    "qzv": (zipped(**QZV), rules.ARTIFACT_VISUALIZATION, "Visualization"),
    "UTF-16": (METADATA.encode("utf-16"), rules.FILE_ENCODING, "UTF-16"),
    "UTF-16 of FASTA": (">a\nACGT\n".encode("utf-16"), rules.FILE_ENCODING, "UTF-16"),
    "UTF-16 without a mark": (METADATA.encode("utf-16-be"), rules.FILE_ENCODING, "UTF-16BE"),
    "UTF-32": (METADATA.encode("utf-32"), rules.FILE_ENCODING, "UTF-32"),
    "FASTQ": (FASTQ.encode(), rules.FILE_FASTQ, "FASTQ"),
    "FASTQ, CR LF": (FASTQ.replace("\n", "\r\n").encode(), rules.FILE_FASTQ, "FASTQ"),
    "GenBank": (GENBANK.encode(), rules.FILE_FLAT, "GenBank flat file"),
    "EMBL": (EMBL.encode(), rules.FILE_FLAT, "EMBL flat file"),
    "PDF": (b"%PDF-1.4\n\x00", rules.FILE_KIND, "PDF document; the data are needed as a file of their own"),
}


def refused(path: Path, role: str) -> Finding:
    """Return the only finding on a file that is refused."""
    findings = Findings()
    assert READERS[role](path, findings, isolate=False) is None
    [finding] = findings
    return finding


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named_in_every_role(tmp_path: Path, name: str) -> None:
    content, rule, value = FOREIGN[name]
    (tmp_path / "FILE").write_bytes(content)
    for role in READERS:
        finding = refused(tmp_path / "FILE", role)
        assert (finding.rule, finding.value) == (rule, value)


def run_fix(folder: Path, rule: Rule, number: int = 0, **changes: str) -> None:
    """Run a command of a fix in a folder, on its file FILE."""
    command = next(
        part for part in rule.fix.split("`")[1::2] if " " in part and not (number := number - 1) + 1
    )
    for old, new in changes.items():
        assert old in command
        command = command.replace(old, new)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, shell=True, check=True)


def counts_of(folder: Path) -> np.ndarray:
    table = read_table(folder / "table.biom", Findings(), isolate=False)
    assert (table.sample_ids, table.feature_ids) == (tuple(SAMPLES), tuple(FEATURES))
    return dense(table)


def test_archives_are_unpacked(tmp_path: Path) -> None:
    content = biom.Table(COUNTS, FEATURES, SAMPLES).to_json("test")
    (tmp_path / "FILE").write_bytes(tarred("w:gz", "table.biom", content))
    run_fix(tmp_path, rules.FILE_ARCHIVE, 1)
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-32", "WINDOWS-1252"])
def test_the_encoding_of_text_is_changed(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "FILE").write_bytes(
        METADATA.replace("NA", "caf\u00e9").encode(encoding.replace("WINDOWS-", "cp"))
    )
    assert refused(tmp_path / "FILE", "metadata").rule is rules.FILE_ENCODING
    run_fix(tmp_path, rules.FILE_ENCODING, **{"UTF-16": encoding})
    metadata = read_metadata(tmp_path / "NEW", Findings(), isolate=False)
    assert metadata.columns == {"age": ("007", "caf\u00e9")}


def test_sequences_of_fastq(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text(FASTQ)
    run_fix(tmp_path, rules.FILE_FASTQ)
    found = read_sequences(tmp_path / "rep-seqs.fasta", Findings(), isolate=False)
    assert found.by_id == {"ASV0": "ACGT", "ASV1": "GGTT"}


@pytest.mark.parametrize(("text", "name"), [(GENBANK, "genbank"), (EMBL, "embl")])
def test_sequences_of_flat_files(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "FILE").write_text(text)
    run_fix(tmp_path, rules.FILE_FLAT, genbank=name)
    found = read_sequences(tmp_path / "rep-seqs.fasta", Findings(), isolate=False)
    assert found.by_id == {"AB000001": "ACGTACGT"}


def test_metadata_and_counts_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sample-id": ["S1", "S2"], "age": ["007", "NA"]})
    (tmp_path / "FILE").write_bytes(parquet(frame))
    run_fix(tmp_path, rules.FILE_PARQUET)
    assert read_metadata(tmp_path / "metadata.tsv", Findings(), isolate=False).columns == CELLS
    (tmp_path / "FILE").write_bytes(parquet(pd.DataFrame(COUNTS.T, SAMPLES, FEATURES)))
    run_fix(tmp_path, rules.FILE_PARQUET, 1)
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


def test_metadata_of_a_spreadsheet(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame({"sample-id": ["S1", "S2"], "age": ["007", "NA"]})
    frame.to_excel(tmp_path / "x.xlsx", index=False)
    (tmp_path / "x.xlsx").rename(tmp_path / "FILE")
    assert refused(tmp_path / "FILE", "metadata").rule is rules.FILE_SPREADSHEET
    run_fix(tmp_path, rules.FILE_SPREADSHEET)
    assert read_metadata(tmp_path / "metadata.tsv", Findings(), isolate=False).columns == CELLS


@pytest.mark.filterwarnings("ignore")
def test_counts_of_anndata(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    var = pd.DataFrame(index=pd.Index(FEATURES, dtype=object))
    obs = pd.DataFrame({"age": [7] * len(SAMPLES)}, index=pd.Index(SAMPLES, dtype=object))
    anndata.AnnData(COUNTS.T, obs=obs, var=var).write_h5ad(tmp_path / "FILE")
    assert refused(tmp_path / "FILE", "table").rule is rules.FILE_ANNDATA
    run_fix(tmp_path, rules.FILE_ANNDATA)
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


def test_text_that_r_writes_is_read_or_has_a_command(tmp_path: Path) -> None:
    """R is not run: this is what its write.table writes with quote=FALSE and col.names=NA."""
    assert "quote=FALSE, col.names=NA" in rules.FILE_R_DATA.fix
    (tmp_path / "m.tsv").write_text("\tage\nS1\t007\nS2\tNA\n")
    metadata = read_metadata(tmp_path / "m.tsv", Findings(), isolate=False)
    assert (metadata.ids, metadata.columns) == (("S1", "S2"), CELLS)
    rows = [
        "\t".join([name, *map(str, row.astype(int))]) for name, row in zip(SAMPLES, COUNTS.T, strict=True)
    ]
    (tmp_path / "FILE").write_text("\n".join(["\t".join(["", *FEATURES]), *rows]) + "\n")
    assert refused(tmp_path / "FILE", "table").rule is rules.TEXT_SAMPLES
    run_fix(tmp_path, rules.TEXT_SAMPLES)
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


@pytest.mark.parametrize("first", ["# Constructed from biom file\n", ""])
def test_biom_convert_reads_text_of_qiime_1(tmp_path: Path, first: str) -> None:
    rows = ["\t".join([name, *map(str, row)]) for name, row in zip(FEATURES, COUNTS, strict=True)]
    text = "\n".join(["\t".join(["#OTU ID", *SAMPLES]), *rows]) + "\n"
    (tmp_path / "FILE").write_text(first + text)
    assert refused(tmp_path / "FILE", "table").rule is rules.FILE_TEXT_TABLE
    run_fix(tmp_path, rules.FILE_TEXT_TABLE)
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


@pytest.mark.parametrize(("mark", "name"), [(",", "commas"), (";", "semicolons")])
def test_counts_separated_otherwise(tmp_path: Path, mark: str, name: str) -> None:
    rows = [mark.join([feature, *map(str, row)]) for feature, row in zip(FEATURES, COUNTS, strict=True)]
    (tmp_path / "FILE").write_text("\n".join([mark.join(["id", *SAMPLES]), *rows]) + "\n")
    finding = refused(tmp_path / "FILE", "table")
    assert finding.rule is rules.TEXT_MATRIX
    assert finding.value.endswith(f"separated by {name}")
    run_fix(tmp_path, rules.TEXT_MATRIX, **{"'\\t'": f"'{mark}'"})
    np.testing.assert_array_equal(counts_of(tmp_path), COUNTS)


def test_a_tree_of_nexus(tmp_path: Path) -> None:
    pytest.importorskip("Bio")
    text = "#NEXUS\nbegin trees;\n\ttranslate 1 a, 2 b_c;\n\ttree t1 = [&R] (1:1,2:2):0;\nend;\n"
    (tmp_path / "FILE").write_text(text)
    assert refused(tmp_path / "FILE", "tree").rule is rules.TREE_FORMAT
    run_fix(tmp_path, rules.TREE_FORMAT, 1)
    tree = read_tree(tmp_path / "tree.nwk", Findings(), isolate=False)
    assert set(tree.tips) == {"a", "b_c"}


TAXA = {"a": "k__A; p__B", "b": "k__A; p__C"}


@pytest.mark.parametrize(
    "text",
    [
        "OTU\tSize\tTaxonomy\na\t9\tk__A; p__B\nb\t7\tk__A; p__C\n",
        "#OTU ID\tS1\ttaxonomy\na\t9\tk__A; p__B\nb\t7\tk__A; p__C\n",
        "primaryAccession\tstart\tstop\tpath\torganism_name\ttaxid\n"
        "a\t1\t9\tk__A; p__B\tx\t3\nb\t1\t9\tk__A; p__C\ty\t4\n",
        "name\tscore\tTaxon\na\t0.9\tk__A; p__B\nb\t0.8\tk__A; p__C\n",
        "a\tk__A; p__B\nb\tk__A; p__C\n",
        "Feature ID\tTaxon\ra\tk__A; p__B\rb\tk__A; p__C\r",
    ],
)
def test_taxa_are_read_from_their_column(tmp_path: Path, text: str) -> None:
    (tmp_path / "FILE").write_text(text, newline="")
    findings = Findings()
    assert read_taxonomy(tmp_path / "FILE", findings, isolate=False).by_id == TAXA
    assert findings.valid


@pytest.mark.parametrize("quote", ['"', ""])
@pytest.mark.parametrize("mark", ["\t", ",", ";"])
@pytest.mark.parametrize("first", ["", "id", None])
def test_ranks_are_joined(tmp_path: Path, mark: str, quote: str, first: str | None) -> None:
    """As R writes DADA2's taxa: row names with an empty header, with one, or with none."""
    header = [*([] if first is None else [first]), "Kingdom", "Phylum"]
    rows = [header, ["a", "k__A", "p__B"], ["b", "k__A", "p__C"]]
    (tmp_path / "FILE").write_text(
        "".join(mark.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows)
    )
    finding = refused(tmp_path / "FILE", "taxonomy")
    assert (finding.rule, finding.value) == (rules.TAXONOMY_RANKS, "Kingdom, Phylum")
    run_fix(tmp_path, rules.TAXONOMY_RANKS, **{"sep='\\t', index_col": f"sep='{mark}', index_col"})
    assert read_taxonomy(tmp_path / "taxonomy.tsv", Findings(), isolate=False).by_id == TAXA


@pytest.mark.parametrize(("mark", "name"), [(",", "commas"), (";", "semicolons")])
def test_taxa_separated_otherwise(tmp_path: Path, mark: str, name: str) -> None:
    rows = (("Feature ID", "Taxon"), *TAXA.items())
    (tmp_path / "FILE").write_text("".join(f'{a}{mark}"{b}"\n' for a, b in rows))
    finding = refused(tmp_path / "FILE", "taxonomy")
    assert (finding.rule, finding.value) == (rules.TAXONOMY_FORMAT, f"separated by {name}, not by tabs")
    run_fix(tmp_path, rules.TAXONOMY_FORMAT, **{"','": f"'{mark}'"})
    assert read_taxonomy(tmp_path / "taxonomy.tsv", Findings(), isolate=False).by_id == TAXA


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#OTU ID\tS1\tS2\na\t9\t1\nb\t7\t1\n", "numbers in the column of taxa, such as '9'"),
        ("CLUSTAL W\n\na   ACGT\n", "no tabs"),
    ],
)
def test_what_is_no_taxonomy_is_refused(tmp_path: Path, text: str, value: str) -> None:
    (tmp_path / "FILE").write_text(text)
    finding = refused(tmp_path / "FILE", "taxonomy")
    assert (finding.rule, finding.value) == (rules.TAXONOMY_FORMAT, value)


def test_a_taxonomy_given_as_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text("OTU\tSize\tTaxonomy\na\t9\tBacteria(100);\n")
    assert "begins as a taxonomy does" in refused(tmp_path / "FILE", "table").value
