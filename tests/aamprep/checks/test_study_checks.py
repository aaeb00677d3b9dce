"""Checks of a study as a whole, and that our rules and the pandera contract agree on broken samples."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aam_schemas.common.counts import ROUNDING, rounded_counts
from aam_schemas.common.text import percent
from aam_schemas.manifest import Choices, InputFile
from aam_schemas.tables import sample_table, violations
from aamprep.prepare.pipeline import SamplePipeline
from aamprep.prepare.rejected import Rejected
from aamprep.read.types import CountTable
from aamprep.rules.findings import Findings
from aamprep.study.study import Asvs, Study
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(8)


def findings_of(run: Programs, table: Path, *options: object) -> dict[str, str]:
    document: dict[str, Any] = json.loads(run("aamprep", "validate", table, *options, "--json").out)
    return {finding["code"]: f"{finding['where']}: {finding['value']}" for finding in document["findings"]}


@pytest.mark.parametrize(
    ("sequences", "code", "words"),
    [
        ([SEQUENCES[0][:-1] + "N", *SEQUENCES[1:]], "ambiguity-codes", "1 of 8 ASVs"),
        ([SEQUENCES[0][:40], *SEQUENCES[1:]], "several-lengths", "40 to 60 bases, most often 60"),
        (["GTGCCAGCAGCCGCGGTAA" + sequence for sequence in SEQUENCES], "primer-left-on", "515F"),
        (
            [SEQUENCES[1].lower().replace("t", "u")[:-1] + SEQUENCES[1][-1], *SEQUENCES[1:]],
            "same-sequence-twice",
            "ids",
        ),
    ],
)
def test_what_sequences_tell(
    sequences: list[str], code: str, words: str, tmp_path: Path, run: Programs
) -> None:
    clean = findings_of(run, write_table(tmp_path / "clean", random_counts(4, 8), SEQUENCES))
    found = findings_of(run, write_table(tmp_path, random_counts(4, 8), sequences))
    assert code not in clean
    assert words in found[code]


def test_counts_that_are_not_whole_are_counted(tmp_path: Path, run: Programs) -> None:
    counts = random_counts(4, 8, density=1)
    counts[2, 5] = 0.25
    found = findings_of(run, write_table(tmp_path, counts, SEQUENCES))
    assert "sample S2" in found["count-not-whole"]
    assert "1 of 32 counts, such as 0.25" in found["count-not-whole"]


def test_a_count_that_is_not_whole_is_shown_as_such(tmp_path: Path, run: Programs) -> None:
    counts = random_counts(4, 8, density=1)
    counts[1, 2] = 14.00001
    table = write_table(tmp_path, counts, SEQUENCES)
    assert "1 of 32 counts, such as 14.00001" in findings_of(run, table)["count-not-whole"]
    shown = findings_of(run, table, "--rarefy-depth", 3)["cannot-rarefy"]
    assert shown.endswith("sample S1: a count of 14.00001")


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 2**40), st.floats(-0.9, 0.9))
def test_whole_up_to_rounding_is_whole(number: int, error: float) -> None:
    difference = error * min(ROUNDING * number, 0.01)
    whole, is_whole = rounded_counts(np.array([number + difference, number + 0.25]))
    assert whole[0] == number
    assert is_whole.tolist() == [True, False]


def test_counts_within_rounding_are_rarefied_as_whole_ones(tmp_path: Path, run: Programs) -> None:
    counts = random_counts(6, 8, density=1)
    nearly = counts * np.random.default_rng(0).uniform(1 - 9e-10, 1 + 9e-10, counts.shape)
    assert (nearly != counts).any()
    read = []
    for name, values in (("whole", counts), ("nearly", nearly)):
        table = write_table(tmp_path / name, values, SEQUENCES)
        assert not {"count-not-whole", "cannot-rarefy"} & findings_of(run, table, "--rarefy-depth", 5).keys()
        shards = tmp_path / f"{name}-shards"
        assert run("aamprep", "shard", table, "--rarefy-depth", 5, "--output", shards).code == 0
        samples = pl.concat([pl.read_parquet(file) for file in sorted(shards.glob("samples-*.parquet"))])
        read.append(samples.select("sample_id", "asv", "count", "depth").sort("sample_id"))
    assert read[0].equals(read[1])


def test_a_fraction_below_a_limit_is_shown_below_it() -> None:
    assert percent(0.94996, 0.95) == "94.996%"
    assert percent(0.5, 0.95) == "50.0%"
    assert percent(0.95, 0.95) == "95.0%"


def test_a_column_with_one_value_or_none_is_reported(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    rows = "".join(f"S{number}\tgut\t\t{number}\n" for number in range(3))
    (tmp_path / "metadata.tsv").write_text("sample-id\tsite\tempty\tage\n" + rows)
    document = json.loads(run("aamprep", "validate", table, "--json").out)
    found = {
        finding["where"].split(": ")[1]: finding["value"]
        for finding in document["findings"]
        if finding["code"] == "column-with-one-value"
    }
    assert found == {"column site": "'gut'", "column empty": "no value"}


def test_splits_by_a_column_that_cannot_split_are_reported(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(8, 8), SEQUENCES)
    rows = "".join(f"S{number}\t{'' if number in (2, 5) else 'Ann'}\n" for number in range(8))
    (tmp_path / "metadata.tsv").write_text("sample-id\tsubject\n" + rows)
    options = ("--split-by", "subject", "--output", tmp_path / "shards", "--json")
    ran = run("aamprep", "shard", table, *options)
    assert ran.code == 0
    document = json.loads(ran.out)
    found = {finding["code"]: f"{finding['where']}: {finding['value']}" for finding in document["findings"]}
    assert found["split-by-empty"].endswith("metadata.tsv: column subject: 2 of 8 samples, such as S2")
    splits = ", ".join(f"{document['facts'][split]} {split}" for split in ("train", "validation", "test"))
    assert found["split-without-samples"] == f"column subject: {splits}"


def test_a_tree_without_asvs_of_one_of_the_tables_is_refused(tmp_path: Path, run: Programs) -> None:
    """It would give that table's samples no distance at all."""
    first = write_table(tmp_path / "one", random_counts(3, 4), SEQUENCES[:4], ["A", "B", "C"])
    second = write_table(tmp_path / "two", random_counts(3, 4), SEQUENCES[4:])
    (tmp_path / "tree.nwk").write_text(random_newick(SEQUENCES[:4]))
    options = ("--tree", tmp_path / "tree.nwk", "--output", tmp_path / "shards", "--json")
    ran = run("aamprep", "shard", first, second, *options)
    assert ran.code == 1
    found = {finding["code"]: finding["value"] for finding in json.loads(ran.out)["findings"]}
    assert found["tree-of-other-asvs"] == f"none of the ASVs of {second}"
    assert not (tmp_path / "shards").exists()


