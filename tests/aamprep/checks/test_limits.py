"""The table of token limits and depths: against a plain count, and against what `shard` does."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aamprep.checks.depths import suggested_depth
from aamprep.checks.limits import DepthRow, _bend
from aamprep.checks.thresholds import TOKEN_LIMITS
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

COUNTS = random_counts(40, 60, density=0.7) * 10


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path, COUNTS, random_sequences(60))


def test_token_limits_against_a_plain_count(table: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "limits", table, "--json").out)
    assert [row["token_limit"] for row in document["token_limits"]] == list(TOKEN_LIMITS)
    ordered = -np.sort(-COUNTS, axis=1)
    for row in document["token_limits"]:
        limit = row["token_limit"]
        reads = np.array([sample[:limit].sum() / sample.sum() for sample in ordered])
        asvs = np.array([(sample[:limit] > 0).sum() / (sample > 0).sum() for sample in ordered])
        assert row["reads_median"] == pytest.approx(np.median(reads), rel=1e-12)
        assert row["reads_worst"] == pytest.approx(np.sort(reads)[1], rel=1e-12)  # 39 of 40 reach it
        assert row["asvs_median"] == pytest.approx(np.median(asvs), rel=1e-12)
        assert row["asvs_worst"] == pytest.approx(np.sort(asvs)[1], rel=1e-12)
        assert row["samples_nearly_whole"] == (reads >= 0.99).sum()
    sufficient = [row["token_limit"] for row in document["token_limits"] if row["reads_worst"] >= 0.95]
    assert document["smallest_sufficient_token_limit"] == sufficient[0]


def test_depths_against_a_plain_count(table: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "limits", table, "--json").out)
    depth = COUNTS.sum(axis=1)
    assert [row["depth"] for row in document["depths"] if row["suggested"]] == [suggested_depth(depth)]
    for row in document["depths"]:
        number = int((depth >= row["depth"]).sum())
        assert row["samples"] == number
        assert row["samples_share"] == number / 40
        assert row["reads_share"] == pytest.approx(number * row["depth"] / depth.sum(), rel=1e-12)


def test_shard_keeps_what_the_table_says(table: Path, run: Programs, tmp_path: Path) -> None:
    document = json.loads(run("aamprep", "limits", table, "--json").out)
    suggested = next(row for row in document["depths"] if row["suggested"])
    limit = document["token_limits"][1]
    assert run("aamprep", "shard", table, "--token-limit", 32, "--output", tmp_path / "a").code == 0
    samples = pl.read_parquet(tmp_path / "a" / "samples-*.parquet")
    share = (samples["depth_kept"] / samples["depth"]).to_numpy()
    assert limit["token_limit"] == 32
    assert limit["reads_median"] == pytest.approx(np.median(share), rel=1e-12)
    options = ["--rarefy-depth", suggested["depth"], "--output", tmp_path / "b"]
    assert run("aamprep", "shard", table, *options).code == 0
    assert len(pl.read_parquet(tmp_path / "b" / "samples-*.parquet")) == suggested["samples"]


def test_empty_samples_and_bad_counts_are_left_out(run: Programs, tmp_path: Path) -> None:
    counts = COUNTS.copy()
    counts[0] = 0
    counts[1, 3] = np.nan
    counts[2, 3] = -1
    document = json.loads(
        run("aamprep", "limits", write_table(tmp_path, counts, random_sequences(60)), "--json").out
    )
    assert (document["samples"], document["samples_left_out"]) == (37, 3)
    ordered = -np.sort(-COUNTS[3:], axis=1)
    expected = np.median(ordered[:, :16].sum(axis=1) / ordered.sum(axis=1))
    assert document["token_limits"][0]["reads_median"] == pytest.approx(expected, rel=1e-12)


def test_counts_that_are_not_whole_have_no_depths(run: Programs, tmp_path: Path) -> None:
    table = write_table(tmp_path, COUNTS / 3, random_sequences(60))
    assert json.loads(run("aamprep", "limits", table, "--json").out)["depths"] == []
    assert "cannot be rarefied" in " ".join(run("aamprep", "limits", table).out.split())


def test_counts_that_are_whole_up_to_rounding_are_those_of_shard(run: Programs, tmp_path: Path) -> None:
    """14.000000000000002 is how a program that scales counts leaves 14."""
    rounding = np.where(COUNTS > 0, 1 + np.array([1, -1])[np.arange(60) % 2] * 2.0**-52, 1.0)
    near = write_table(tmp_path / "near", COUNTS * rounding, random_sequences(60))
    whole = write_table(tmp_path / "whole", COUNTS, random_sequences(60))
    found = [json.loads(run("aamprep", "limits", table, "--json").out) for table in (near, whole)]
    assert found[0]["depths"]
    assert found[0] == found[1]


def test_the_curve_bends_where_all_larger_depths_gain_little() -> None:
    def row(depth: int, gain: float | None) -> DepthRow:
        return DepthRow(depth, 9, 1.0, 1.0, 1.0, gain, False)

    assert _bend([row(100, 0.2), row(200, 0.09), row(500, 0.11), row(1000, 0.05), row(2000, None)]) == 1000
    assert _bend([row(100, 0.2), row(200, 0.1), row(500, 0.01)]) == 200
    assert _bend([row(100, 0.05), row(200, 0.2), row(500, None)]) is None


def test_too_few_reads_for_a_curve_are_said_to_be(run: Programs, tmp_path: Path) -> None:
    """Nothing is said of a bend that was not seen."""
    few = write_table(tmp_path, np.full((3, 9), 15), random_sequences(9))
    ran = run("aamprep", "limits", few)
    assert "too few reads to tell where the rarefaction curve bends" in " ".join(ran.out.split())


def test_the_screen_names_the_options(table: Path, run: Programs) -> None:
    words = " ".join(run("aamprep", "limits", table).out.split())
    assert "40 samples" in words
    assert "With --token-limit 64, 95% of the samples" in words
    assert f"--rarefy-depth {suggested_depth(COUNTS.sum(axis=1))}" in words


def test_the_table_here_is_the_default(table: Path, run: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    assert run("aamprep", "limits").out == run("aamprep", "limits", "table.biom").out
    twice = json.loads(run("aamprep", "limits", "table.biom", "table.biom", "--json").out)
    assert twice["samples"] == 80


def test_what_is_no_table(run: Programs, tmp_path: Path) -> None:
    (tmp_path / "page.biom").write_text("<html></html>")
    ran = run("aamprep", "limits", tmp_path / "page.biom", "--json")
    assert ran.code == 1
    assert [finding["code"] for finding in json.loads(ran.out)["findings"]] == ["file-html"]
    assert run("aamprep", "limits", tmp_path / "absent.biom").code == 2
    empty = write_table(tmp_path, np.zeros((2, 2)), random_sequences(2))
    ran = run("aamprep", "limits", empty)
    assert ran.code == 1
    assert "no valid sample has reads" in ran.err


@pytest.mark.real
def test_hash_ids_need_no_rep_seqs(real_data: RealData, run: Programs) -> None:
    ran = run("aamprep", "limits", real_data("moving-pictures/table.qza"), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["samples"] == 34
