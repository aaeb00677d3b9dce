"""Selecting samples by metadata: kept samples, reasons for the others, and invalid conditions."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aam_schemas.common.errors import UsageError
from aam_schemas.manifest import InputFile
from aamprep.read.types import Metadata
from aamprep.study.where import failing_samples, parse_condition
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

ROWS = {
    "S0": ("3", "gut", "a=b"),
    "S1": ("3.0", "left palm", "c"),
    "S2": ("-1e1", "tongue", None),
    "S3": (None, None, "c"),
    "S4": ("40", "gut", "<1"),
}
COLUMNS = ("age", "body site", "x=y")
METADATA = Metadata(
    source=InputFile(role="metadata", name="metadata.tsv", bytes=0, sha256=""),
    ids=tuple(ROWS),
    columns=dict(zip(COLUMNS, zip(*ROWS.values(), strict=True), strict=True)),
    types=dict(zip(COLUMNS, ("numeric", "categorical", "categorical"), strict=True)),
)
SAMPLES = [*ROWS, "S5"]  # the last has no row


def kept(*conditions: str) -> str:
    """Return the numbers of the samples that are kept."""
    reasons = failing_samples(list(conditions), METADATA, SAMPLES)
    return "".join(name[1:] for name in SAMPLES if name not in reasons)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), "012345"),
        (("age=3",), "01"),
        (("age == 3.00",), "01"),
        (("age!=3",), "24"),
        (("age<3",), "2"),
        (("age <= 3",), "012"),
        (("age>3",), "4"),
        (("age>=3",), "014"),
        (("body site=gut",), "04"),
        (("body site = 'left palm'",), "1"),
        (('body site="left palm"',), "1"),
        (("body site!=gut",), "12"),
        (("body site=",), "35"),
        (("body site!=",), "0124"),
        (("body site=gut", "age<10"), "0"),
        (("x=y=a=b",), "0"),
        (("x=y=<1",), "4"),
    ],
)
def test_samples_that_meet_all_conditions_are_kept(conditions: tuple[str, ...], expected: str) -> None:
    assert kept(*conditions) == expected


@pytest.mark.parametrize("compare", ["=", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("value", ["3", "-10", "40", "7.5"])
def test_numbers_are_compared_as_sqlite_does(compare: str, value: str) -> None:
    """QIIME 2 evaluates `--p-where` with SQLite."""
    with sqlite3.connect(":memory:") as database:
        database.execute("create table metadata (id text, age real)")
        rows = [(name, None if age is None else float(age)) for name, (age, *_) in ROWS.items()]
        database.executemany("insert into metadata values (?, ?)", rows)
        found = database.execute(f"select id from metadata where age {compare} ?", (float(value),))
        expected = "".join(name[1:] for (name,) in found)
    database.close()
    if expected:
        assert kept(f"age{compare}{value}") == expected
    else:
        with pytest.raises(UsageError, match="no sample of the table"):
            kept(f"age{compare}{value}")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("age", "this is not a comparison"),
        ("color=red", "no metadata column 'color'"),
        ("age=old", "'old' is not a number"),
        ("age<", "no number to compare with"),
        ("body site<3", "body site holds words"),
        ("=3", "this is not a comparison"),
    ],
)
def test_an_invalid_condition_is_refused(condition: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_condition(condition, METADATA)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a table of five samples. The first ASV is in S0, S2 and S4 only."""
    counts = np.ones((5, 3))
    counts[1::2, 0] = 0
    write_table(tmp_path, counts, random_sequences(3))
    cells = "".join("\t".join([name, *(cell or "" for cell in row)]) + "\n" for name, row in ROWS.items())
    (tmp_path / "metadata.tsv").write_text("\t".join(["sample-id", *COLUMNS]) + "\n" + cells)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shard_excludes_and_records_samples(study: Path, run: Programs) -> None:
    ran = run("aamprep", "shard", "--where", "body site=gut", "--where", "age<10", "--json", "--strict")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["valid"] is True
    assert document["counts"]["sample-not-asked-for"] == 4
    samples = pl.read_parquet("shards/samples-*.parquet")
    assert samples["sample_id"].to_list() == ["S0"]
    rejected = pl.read_parquet("shards/rejected.parquet")
    assert dict(rejected.select("id", "rule").rows()) == dict.fromkeys(
        ["S1", "S2", "S3", "S4"], "sample-not-asked-for"
    )
    reasons = dict(rejected.select("id", "reason").rows())
    assert "body site=gut: 'left palm'" in reasons["S1"]
    assert "body site=gut: no value" in reasons["S3"]
    assert "age<10: '40'" in reasons["S4"]


def test_prevalence_is_counted_among_the_kept_samples(study: Path, run: Programs) -> None:
    ran = run("aamprep", "shard", "--where", "age=3", "--min-prevalence", 2)
    assert ran.code == 0, ran.err
    asvs = pl.read_parquet("shards/asvs.parquet")
    assert sorted(asvs["sequence"]) == sorted(random_sequences(3)[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--where", "color=red"], "choose one of: age, body site, x=y"),
        (["--where", "body site=nose"], "gut, left palm, tongue"),
        (["--where", "age"], "COLUMN=VALUE"),
        (["--where", "age=3", "--no-metadata"], "give the metadata"),
    ],
)
def test_invalid_conditions_exit_with_2(arguments: list[str], words: str, study: Path, run: Programs) -> None:
    ran = run("aamprep", "shard", *arguments)
    assert ran.code == 2
    assert words in " ".join(ran.err.split())
    assert not (study / "shards").exists()


@pytest.mark.parametrize("declared", ["", "#q2:types\tnumeric\n"])
def test_codes_of_many_digits_pick_exactly_one_subject(
    declared: str, tmp_path: Path, run: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, random_counts(6, 8), random_sequences(8))
    rows = "".join(f"S{number}\t1031700001234567{number}\n" for number in range(6))
    (tmp_path / "metadata.tsv").write_text(f"sample-id\tsubject\n{declared}{rows}")
    monkeypatch.chdir(tmp_path)
    assert run("aamprep", "shard", "--where", "subject=10317000012345671").code == 0
    kept = pl.concat([pl.read_parquet(file) for file in Path("shards").glob("samples-*.parquet")])
    assert kept["sample_id"].to_list() == ["S1"]


def test_a_code_is_compared_with_its_zeros(
    tmp_path: Path, run: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, random_counts(2, 8), random_sequences(8))
    (tmp_path / "metadata.tsv").write_text("sample-id\tzip\nS0\t02139\nS1\t2139\n")
    monkeypatch.chdir(tmp_path)
    assert run("aamprep", "shard", "--where", "zip=02139").code == 0
    assert pl.read_parquet("shards/metadata.parquet")["zip"].to_list()[0] == "02139"
    assert "holds codes, such as 02139" in run("aamprep", "shard", "--where", "zip<3", "--overwrite").err
