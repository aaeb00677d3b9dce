"""The commands answer: what they take, what they print, and with which code they end."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest

from tests.helpers.paths import RealData
from tests.helpers.studies import (
    Programs,
    random_counts,
    random_newick,
    random_sequences,
    write_table,
    write_table_with_an_empty_sample,
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with table.biom, tree.nwk and metadata.tsv in it."""
    sequences = random_sequences(20)
    write_table(tmp_path, random_counts(12, 20), sequences)
    (tmp_path / "tree.nwk").write_text(random_newick(sequences))
    (tmp_path / "metadata.tsv").write_text("sample-id\tage\n" + "".join(f"S{n}\t{n}\n" for n in range(12)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_as_typed(study: Path, run: Programs) -> None:
    validated = run("aamprep", "validate", "table.biom")
    assert validated.code == 0
    assert validated.out.startswith("valid: 0 errors")
    sharded = run("aamprep", "shard", "--token-limit", 512)
    assert sharded.code == 0
    assert "tree.nwk (tree), metadata.tsv (metadata)" in sharded.err
    assert "12 samples" in sharded.out
    assert (study / "shards" / "manifest.json").exists()


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_the_version_is_printed(program: str, run: Programs) -> None:
    assert run(program, "--version").out == f"{version('aamprep')}\n"


def test_json_is_one_document(study: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "validate", "table.biom", "--json").out)
    assert document["valid"] is True
    assert document["facts"]["samples_read"] == 12


def test_an_empty_sample_is_invalid_and_named(study: Path, run: Programs) -> None:
    write_table_with_an_empty_sample(study)
    ran = run("aamprep", "validate", "table.biom", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert document["valid"] is False
    errors = [finding for finding in document["findings"] if finding["severity"] == "error"]
    assert [finding["code"] for finding in errors] == ["sample-empty"]
    assert errors[0]["where"].endswith("sample S4")


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.0])
def test_counts_that_cannot_be_are_named_by_sample_and_asv(value: float, study: Path, run: Programs) -> None:
    counts = random_counts(12, 20)
    counts[7, 3] = value
    write_table(study, counts, random_sequences(20))
    ran = run("aamprep", "validate", "table.biom", "--json")
    assert ran.code == 1
    found = [finding for finding in json.loads(ran.out)["findings"] if finding["severity"] == "error"]
    assert any(
        "S7" in finding["where"] and random_sequences(20)[3] in finding["where"] + finding["value"]
        for finding in found
    )
    sharded = run("aamprep", "shard")
    assert sharded.code == 0
    assert "11 samples" in sharded.out


def test_all_findings_at_once(study: Path, run: Programs) -> None:
    counts = random_counts(12, 20)
    counts[1] = 0
    counts[2, 2] = np.nan
    write_table(study, counts, [*random_sequences(20)[:-1], "not a sequence"])
    codes = {
        finding["code"]
        for finding in json.loads(run("aamprep", "validate", "table.biom", "--json").out)["findings"]
    }
    assert {"sample-empty", "feature-without-sequence", "asv-not-in-tree"} - codes <= {"asv-not-in-tree"}
    assert any("count" in code for code in codes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["validate", "absent.biom"], ["absent.biom", "no such file"]),
        (["shard", "absent.biom"], ["absent.biom", "no such file"]),
        (["shard", "--token-limit", 0], ["token limit of 0", "at least 1"]),
        (["shard", "--token-limit", 10**20], ["token limit of 100,000,000,000,000,000,000", "at most"]),
        (["merge", "a", "b", "--token-limit", 10**20], ["token limit of 100,000,000,", "at most"]),
        (["shard", "--rarefy-depth", 10**400], ["--rarefy-depth: samples cannot", "at most 1,000,000,000"]),
        (["shard", "--min-reads", "nan"], ["--min-reads", "finite"]),
        (["shard", "--min-reads", "inf"], ["--min-reads", "finite"]),
        (["shard", "--budget", "inf"], ["--budget", "inf GiB"]),
        (["validate", "--budget", "nan"], ["--budget"]),
        (["simulate", "shards", "--seed", -1], ["--seed"]),
        (["validate", "caf\udce9.biom"], ["caf\\udce9.biom", "not valid UTF-8", "rename"]),
        (["shard", "--output", "caf\udce9"], ["caf\\udce9", "not valid UTF-8"]),
        (["shard", "--rarefy-depth", 0], ["depth of 0", "at least 1"]),
        (["shard", "--tree", "absent.nwk"], ["absent.nwk", "--tree"]),
        (["shard", "--rep-seqs", "a.fasta", "--rep-seqs", "b.fasta"], ["--rep-seqs: given 2 times"]),
        (["shard", "--tree", "tree.nwk", "--no-tree"], ["--tree", "--no-tree"]),
        (["shard", "--split-by", "color"], ["color", "age"]),
        (["shard", "--no-such-option"], ["--no-such-option"]),
        (["shard", "--select", "best"], ["best", "abundance"]),
        (["no-such-command"], ["no-such-command"]),
    ],
)
def test_wrong_usage_is_2_and_says_what_to_do(
    arguments: list[object], words: list[str], study: Path, run: Programs
) -> None:
    ran = run("aamprep", *arguments)
    assert ran.code == 2
    assert all(word in " ".join(ran.err.split()) for word in words)
    assert "Traceback" not in ran.err
    assert not (study / "shards").exists()


