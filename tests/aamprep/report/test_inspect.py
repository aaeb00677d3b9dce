"""`aamprep inspect` answers for anything: what it is, and what is in it."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest

from aam_schemas.manifest import read_manifest, write_manifest
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(20)
COUNTS = random_counts(12, 20)
METADATA = {"age": "numeric, 2 values", "site": "categorical, 1 values"}
NOTHING_KNOWN = [
    b"", b"hello", b"<html></html>", b"\x00\x01\x02", b"PK\x03\x04", b"{}", b"(a,b", b"\x1f\x8b\x08\x00",
    b"\x89HDF\r\n\x1a\n" + b"\0" * 50, b"version https://git-lfs.github.com/spec/v1\n",
    b"#OTU ID\tS0\nf0\t1\n",
]  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with one file of each kind."""
    write_table(tmp_path, COUNTS, SEQUENCES)
    (tmp_path / "tree.nwk").write_text(random_newick(SEQUENCES))
    (tmp_path / "metadata.tsv").write_text("sample-id\tage\tsite\nS0\t1\tgut\nS1\t2\tgut\nS2\t\t\n")
    (tmp_path / "seqs.fasta").write_text(
        "".join(f">f{n}\n{sequence}\n" for n, sequence in enumerate(SEQUENCES))
    )
    (tmp_path / "taxonomy.tsv").write_text("Feature ID\tTaxon\nf0\tk__A\nf1\tk__A\n")
    (tmp_path / "distances.tsv").write_text("\tS0\tS1\nS0\t0\t0.5\nS1\t0.5\t0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspect(run: Programs, path: object, code: int = 0) -> dict[str, Any]:
    ran = run("aamprep", "inspect", path, "--json")
    assert ran.code == code, ran.err
    document = json.loads(ran.out)
    assert document["recognised"] is (code == 0)
    assert bool(document["findings"]) is (code != 0)
    shown = run("aamprep", "inspect", path)
    assert shown.code == code
    assert "Traceback" not in shown.err
    return document["facts"]


def test_a_table(study: Path, run: Programs) -> None:
    facts = inspect(run, "table.biom")
    assert facts["kind"] == "BIOM 2 table (HDF5)"
    assert (facts["samples"], facts["features"]) == (12, 20)
    assert facts["non_zeros"] == (COUNTS > 0).sum()
    assert facts["density"] == pytest.approx((COUNTS > 0).mean(), rel=1e-12)
    assert facts["reads_per_sample"]["median"] == np.median(COUNTS.sum(axis=1))
    assert facts["feature_ids"] == "sequences"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tree.nwk", {"kind": "newick tree", "tips": 20, "tip_names": "sequences"}),
        ("metadata.tsv", {"role": "metadata", "samples": 3, "columns": METADATA}),
        ("seqs.fasta", {"kind": "FASTA sequences", "sequences": 20, "ids": "others"}),
        ("taxonomy.tsv", {"role": "taxonomy", "features": 2, "taxa": 1}),
        ("distances.tsv", {"role": "distances", "samples": 2}),
    ],
)  # fmt: skip
def test_what_lies_beside_a_table(name: str, expected: dict[str, object], study: Path, run: Programs) -> None:
    facts = inspect(run, name)
    assert {key: facts[key] for key in expected} == expected
    Path(f"{name}.gz").write_bytes(gzip.compress(Path(name).read_bytes()))
    packed = inspect(run, f"{name}.gz")
    assert packed["kind"] == f"{facts['kind']}, gzipped"
    about_file = ("path", "kind", "bytes", "sha256")
    assert {key: packed[key] for key in facts if key not in about_file} == {
        key: facts[key] for key in facts if key not in about_file
    }


def test_other_files_that_shard_takes(study: Path, run: Programs) -> None:
    matrix = np.array([[0.0, 0.5], [0.5, 0.0]])
    np.save("d.npy", matrix)
    Path("d.ids.txt").write_text("S0\nS1\n")
    with h5py.File("d.h5", "w") as file:
        file["order"], file["matrix"] = [b"S0", b"S1"], matrix
    for name in ("d.npy", "d.h5"):
        facts = inspect(run, name)
        assert (facts["role"], facts["samples"], facts["distance"]["max"]) == ("distances", 2, 0.5)
    Path("ids.tsv").write_text("sample-id\nS0\nS1\n")
    assert inspect(run, "ids.tsv")["role"] == "metadata"