def test_distances_of_other_samples_are_refused(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    (tmp_path / "distances.tsv").write_text("\tX1\tX2\nX1\t0\t0.5\nX2\t0.5\t0\n")
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards", "--json")
    assert ran.code == 1
    found = {finding["code"]: finding["value"] for finding in json.loads(ran.out)["findings"]}
    assert found["distances-of-other-samples"] == (
        "none of 3 samples; the table has ids such as 'S0', the distances such as 'X1'"
    )
    again = ("--no-distances", "--output", tmp_path / "shards")
    assert run("aamprep", "shard", table, *again).code == 0


def test_reads_dropped_by_the_token_limit_are_reported(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, np.array([[4.0, 3, 2, 1], [97, 1, 1, 1]]), SEQUENCES[:4])
    found = findings_of(run, table, "--token-limit", 1)
    assert found["token-limit-drops-reads"] == "sample S0: 1 of 2 samples keep less; this sample keeps 40.0%"
    assert "token-limit-drops-reads" not in findings_of(run, table, "--token-limit", 4)


def test_tips_in_lower_case_are_found(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    newick = random_newick(SEQUENCES)
    trees = []
    for number, text in enumerate((newick, newick.replace("T", "U").lower())):
        (tmp_path / "tree.nwk").write_text(text)
        output = tmp_path / f"shards{number}"
        assert run("aamprep", "shard", table, "--output", output).code == 0
        trees.append(pl.read_parquet(output / "tree.parquet"))
    assert "asv-not-in-tree" not in findings_of(run, table)
    assert trees[0].equals(trees[1])


def test_what_needs_metadata_of_these_samples_is_not_said_to_hold(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    (tmp_path / "metadata.tsv").write_text("sample-id\tage\nX1\t3\n")
    document = json.loads(run("aamprep", "validate", table, "--json").out)
    codes = {"sample-without-metadata", "metadata-without-sample", "column-with-one-value"}
    assert not codes & set(document["held"])
    assert codes <= set(document["not_checked"])


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ([[1e17, 5.0], [3.0, 2.0]], "count-too-large"),
        # Two ids of one sequence: no count makes up for a negative one.
        ([[-3.0, 5.0], [3.0, 2.0]], "count-negative"),
        ([[-5.0, 5.0], [3.0, 2.0]], "count-negative"),
    ],
)
def test_samples_with_counts_that_cannot_be_are_left_out(
    counts: list[list[float]], code: str, tmp_path: Path, run: Programs
) -> None:
    table = write_table(tmp_path, np.array(counts), [SEQUENCES[0], SEQUENCES[0].lower()])
    assert code in findings_of(run, table)
    assert run("aamprep", "shard", table, "--output", tmp_path / "shards").code == 0
    written = pl.read_parquet(tmp_path / "shards" / "samples-*.parquet")
    assert written["sample_id"].to_list() == ["S1"]
    rejected = pl.read_parquet(tmp_path / "shards" / "rejected.parquet")
    assert rejected["id"].to_list() == ["S0"]


def test_a_thousand_million_reads_are_too_many_to_rarefy(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, np.array([[999_999_999.0, 1.0], [999_999_998.0, 1.0]]), SEQUENCES[:2])
    ran = run("aamprep", "shard", table, "--rarefy-depth", 5, "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    assert pl.read_parquet(tmp_path / "shards" / "samples-*.parquet")["sample_id"].to_list() == ["S1"]
    assert "cannot-rarefy" in ran.err


def test_tables_of_the_same_name_are_not_distinguished_by_it(tmp_path: Path, run: Programs) -> None:
    paths = [
        write_table(tmp_path / name, random_counts(3, 8), SEQUENCES, ids).rename(tmp_path / name / "gut.biom")
        for name, ids in (("x", ["A", "B", "C"]), ("y", ["C", "D", "E"]))
    ]
    call = ("aamprep", "shard", *paths, "--prefix-samples", "--output", tmp_path / "shards")
    ran = run(*call)
    assert ran.code == 0
    assert "sample-in-two-tables" in ran.err
    names = pl.read_parquet(tmp_path / "shards" / "samples-*.parquet")["sample_id"].to_list()
    assert sorted(names) == ["gut.A", "gut.B", "gut.D", "gut.E"]
    assert run("aamprep", "verify", tmp_path / "shards").code == 0


def test_a_subject_is_the_same_however_its_number_is_written(tmp_path: Path, run: Programs) -> None:
    number = 40
    table = write_table(tmp_path, random_counts(number, 8), SEQUENCES)
    rows = [f"S{i}\t{i // 2}{'.0' * (i % 2)}" for i in range(number)]
    (tmp_path / "metadata.tsv").write_text("\n".join(["sample-id\tsubject", *rows]) + "\n")
    ran = run("aamprep", "shard", table, "--split-by", "subject", "--output", tmp_path / "shards")
    assert ran.code == 0, ran.err
    assert run("aamprep", "verify", tmp_path / "shards").code == 0


def test_a_table_without_samples_is_refused(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, np.zeros((0, 8)), SEQUENCES)
    for command in (("validate", table), ("shard", table, "--output", tmp_path / "shards")):
        ran = run("aamprep", *command)
        assert ran.code == 1
        assert "8 features, 0 samples" in ran.out + ran.err


def test_asvs_cannot_be_missing_from_no_tree(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    ran = run("aamprep", "shard", table, "--missing-from-tree", "reject", "--output", tmp_path / "shards")
    assert ran.code == 2
    assert "needs a tree" in ran.err


@pytest.mark.parametrize(
    "matrix", ["\tS0\tS1\nS0\t0\t-0.2\nS1\t-0.2\t0\n", "\tS0\tS1\nS0\t0\tnan\nS1\tnan\t0\n"]
)
def test_a_matrix_with_values_that_are_no_distances_is_refused(
    matrix: str, tmp_path: Path, run: Programs
) -> None:
    table = write_table(tmp_path, random_counts(2, 8), SEQUENCES)
    (tmp_path / "distances.tsv").write_text(matrix)
    ran = run("aamprep", "shard", table, "--output", tmp_path / "shards")
    assert ran.code == 1
    assert "distances-value" in ran.err
    assert not (tmp_path / "shards").exists()


def test_a_matrix_within_rounding_is_the_same_both_ways(tmp_path: Path, run: Programs) -> None:
    number = 40
    numbers = np.random.default_rng(0)
    matrix = numbers.random((number, number))
    matrix = (matrix + matrix.T) / 2 + 5e-10 * numbers.random((number, number))
    np.fill_diagonal(matrix, 0)
    table = write_table(tmp_path, random_counts(number, 8), SEQUENCES)
    np.save(tmp_path / "m.npy", matrix)
    (tmp_path / "m.ids.txt").write_text("\n".join(f"S{i}" for i in range(number)))
    options = ("--distances", tmp_path / "m.npy", "--output", tmp_path / "shards")
    assert run("aamprep", "shard", table, *options).code == 0
    assert run("aamprep", "verify", tmp_path / "shards").code == 0


def test_a_real_study_is_not_taken_for_a_simulated_one(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(3, 8), SEQUENCES)
    (tmp_path / "notes.txt").write_text("mine")
    call = ("aamprep", "simulate", "--samples", 3, "--asvs", 5, "--overwrite")
    assert run(*call, tmp_path).code == 2
    assert table.is_file()
    assert run(*call, tmp_path / "new").code == 0
    assert run(*call, tmp_path / "new").code == 0


# --- Our own rules and the pandera contract ---

COUNT = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.0, -0.25, math.nan, math.inf, -math.inf, 2.0**53]),
    st.floats(-10, 1e6),
    st.integers(0, 5).map(float),
)
CORPUS = st.lists(st.lists(COUNT, max_size=6), min_size=1, max_size=8)
NUM_ASVS = 6


