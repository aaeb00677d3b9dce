"""Merging shard sets is the same as sharding their tables together, and loses nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aam_schemas.manifest import read_manifest
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(30)
TABLES = {"one": (SEQUENCES[:20], 12), "two": (SEQUENCES[10:], 15), "three": (SEQUENCES[5:25], 9)}


def write_studies(folder: Path, prefix: bool = True) -> list[Path]:
    """Write three tables that share ASVs, each in a folder of its name, a tree and metadata of all."""
    tables = []
    for seed, (name, (sequences, number)) in enumerate(TABLES.items()):
        ids = [f"{name}{n}" if prefix else f"S{n}" for n in range(number)]
        tables.append(write_table(folder / name, random_counts(number, 20, seed), sequences, ids))
        rows = "".join(f"{i}\t{n}\tM{n % 3}\n" for n, i in enumerate(ids))
        (folder / name / "metadata.tsv").write_text("sample-id\tage\tsubject\n" + rows)
    (folder / "tree.nwk").write_text(random_newick(SEQUENCES[1:]))
    rows = "".join((table.parent / "metadata.tsv").read_text().partition("\n")[2] for table in tables)
    (folder / "metadata.tsv").write_text("sample-id\tage\tsubject\n" + rows)
    return tables


def shard(run: Programs, output: Path, *arguments: object) -> Path:
    ran = run("aamprep", "shard", *arguments, "--output", output)
    assert ran.code == 0, ran.err
    return output


def merge(run: Programs, output: Path, *arguments: object) -> Path:
    ran = run("aamprep", "merge", *arguments, "--output", output)
    assert ran.code == 0, ran.err
    verified = run("aamprep", "verify", output)
    assert verified.code == 0, verified.out
    return output


def rows_of(shards: Path) -> list[dict[str, Any]]:
    """Return every sample in order, with its ASVs by sequence."""
    sequences = pl.read_parquet(shards / "asvs.parquet")["sequence"].to_list()
    rows = []
    for file in read_manifest(shards).files:
        if file.split:
            for row in pl.read_parquet(shards / file.name).iter_rows(named=True):
                row |= {name: [sequences[asv] for asv in row[name]] for name in ("asv", "dropped_asv")}
                rows.append(row | {"split": file.split})
    return rows


def assert_same_set(first: Path, other: Path) -> None:
    """Hold two sets equal: samples, ASVs, tree and metadata, byte for byte."""
    assert rows_of(first) == rows_of(other)
    data = sorted(path.name for path in first.glob("*.parquet"))
    assert data == sorted(path.name for path in other.glob("*.parquet"))
    for name in data:
        assert (first / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--rarefy-depth", 30, "--seed", 5),
        ("--missing-from-tree", "drop"),
        *(
            pytest.param(options, marks=pytest.mark.long)
            for options in (
                ("--token-limit", 3),
                ("--select", "random", "--token-limit", 4, "--seed", 1),
                ("--split-by", "subject"),
            )
        ),
    ],
)
def test_merging_is_sharding_together(options: tuple[object, ...], run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    beside = ["--tree", tmp_path / "tree.nwk", "--metadata", tmp_path / "metadata.tsv", *options]
    together = shard(run, tmp_path / "together", *tables, *beside)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t, *beside) for t in tables]
    merged = merge(run, tmp_path / "merged", *sets, "--tree", tmp_path / "tree.nwk")
    assert_same_set(merged, together)
    assert read_manifest(merged).choices == read_manifest(together).choices
    # Merging step by step is the same, too.
    half = merge(run, tmp_path / "half", *sets[:2])
    whole = merge(run, tmp_path / "whole", half, sets[2], "--tree", tmp_path / "tree.nwk")
    assert_same_set(whole, together)


def test_samples_of_one_id_are_an_error_that_names_them(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path, prefix=False)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t, "--no-metadata") for t in tables]
    ran = run("aamprep", "merge", *sets[:2], "--output", tmp_path / "merged", "--json")
    assert ran.code == 1
    found = [
        finding for finding in json.loads(ran.out)["findings"] if finding["code"] == "merge-sample-twice"
    ]
    assert sorted(finding["where"] for finding in found) == sorted(f"sample S{n}" for n in range(12))
    assert not (tmp_path / "merged").exists()
    together = shard(run, tmp_path / "together", *tables, "--prefix-samples", "--no-metadata")
    assert_same_set(merge(run, tmp_path / "merged", *sets, "--prefix-samples"), together)


def test_sets_of_one_study_name_are_merged_after_the_table_is_renamed(run: Programs, tmp_path: Path) -> None:
    """The fix of the error asks for it: prefixes are the names of tables."""
    first, second = write_studies(tmp_path, prefix=False)[:2]
    one, two = (table.rename(table.with_name("same.biom")) for table in (first, second))
    options = ("--no-metadata", "--no-tree")
    sets = [shard(run, tmp_path / f"set{n}", table, *options) for n, table in enumerate((one, two))]
    prefixed = ("--prefix-samples", "--output", tmp_path / "merged")
    ran = run("aamprep", "merge", *sets, *prefixed)
    assert ran.code == 1
    assert "must be renamed" in " ".join(ran.err.split())
    ran = run("aamprep", "shard", one, two, *options, "--prefix-samples", "--output", tmp_path / "together")
    assert "different names" in " ".join((ran.out + ran.err).split())
    other = shard(run, tmp_path / "set2", two.rename(two.with_name("other.biom")), *options)
    assert merge(run, tmp_path / "merged", sets[0], other, "--prefix-samples").is_dir()


def test_a_larger_token_limit_is_exact(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    limits = [2, 5, 4]
    sets = [
        shard(run, tmp_path / f"{t.parent.name}.shards", t, "--token-limit", limit, "--no-metadata")
        for t, limit in zip(tables, limits, strict=True)
    ]
    for limit, options in ((2, ()), (9, ("--token-limit", 9))):
        together = shard(run, tmp_path / f"together{limit}", *tables, "--token-limit", limit, "--no-metadata")
        merged = merge(run, tmp_path / f"merged{limit}", *sets, *options)
        assert read_manifest(merged).choices.token_limit == limit
        assert_same_set(merged, together)


def test_depth_before_rarefaction_survives(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t, "--rarefy-depth", 30) for t in tables[:2]]
    rows = rows_of(merge(run, tmp_path / "merged", *sets))
    sums = {f"one{n}": row.sum() for n, row in enumerate(random_counts(12, 20, 0))}
    sums |= {f"two{n}": row.sum() for n, row in enumerate(random_counts(15, 20, 1))}
    assert {row["sample_id"]: row["depth_before_rarefaction"] for row in rows} == sums
    assert {row["depth"] for row in rows} == {30.0}


def test_without_a_tree_there_is_none_and_it_says_so(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    tree = tmp_path / "tree.nwk"
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t, "--tree", tree) for t in tables[:2]]
    ran = run("aamprep", "merge", *sets, "--output", tmp_path / "merged")
    assert ran.code == 0
    words = " ".join(ran.err.split())
    assert "merge-no-tree" in words
    assert "all of them used" in words
    assert read_manifest(tmp_path / "merged").num_branches == 0


def test_asvs_missing_from_the_tree_are_reported(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables[:2]]
    (tmp_path / "some.nwk").write_text(random_newick(SEQUENCES[5:25]))
    ran = run(
        "aamprep", "merge", *sets, "--tree", tmp_path / "some.nwk", "--output", tmp_path / "merged", "--json"
    )
    assert ran.code == 0
    found = {finding["code"]: finding["value"] for finding in json.loads(ran.out)["findings"]}
    assert "20 ASVs in both, 10 only in the table" in found["asv-not-in-tree"]


def test_metadata_columns_are_united(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    (tmp_path / "one" / "metadata.tsv").write_text("sample-id\tage\tph\none0\t3\t6.5\none1\t4.25\t7\n")
    (tmp_path / "two" / "metadata.tsv").write_text("sample-id\tage\tbody\ntwo0\told\tgut\ntwo1\t\ttongue\n")
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables[:2]]
    sets.append(shard(run, tmp_path / "three.shards", tables[2], "--no-metadata"))
    ran = run("aamprep", "merge", *sets, "--output", tmp_path / "merged", "--json")
    assert ran.code == 0
    notes = [finding for finding in json.loads(ran.out)["findings"] if finding["code"] == "merge-column-type"]
    assert [finding["where"] for finding in notes] == ["column age"]
    found = pl.read_parquet(tmp_path / "merged" / "metadata.parquet")
    assert read_manifest(tmp_path / "merged").metadata_types == {
        "age": "categorical", "ph": "numeric", "body": "categorical",
    }  # fmt: skip
    assert found["sample_id"].to_list() == [row["sample_id"] for row in rows_of(tmp_path / "merged")]
    cells = {row["sample_id"]: (row["age"], row["ph"], row["body"]) for row in found.iter_rows(named=True)}
    assert cells["one0"] == ("3", 6.5, None)
    assert cells["one1"] == ("4.25", 7.0, None)
    assert cells["two0"] == ("old", None, "gut")
    assert cells["two1"] == (None, None, "tongue")
    assert cells["three0"] == (None, None, None)


def test_asvs_are_united_by_sequence_and_names_kept(run: Programs, tmp_path: Path) -> None:
    """The same name may mean two sequences in two studies, and a sequence may have two names."""
    names = {
        "a": {"OTU1": SEQUENCES[0], "OTU2": SEQUENCES[1]},
        "b": {"OTU1": SEQUENCES[1], "x": SEQUENCES[2]},
    }
    sets = []
    for study, features in names.items():
        ids = [f"{study}{n}" for n in range(3)]
        table = write_table(tmp_path / study, np.ones((3, 2)), list(features), ids)
        fasta = "".join(f">{name}\n{sequence}\n" for name, sequence in features.items())
        (tmp_path / study / "rep-seqs.fasta").write_text(fasta)
        sets.append(shard(run, tmp_path / f"{study}.shards", table))
    (tmp_path / "tree.nwk").write_text(f"(({SEQUENCES[0]}:1,{SEQUENCES[1]}:2):1,(x:3,OTU1:9):1);")
    merged = merge(run, tmp_path / "merged", *sets, "--tree", tmp_path / "tree.nwk")
    asvs = pl.read_parquet(merged / "asvs.parquet")
    assert dict(asvs.select("sequence", "prevalence").rows()) == dict(
        zip(SEQUENCES[:3], [3, 6, 3], strict=True)
    )
    known = {row["sequence"]: {row["asv_id"], *row["aliases"]} for row in asvs.iter_rows(named=True)}
    assert known[SEQUENCES[1]] == {"OTU1", "OTU2"}
    assert known[SEQUENCES[2]] == {"x"}
    tree = pl.read_parquet(merged / "tree.parquet").filter(pl.col("asv").is_not_null())
    sequences = asvs["sequence"].to_list()
    # OTU1 is the name of two ASVs, so its tip is nobody's.
    assert {sequences[row["asv"]]: row["length"] for row in tree.iter_rows(named=True)} == {
        SEQUENCES[0]: 1.0, SEQUENCES[1]: 2.0, SEQUENCES[2]: 4.0,
    }  # fmt: skip


def test_provenance_and_rejected_samples_are_kept(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    counts = random_counts(12, 20, 0)
    counts[3] = 0
    write_table(tmp_path / "one", counts, TABLES["one"][0], [f"one{n}" for n in range(12)])
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables]
    merged = merge(run, tmp_path / "merged", *sets, "--tree", tmp_path / "tree.nwk")
    manifest = read_manifest(merged)
    inputs = {file.sha256 for file in manifest.inputs}
    for shards in sets:
        assert {file.sha256 for file in read_manifest(shards).inputs} <= inputs
        assert read_manifest(shards).sha256 in inputs
    assert [file.role for file in manifest.inputs].count("tree") == 1
    assert "aamprep merge" in manifest.command
    assert manifest.num_rejected_samples == 1
    assert pl.read_parquet(merged / "rejected.parquet")["id"].to_list() == ["one3"]


def test_taxa_are_carried(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)[:2]
    for study, sequences in (("one", SEQUENCES[:12]), ("two", SEQUENCES[20:])):
        rows = "".join(f"{sequence}\tk__{sequence[:5]}\n" for sequence in sequences)
        (tmp_path / study / "taxonomy.tsv").write_text("Feature ID\tTaxon\n" + rows)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables]
    asvs = pl.read_parquet(merge(run, tmp_path / "merged", *sets) / "asvs.parquet")
    known = SEQUENCES[:12] + SEQUENCES[20:]
    for sequence, taxon in asvs.select("sequence", "taxon").rows():
        assert taxon == (f"k__{sequence[:5]}" if sequence in known else "")


def test_sets_with_different_choices_are_reported(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    first = shard(run, tmp_path / "one.shards", tables[0], "--select", "first", "--rarefy-depth", 30)
    second = shard(run, tmp_path / "two.shards", tables[1], "--token-limit", 3)
    ran = run("aamprep", "merge", first, second, "--output", tmp_path / "merged", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)["counts"]
    assert {"merge-rarefaction-differs", "merge-choices-differ"} <= set(found)
    choices = read_manifest(tmp_path / "merged").choices
    assert (choices.select, choices.rarefy_depth, choices.token_limit) == ("mixed", None, 3)
    rows = {row["sample_id"]: row for row in rows_of(tmp_path / "merged")}
    for row in rows_of(first):
        ours = rows[row["sample_id"]]
        assert ours["asv"] + ours["dropped_asv"] == row["asv"] + row["dropped_asv"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["one.shards"], 2, "at least two shard sets"),
        (["one.shards", "absent"], 2, "no such folder"),
        (["one.shards", "two.shards", "--token-limit", "0"], 2, "keeps no ASV"),
        (["one.shards", "two.shards", "--tree", "absent.nwk"], 2, "no such file"),
        (["one.shards", "two.shards", "--output", "one.shards"], 2, "--overwrite"),
        (["one.shards", "one"], 1, "no manifest.json"),
        (["one.shards", "two.shards", "--tree", "other.nwk"], 1, "tree-of-other-asvs"),
        (["one.shards", "two.shards", "--tree", "first.nwk"], 1, "none of the ASVs of two.shards"),
        (["one.shards", "two.shards", "--tree", "one/metadata.tsv"], 1, "newick"),
    ],
)
def test_what_cannot_be_merged(
    arguments: list[str],
    code: int,
    words: str,
    run: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = write_studies(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.nwk").write_text("(a:1,b:1);")
    (tmp_path / "first.nwk").write_text(random_newick(SEQUENCES[:10]))
    for table in tables[:2]:
        shard(run, Path(f"{table.parent.name}.shards"), table)
    ran = run("aamprep", "merge", *arguments)
    assert ran.code == code, ran.err
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert not (tmp_path / "shards").exists()


def test_a_damaged_set_is_not_merged(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables[:2]]
    content = bytearray((sets[1] / "asvs.parquet").read_bytes())
    content[100] ^= 1
    (sets[1] / "asvs.parquet").write_bytes(content)
    ran = run("aamprep", "merge", *sets, "--output", tmp_path / "merged")
    assert ran.code == 1
    assert "shards-file-changed" in ran.err
    assert not (tmp_path / "merged").exists()


def test_a_set_is_not_replaced_by_the_merged_one(run: Programs, tmp_path: Path) -> None:
    tables = write_studies(tmp_path)
    sets = [shard(run, tmp_path / f"{t.parent.name}.shards", t) for t in tables[:2]]
    before = read_manifest(sets[0])
    ran = run("aamprep", "merge", *sets, "--output", sets[0], "--overwrite")
    assert (ran.code, "it is an input" in ran.err) == (2, True)
    assert read_manifest(sets[0]) == before