def test_numbers_that_are_none_are_left_out(study: Path, run: Programs) -> None:
    Path("tree.nwk").write_text("(a:1.2e308,b:1.2e308);")
    assert inspect(run, "tree.nwk")["total_length"] is None
    write_table(study, np.array([[1.2e308, 1.2e308, 0], [0, 1, 2]]), SEQUENCES[:3])
    facts = inspect(run, "table.biom")
    assert (facts["empty_or_invalid_samples"], facts["reads_per_sample"]["max"]) == (1, 3)
    limits = run("aamprep", "limits", "--json")
    assert (limits.code, json.loads(limits.out)["samples_left_out"]) == (0, 1)


def test_a_shard_set(study: Path, run: Programs) -> None:
    assert run("aamprep", "shard", "--token-limit", 5, "--rarefy-depth", 20).code == 0
    facts = inspect(run, "shards")
    samples = pl.read_parquet("shards/samples-*.parquet")
    assert facts["kind"] == "shard set"
    assert facts["samples"] == len(samples) == sum(facts["splits"].values())
    assert facts["non_zeros"] == samples["num_asvs"].sum()
    assert facts["reads_per_sample"]["max"] == 20
    assert facts["choices"]["token_limit"] == 5
    assert facts["branches"] == len(pl.read_parquet("shards/tree.parquet"))
    assert "table table.biom" in facts["inputs"]
    assert facts["rejected"]["samples"] == 12 - len(samples)
    assert "aamprep shard" in facts["command"]


def test_a_damaged_shard_set(study: Path, run: Programs) -> None:
    assert run("aamprep", "shard").code == 0
    for name in ("manifest.sha256", "samples-train-00000-of-00001.parquet"):
        shutil.copytree("shards", "copy")
        (study / "copy" / name).write_bytes(b"x")
        inspect(run, "copy", 1)
        shutil.rmtree("copy")
    write_manifest(study / "shards", replace(read_manifest(study / "shards"), num_asvs="many"))  # type: ignore
    inspect(run, "shards", 1)


@pytest.mark.parametrize("content", NOTHING_KNOWN)
def test_what_is_nothing_known_or_broken(content: bytes, run: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert inspect(run, tmp_path / "file", 1)["path"] == str(tmp_path / "file")


def test_folders_and_absent_files(run: Programs, tmp_path: Path) -> None:
    inspect(run, tmp_path, 1)
    ran = run("aamprep", "inspect", tmp_path / "absent")
    assert ran.code == 2
    assert "no such file" in ran.err


@pytest.mark.real
def test_artifacts(real_data: RealData, run: Programs) -> None:
    folder = real_data("moving-pictures")
    facts = inspect(run, folder / "table.qza")
    assert facts["uuid"] == "21184fc9-6616-47d6-9ab8-725ccc742c44"
    assert facts["type"] == "FeatureTable[Frequency]"
    assert facts["feature_ids"] == "hashes"
    assert inspect(run, folder / "rep-seqs.qza")["sequences"] == 770
    assert inspect(run, folder / "tree.qza")["tips"] == 770
    # An artifact that plays no role here is known by its header.
    facts = inspect(run, real_data("awkward/relfreq-taxa.qza"))
    assert facts["type"].startswith("FeatureTable[RelativeFrequency]")


@pytest.mark.real
def test_every_awkward_file_is_answered(real_data: RealData, run: Programs) -> None:
    for path in sorted(real_data("awkward").iterdir()):
        ran = run("aamprep", "inspect", path, "--json")
        assert ran.code in (0, 1), path
        assert json.loads(ran.out)["facts"]["path"] == str(path)


def test_errors_of_a_file_that_can_be_read_are_counted(run: Programs, tmp_path: Path) -> None:
    (tmp_path / "seqs.fasta").write_text(">a\nACGT\n>a\nACGG\n")
    assert inspect(run, tmp_path / "seqs.fasta")["errors"] == 1