def our_verdict(samples: list[list[float]]) -> dict[str, str]:
    """Prepare samples as `shard` does, and give the code of the rule that rejected each; empty where kept."""
    source = InputFile(role="table", name="table.biom", bytes=0, sha256="")
    table = CountTable(
        source=source,
        study="study",
        sample_ids=tuple(f"S{number}" for number in range(len(samples))),
        feature_ids=tuple(SEQUENCES[:NUM_ASVS]),
        indptr=np.cumsum([0, *map(len, samples)]),
        feature=np.array([asv for sample in samples for asv in range(len(sample))], dtype=np.int32),
        count=np.array([count for sample in samples for count in sample], dtype=np.float64),
        with_bad_counts=frozenset(
            f"S{number}" for number, sample in enumerate(samples) if not all(0 <= c <= 2**53 for c in sample)
        ),
    )
    asvs = Asvs(
        tuple(sorted(SEQUENCES[:NUM_ASVS])), tuple((sequence,) for sequence in SEQUENCES[:NUM_ASVS]), None
    )
    number = np.arange(NUM_ASVS)
    study = Study((table,), (number,), asvs, None, number, (), None, None, None, (source,))
    choices = Choices(
        token_limit=NUM_ASVS, select="abundance", rarefy_depth=None, seed=0,
        split_by=None, missing_from_tree="keep", min_prevalence=1, min_reads=0.0,
    )  # fmt: skip
    rejected = Rejected(Findings())
    kept = {
        sample_id
        for block in SamplePipeline(study, choices, False, rejected).blocks()
        for sample_id in block["sample_id"].to_pylist()
    }
    codes = {sample_id: code for _, sample_id, _, code, _ in rejected.rows}
    assert kept.isdisjoint(codes)
    assert kept | set(codes) == set(table.sample_ids)
    return {sample_id: codes.get(sample_id, "") for sample_id in table.sample_ids}