def test_an_output_that_exists_is_2_and_names_overwrite(study: Path, run: Programs) -> None:
    assert run("aamprep", "shard").code == 0
    again = run("aamprep", "shard")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert run("aamprep", "shard", "--overwrite", "--token-limit", 3).code == 0


def test_two_candidates_for_one_role_are_2(study: Path, run: Programs) -> None:
    (study / "rooted-tree.nwk").write_text((study / "tree.nwk").read_text())
    ran = run("aamprep", "shard")
    assert ran.code == 2
    assert "tree.nwk and rooted-tree.nwk" in ran.err
    assert run("aamprep", "shard", "--tree", "tree.nwk").code == 0


def test_no_tree_turns_the_tree_off(study: Path, run: Programs) -> None:
    ran = run("aamprep", "shard", "--no-tree")
    assert ran.code == 0
    assert not (study / "shards" / "tree.parquet").exists()


def test_without_a_table_the_error_names_what_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Programs
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("aamprep", "shard")
    assert ran.code == 2
    assert "table.biom or table.qza" in ran.err


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html><html></html>", b"hello", b"\x89HDF\r\n\x1a\n" + b"\0" * 50]
)
def test_a_file_that_is_no_table_is_1(content: bytes, study: Path, run: Programs) -> None:
    (study / "table.biom").write_bytes(content)
    for command in (["validate", "table.biom"], ["shard"]):
        ran = run("aamprep", *command)
        assert ran.code == 1
        assert "Traceback" not in ran.err
    document = json.loads(run("aamprep", "validate", "table.biom", "--json").out)
    assert document["valid"] is False
    assert document["findings"]


def test_another_hdf5_file_is_1(study: Path, run: Programs) -> None:
    with h5py.File(study / "table.biom", "w") as file:
        file["x"] = [1, 2, 3]
    assert run("aamprep", "validate", "table.biom").code == 1


@pytest.mark.real
def test_hashes_without_rep_seqs_are_never_read_as_bases(
    real_data: RealData, run: Programs, tmp_path: Path
) -> None:
    table = real_data("moving-pictures/table.qza")
    ran = run("aamprep", "shard", table, "--no-rep-seqs", "--output", tmp_path / "shards")
    assert ran.code == 1
    assert "ids-are-hashes" in ran.err
    assert "--rep-seqs" in ran.err
    assert not (tmp_path / "shards").exists()
    document = json.loads(run("aamprep", "validate", table, "--no-rep-seqs", "--json").out)
    assert document["valid"] is False
    assert [finding["code"] for finding in document["findings"] if finding["severity"] == "error"] == [
        "ids-are-hashes"
    ]


