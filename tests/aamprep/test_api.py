"""The Python interface, against the commands and against what biom-format, scikit-bio and pandas say."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import biom
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skbio

import aamprep
from aam_schemas.common.errors import UsageError
from aam_schemas.manifest import read_manifest
from aamprep.rules import tables as rules
from tests.helpers.studies import (
    Programs,
    random_counts,
    random_newick,
    random_sequences,
    write_table,
    write_table_with_an_empty_sample,
)

SEQUENCES = random_sequences(20)
COUNTS = random_counts(12, 20)
IDS = [f"S{number}" for number in range(12)]
AGES = [None if number == 5 else number + 0.5 for number in range(12)]
SITES = ["gut" if number % 2 else "skin, left" for number in range(12)]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a study: table, tree, metadata, distances."""
    write_table(tmp_path, COUNTS, SEQUENCES)
    (tmp_path / "tree.nwk").write_text(random_newick(SEQUENCES[1:]))
    rows = (f"{i}\t{'' if a is None else a}\t{s}\n" for i, a, s in zip(IDS, AGES, SITES, strict=True))
    (tmp_path / "metadata.tsv").write_text("sample-id\tage\tsite\n" + "".join(rows))
    distance_matrix().write(str(tmp_path / "distances.tsv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def distance_matrix() -> skbio.DistanceMatrix:
    points = np.random.default_rng(0).random((12, 3))
    matrix = np.linalg.norm(points[:, None] - points[None], axis=2)
    return skbio.DistanceMatrix((matrix + matrix.T) / 2, IDS)


def read_tree() -> skbio.TreeNode:
    return skbio.TreeNode.read("tree.nwk", convert_underscores=False)


def pandas_metadata() -> pd.DataFrame:
    return pd.DataFrame({"age": AGES, "site": SITES}, index=IDS).astype({"age": float})


def contents(path: Path) -> dict[str, Any]:
    """Return all tables of a shard set, without the names of the study and the files."""
    shards = aamprep.open_shards(path)
    assert aamprep.verify(path).is_valid
    found: dict[str, Any] = {
        "samples": shards.samples().drop("study").to_dicts(),
        "asvs": shards.asvs().to_dicts(),
        "choices": shards.manifest.choices,
    }
    if (metadata := shards.metadata()) is not None:
        found |= {"metadata": metadata.to_dicts(), "types": shards.manifest.metadata_types}
    if (path / "tree.parquet").exists():
        found["tree"] = pl.read_parquet(path / "tree.parquet").to_dicts()
    if (path / "distances.npy").exists():
        found["distances"] = np.load(path / "distances.npy").tolist()
    return found


def test_import_is_light_and_names_are_public() -> None:
    heavy = (
        "biom",
        "matplotlib",
        "numpy",
        "pandas",
        "pandera",
        "polars",
        "pyarrow",
        "rich",
        "skbio",
        "typer",
    )
    code = f"import sys, aamprep\nprint([name for name in {heavy} if name in sys.modules])\n"
    code += "print(sorted(set(aamprep.__all__) - set(dir(aamprep))))\n"
    code += "print([name for name in aamprep.__all__ if getattr(aamprep, name) is None])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:3] == ["[]", "[]", "[]"]
    assert (Path(aamprep.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = aamprep.no_such_name


def test_functions_stay_functions_when_stages_are_loaded(study: Path) -> None:
    aamprep.shard("table.biom", output="one")
    aamprep.verify("one")
    assert all(callable(getattr(aamprep, name)) for name in aamprep.__all__ if name != "__version__")


def test_python_m_runs_the_program(study: Path) -> None:
    call = [sys.executable, "-m", "aamprep", "--version"]
    ran = subprocess.run(call, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == aamprep.__version__


def test_objects_give_the_shards_that_files_give(study: Path, run: Programs) -> None:
    options = {"token_limit": 4, "rarefy_depth": 40, "split_by": "site"}
    files = aamprep.shard("table.biom", output="files", **aamprep.find_beside("table.biom"), **options)
    objects = aamprep.shard(
        biom.load_table("table.biom"),
        output="objects",
        tree=read_tree(),
        metadata=pandas_metadata(),
        distances=distance_matrix(),
        **options,
    )
    flags = ["--token-limit", 4, "--rarefy-depth", 40, "--split-by", "site"]
    assert run("aamprep", "shard", *flags, "--output", "command").code == 0
    expected = contents(study / "command")
    assert {"tree", "metadata", "distances"} <= expected.keys()
    assert contents(files.path) == expected
    assert contents(objects.path) == expected
    names = [file.name for file in objects.manifest.inputs]
    assert names == ["<biom.Table>", "<skbio.TreeNode>", "<pandas.DataFrame>", "<skbio.DistanceMatrix>"]
    assert objects.manifest.command.startswith("aamprep.shard(")


def test_polars_metadata_are_those_of_pandas(study: Path) -> None:
    frame = pl.DataFrame({"age": AGES, "sample-id": IDS, "site": SITES})
    column = pandas_metadata().rename_axis("sample-id").reset_index()
    for name, metadata in (("polars", frame), ("index", pandas_metadata()), ("column", column)):
        aamprep.shard("table.biom", metadata=metadata, output=name)
    assert contents(study / "polars") == contents(study / "index") == contents(study / "column")
    read = aamprep.open_shards("polars").metadata()
    assert read is not None
    assert read["age"].to_list() == [AGES[IDS.index(name)] for name in read["sample_id"]]
    assert aamprep.open_shards("polars").manifest.metadata_types == {"age": "numeric", "site": "categorical"}


def test_the_type_of_a_column_is_that_of_the_data_frame(study: Path) -> None:
    metadata = pd.DataFrame({"code": ["01"] * 6 + ["2"] * 6}, index=IDS)
    written = aamprep.shard("table.biom", metadata=metadata)
    assert written.manifest.metadata_types == {"code": "categorical"}
    assert set(written.open().metadata()["code"]) == {"01", "2"}


@pytest.mark.parametrize("kind", [dict, pd.Series])
def test_sequences_and_taxa_by_id(kind: type, study: Path) -> None:
    names = [f"feature_{number}" for number in range(20)]
    table = biom.Table(COUNTS.T, names, IDS, table_id="gut")
    taxa = [f"k__Bacteria; g__G{number}" for number in range(20)]
    rep_seqs = kind(dict(zip(names, map(skbio.DNA, SEQUENCES), strict=True)))
    taxonomy = kind(dict(zip(names, taxa, strict=True)))
    written = aamprep.shard(table, rep_seqs=rep_seqs, taxonomy=taxonomy).open()
    asvs = written.asvs()
    assert dict(zip(asvs["asv_id"], asvs["sequence"], strict=True)) == dict(
        zip(names, SEQUENCES, strict=True)
    )
    assert dict(zip(asvs["asv_id"], asvs["taxon"], strict=True)) == dict(zip(names, taxa, strict=True))
    assert set(written.samples()["study"]) == {"gut"}


def test_several_tables_are_told_apart(study: Path) -> None:
    whole = biom.load_table("table.biom")
    halves = [whole.filter(ids, inplace=False) for ids in (IDS[:6], IDS[6:])]
    written = aamprep.shard(halves, output="halves")
    assert [file.name for file in written.manifest.inputs] == ["<biom.Table>", "<biom.Table 2>"]
    assert written.manifest.num_samples == 12
    twice = aamprep.validate([whole, "table.biom"])
    assert not twice.is_valid
    assert {finding.code for finding in twice.findings} >= {rules.DUPLICATE_SAMPLE.code}


def test_a_shard_set_comes_back_as_table_tree_and_distances(study: Path) -> None:
    beside = aamprep.find_beside("table.biom")
    shards = aamprep.shard("table.biom", **beside, token_limit=3).open()
    table = shards.table()
    used = [name for name, counts in zip(SEQUENCES, COUNTS.T, strict=True) if counts.any()]
    assert sorted(table.ids(axis="observation")) == sorted(used)
    found = table.sort_order(IDS).sort_order(used, axis="observation").matrix_data.toarray()
    assert np.array_equal(found, COUNTS.T[COUNTS.any(axis=0)])
    kept = shards.table(dropped=False)
    assert (kept.pa(inplace=False).sum(axis="sample") <= 3).all()
    tree, whole = shards.tree(), read_tree()
    tips = {tip.name for tip in tree.tips()}
    assert tips == {tip.name for tip in whole.tips()} & set(used)
    pair = sorted(tips)[:2]
    assert tree.find(pair[0]).distance(tree.find(pair[1])) == pytest.approx(
        whole.find(pair[0]).distance(whole.find(pair[1]))
    )
    distances = shards.distances()
    assert np.allclose(distances.filter(IDS).redundant_form(), distance_matrix().redundant_form())
    assert sum(len(shards.samples(split)) for split in ("train", "validation", "test")) == len(shards) == 12
    with pytest.raises(aamprep.UsageError, match="no split"):
        shards.samples("training")


def test_validate_says_what_the_command_says(tmp_path: Path, run: Programs) -> None:
    table = write_table_with_an_empty_sample(tmp_path)
    report = aamprep.validate(table)
    ran = run("aamprep", "validate", table, "--json")
    assert (ran.code, json.loads(ran.out)) == (1, report.to_dict())
    assert not report.is_valid
    codes = (rules.EMPTY_SAMPLE.code, rules.UNRAREFIED.code, rules.SHALLOW.code)
    assert report.counts == {finding.code: 1 for finding in report.findings} == dict.fromkeys(codes, 1)
    assert "S4" in report.findings[0].where
    assert report.findings_frame().to_dicts() == json.loads(ran.out)["findings"]
    assert "invalid: 1 error" in str(report)
    assert "sample-empty" in report._repr_html_()
    assert "<style" not in report._repr_html_()
    assert "Invalid: 1 of 12 samples" in report.to_html(tmp_path / "r.html").read_text()
    assert pl.read_parquet(report.to_parquet(tmp_path / "f.parquet")).equals(report.findings_frame())


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_objects_meet_the_checks_that_files_meet(value: float, tmp_path: Path) -> None:
    counts = COUNTS.copy()
    counts[3, 0] = value
    in_memory = aamprep.validate(biom.Table(counts.T, SEQUENCES, IDS))
    on_disk = aamprep.validate(write_table(tmp_path, counts, SEQUENCES))
    assert not in_memory.is_valid
    assert in_memory.counts == on_disk.counts
    assert in_memory.findings[0].where == "<biom.Table>: sample S3"


def test_bad_data_do_not_raise_out_of_validate(tmp_path: Path) -> None:
    (tmp_path / "table.biom").write_bytes(b"hello")
    report = aamprep.validate(tmp_path / "table.biom")
    assert not report.is_valid
    assert report.to_html(tmp_path / "r.html").exists()
    hashes = biom.Table(COUNTS.T, [f"{number:032x}" for number in range(20)], IDS)
    assert list(aamprep.validate(hashes).counts) == [rules.HASH_IDS.code]


def test_shard_raises_with_the_report_and_writes_nothing(tmp_path: Path) -> None:
    table, output = write_table_with_an_empty_sample(tmp_path), tmp_path / "shards"
    for options in ({"strict": True}, {"rarefy_depth": 10**8}):
        with pytest.raises(aamprep.InvalidDataError) as caught:
            aamprep.shard(table, output=output, **options)
        assert isinstance(caught.value, aamprep.InvalidStudyError)
        assert rules.EMPTY_SAMPLE.code in caught.value.report.counts
        assert not output.exists()
    written = aamprep.shard(table, output=output)
    assert (written.manifest.num_samples, written.report.is_valid) == (11, False)
    assert written.open().rejected()["id"].to_list() == ["S4"]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"token_limit": 0}, "token_limit"),
        ({"rarefy_depth": 0}, "rarefy_depth"),
        ({"select": "best"}, "select"),
        ({"missing_from_tree": "drop"}, "missing_from_tree"),
        ({"min_reads": np.nan}, "min_reads"),
        ({"split_by": "color"}, "split_by"),
        ({"where": "age<3"}, "where"),
        ({"budget": np.inf}, "budget"),
        ({"tree": "absent.nwk"}, "tree absent.nwk"),
        ({"tree": 3}, "tree"),
        ({"metadata": [1, 2]}, "metadata"),
        ({"metadata": pd.DataFrame({"a": [1]}, index=[0.5])}, "metadata"),
        ({"rep_seqs": {"a b": "ACGT"}}, "rep_seqs"),
    ],
)
def test_wrong_arguments_name_the_parameter(options: dict[str, Any], where: str, study: Path) -> None:
    with pytest.raises(aamprep.UsageError) as caught:
        aamprep.shard("table.biom", **options)
    assert caught.value.where == where
    assert not (study / "shards").exists()


def test_the_command_names_the_option(study: Path, run: Programs) -> None:
    for flags, option in (
        (["--token-limit", 0], "--token-limit:"),
        (["--split-by", "color"], "--split-by:"),
        (["--tree", "absent.nwk"], "--tree absent.nwk:"),
        (["--where", "age"], "--where 'age':"),
    ):
        ran = run("aamprep", "shard", *flags)
        assert (ran.code, option in ran.err) == (2, True), ran.err


def test_paths_are_checked_first(study: Path) -> None:
    with pytest.raises(aamprep.UsageError, match="no such file"):
        aamprep.validate("absent.biom")
    with pytest.raises(aamprep.UsageError, match="no table"):
        aamprep.validate([])
    with pytest.raises(aamprep.UsageError, match="cannot be read"):
        aamprep.validate(COUNTS)
    aamprep.shard("table.biom")
    with pytest.raises(aamprep.UsageError, match="exists already"):
        aamprep.shard("table.biom")


def test_files_beside_a_table_are_taken_only_when_asked_for(study: Path) -> None:
    alone = aamprep.validate("table.biom")
    assert [file["role"] for file in alone.facts["inputs"]] == ["table"]
    beside = aamprep.find_beside("table.biom")
    assert sorted(beside) == ["distances", "metadata", "tree"]
    together = aamprep.validate("table.biom", **beside)
    assert {file["role"] for file in together.facts["inputs"]} == {"table", *beside}
    (study / "rooted-tree.nwk").write_text("(a:1,b:1);")
    with pytest.raises(aamprep.UsageError, match="could both be used"):
        aamprep.find_beside("table.biom")


def test_merge_is_that_of_the_command(study: Path, run: Programs) -> None:
    metadata = pandas_metadata()
    parts = [
        aamprep.shard("table.biom", metadata=metadata, where=f"site{compare}gut", output=name)
        for name, compare in (("gut", "="), ("rest", "!="))
    ]
    merged = aamprep.merge([parts[0], "rest"], tree=read_tree(), output="merged")
    ran = run("aamprep", "merge", "gut", "rest", "--tree", "tree.nwk", "--output", "command", "--json")
    assert ran.code == 0
    assert contents(study / "merged") == contents(study / "command")
    assert merged.to_dict()["facts"] | {"output": "command"} == json.loads(ran.out)["facts"]
    with pytest.raises(aamprep.InvalidStudyError) as caught:
        aamprep.merge(["gut", "merged"], output="twice")
    assert list(caught.value.report.counts) == ["merge-sample-twice"]
    with pytest.raises(aamprep.UsageError, match="two shard sets"):
        aamprep.merge(["gut"], output="alone")


def test_the_other_functions_say_what_the_commands_say(study: Path, run: Programs) -> None:
    aamprep.shard("table.biom")
    for command, path, document in (
        ("verify", "shards", aamprep.verify("shards").to_dict()),
        ("inspect", "table.biom", aamprep.inspect("table.biom").to_dict()),
        ("inspect", "shards", aamprep.inspect(Path("shards")).to_dict()),
        ("limits", "table.biom", aamprep.limits("table.biom").to_dict()),
    ):
        assert json.loads(run("aamprep", command, path, "--json").out) == document
    assert aamprep.limits(biom.load_table("table.biom")) == aamprep.limits("table.biom")
    (study / "shards" / "asvs.parquet").write_bytes(b"")
    report = aamprep.verify("shards")
    assert not report.is_valid
    assert "shards-file-changed" in str(report)
    assert report.to_html("verified.html").exists()


def test_simulate_and_root_are_those_of_the_commands(study: Path, run: Programs) -> None:
    assert run("aamprep", "simulate", "command", "--samples", 5, "--asvs", 9, "--seed", 4).code == 0
    folder = aamprep.simulate("python", samples=5, asvs=9, seed=4)
    for name in ("table.biom", "tree.nwk", "metadata.tsv"):
        assert (folder / name).read_bytes() == (study / "command" / name).read_bytes()
    rooted = aamprep.root(skbio.TreeNode.read(["(a:1,b:2,c:5);"]), output="rooted.nwk")
    assert (rooted.num_tips, rooted.was_rooted) == (3, False)
    tree = skbio.TreeNode.read("rooted.nwk")
    assert {tip.name: tree.distance(tip) for tip in tree.tips()} == {"a": 2.5, "b": 3.5, "c": 3.5}


def test_nothing_is_printed(
    study: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="aamprep"):
        aamprep.validate("table.biom", tree="tree.nwk")
        aamprep.shard("table.biom")
    assert capsys.readouterr() == ("", "")
    assert caplog.messages[0] == "reading table.biom, tree.nwk (tree)"
    assert read_manifest(study / "shards").num_samples == 12


def test_odd_ids_of_a_distance_matrix_are_kept(study: Path) -> None:
    names = [" a", "b ", "#c", '"d"', "e,f", "'g'"]
    table = biom.Table(COUNTS[:6].T, SEQUENCES, names)
    distances = skbio.DistanceMatrix(distance_matrix().data[:6, :6], names)
    report = aamprep.validate(table, distances=distances)
    assert rules.SAMPLE_WITHOUT_DISTANCE in report.findings.passed


@pytest.mark.parametrize(
    ("role", "value", "words"),
    [
        ("metadata", pd.DataFrame({"age": [1, 2]}, index=["S1", "#S2"]), "'#S2' begins with '#'"),
        (
            "metadata",
            pl.DataFrame({"id": ["#q2:types", "S1"], "age": ["numeric", "1"]}),
            "'#q2:types' begins",
        ),
        ("taxonomy", {"a": "k__A", "b\tc": "k__B"}, "'b\\tc' contains a tab"),
        ("rep_seqs", {"a ": "ACGT"}, "'a ' contains a blank"),
        ("rep_seqs", {"a\n": "ACGT"}, "'a\\n' contains a blank"),
    ],
)
def test_ids_that_a_file_would_lose_are_refused(study: Path, role: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as error:
        aamprep.validate("table.biom", **{role: value})
    assert words in error.value.what
    assert role in error.value.where