def contract_objects(sample: list[float]) -> bool:
    """Hold one sample, just as it is, against the contract."""
    depth = float(sum(sample))
    frame = pl.DataFrame(
        [
            {
                "sample_id": "S", "study": "study", "asv": list(range(len(sample))), "count": sample,
                "dropped_asv": [], "dropped_count": [], "depth": depth, "depth_before_rarefaction": depth,
                "depth_kept": depth, "num_asvs": len(sample), "num_asvs_kept": len(sample),
            }
        ],
        schema={
            "sample_id": pl.String, "study": pl.String, "asv": pl.List(pl.UInt32),
            "count": pl.List(pl.Float64), "dropped_asv": pl.List(pl.UInt32),
            "dropped_count": pl.List(pl.Float64), "depth": pl.Float64,
            "depth_before_rarefaction": pl.Float64, "depth_kept": pl.Float64,
            "num_asvs": pl.UInt32, "num_asvs_kept": pl.UInt32,
        },
    )  # fmt: skip
    return not violations(sample_table(NUM_ASVS, NUM_ASVS), frame).is_empty()


@given(CORPUS)
@settings(deadline=None, max_examples=settings.default.max_examples // 4)
def test_our_rules_and_the_contract_reject_the_same_samples(samples: list[list[float]]) -> None:
    for sample, code in zip(samples, our_verdict(samples).values(), strict=True):
        assert code in ("", "sample-empty", "count-not-finite"), "our own rules come before the contract"
        assert bool(code) == contract_objects(sample), sample


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        ([], "sample-empty"),
        ([0.0, 0.0], "sample-empty"),
        ([1.0, math.nan], "count-not-finite"),
        ([1.0, math.inf], "count-not-finite"),
        ([5.0, -1.0], "count-not-finite"),
        ([0.0, 0.5], ""),
        ([2.0**53, 0.0], ""),
    ],
)
def test_each_kind_of_broken_sample_has_one_verdict(sample: list[float], code: str) -> None:
    assert our_verdict([sample]) == {"S0": code}
    assert contract_objects(sample) == bool(code)