def test_simulating_twice_gives_the_same_study(tmp_path: Path, run: Programs) -> None:
    for name in ("one", "two"):
        assert run("aamprep", "simulate", tmp_path / name, "--samples", 8, "--asvs", 30).code == 0
    for file in ("tree.nwk", "metadata.tsv"):
        assert (tmp_path / "one" / file).read_text() == (tmp_path / "two" / file).read_text()
    validated = run("aamprep", "validate", tmp_path / "one" / "table.biom")
    assert validated.code == 0


def test_a_distance_matrix_is_kept_in_the_order_of_the_samples(study: Path, run: Programs) -> None:
    rng = np.random.default_rng(0)
    ids = [f"S{number}" for number in rng.permutation(11)]  # the matrix lacks S11
    matrix = rng.random((11, 11))
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T
    rows = [f"{i}\t" + "\t".join(map(repr, row.tolist())) for i, row in zip(ids, matrix, strict=True)]
    (study / "distances.tsv").write_text("\t" + "\t".join(ids) + "\n" + "\n".join(rows) + "\n")
    ran = run("aamprep", "shard")
    assert ran.code == 0, ran.err
    assert "sample-without-distance" in ran.err
    order = pl.read_parquet("shards/metadata.parquet")["sample_id"].to_list()
    kept = np.load("shards/distances.npy")
    expected = {(first, second): matrix[i, j] for i, first in enumerate(ids) for j, second in enumerate(ids)}
    for i, first in enumerate(order):
        for j, second in enumerate(order):
            assert np.float32(expected.get((first, second), np.nan)) == kept[i, j] or np.isnan(kept[i, j])
            assert np.isnan(kept[i, j]) == ("S11" in (first, second))
    assert run("aamprep", "verify", "shards").code == 0


def test_reading_without_isolation_gives_the_same_shards(study: Path, run: Programs) -> None:
    assert run("aamprep", "shard").code == 0
    assert run("aamprep", "shard", "--no-isolate", "--output", "other").code == 0
    for path in (study / "shards").glob("*.parquet"):
        assert path.read_bytes() == (study / "other" / path.name).read_bytes()


def test_a_file_beyond_the_budget_is_refused(study: Path, run: Programs) -> None:
    with h5py.File(study / "table.biom", "a") as file:
        del file["sample/matrix/data"]
        file.create_dataset(
            "sample/matrix/data", shape=(10**8,), dtype="f8", chunks=(10**6,), compression="gzip"
        )
    ran = run("aamprep", "validate", "table.biom", "--budget", 0.5)
    assert ran.code == 1
    assert "file-too-large" in ran.out


def test_a_metadata_column_may_be_called_sample_id(study: Path, run: Programs) -> None:
    (study / "metadata.tsv").write_text(
        "sample-id\tsample_id\n" + "".join(f"S{n}\tx{n}\n" for n in range(12))
    )
    assert run("aamprep", "shard").code == 0
    metadata = pl.read_parquet("shards/metadata.parquet")
    assert dict(metadata.select("sample_id", "metadata_sample_id").rows())["S3"] == "x3"


def test_a_refusal_prints_no_traceback_and_starts_nothing_slow(study: Path) -> None:
    """In a process of its own: what runs while the interpreter ends is seen there alone."""
    (study / "table.biom").write_bytes(b"")
    code = "import sys; sys.argv = ['aamprep', 'validate', 'table.biom']\nfrom aamprep.cli import main\n"
    code += "try: main()\nfinally: print('pandera' in sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "file-empty" in ran.stdout
    assert ran.stderr.split() == [
        "reading",
        "table.biom,",
        "tree.nwk",
        "(tree),",
        "metadata.tsv",
        "(metadata)",
        "False",
    ]


def test_control_characters_of_ids_never_reach_the_terminal(study: Path, run: Programs) -> None:
    counts = random_counts(2, 20)
    counts[0, 0] = np.nan
    write_table(study, counts, random_sequences(20), ["\x1b]0;owned\x07", "S1"])
    for command in (["inspect", "table.biom"], ["validate", "table.biom"], ["shard", "table.biom"]):
        ran = run("aamprep", *command, *(["--no-tree", "--no-metadata"] if command[0] != "inspect" else []))
        assert not set(ran.out + ran.err) & {"\x1b", "\x07"}
        assert r"\x1b]0;owned\x07" in ran.out + ran.err
