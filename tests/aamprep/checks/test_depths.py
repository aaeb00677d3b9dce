"""Depths of samples: few reads are reported, and a rarefaction depth is suggested with its cost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from aamprep.checks.depths import expected_asvs, suggested_depth
from aamprep.prepare.block import Block
from tests.helpers.paths import RealData
from tests.helpers.studies import Programs, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(8)
BLANKS_AND_SAMPLES = [2, 30, 68, 71, 140, 900, *np.geomspace(4000, 96_699, 40).round()]


def counts_of(depths: list[Any]) -> npt.NDArray[np.float64]:
    """Return counts of 8 ASVs with these depths."""
    parts = np.floor(np.outer(depths, [0.5, 0.2, 0.1, 0.08, 0.05, 0.04, 0.02, 0]))
    parts[:, 7] = depths - parts.sum(axis=1)
    return parts


def report(run: Programs, table: Path, *options: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("aamprep", "validate", table, *options, "--json").out)
    document["by_code"] = {each["code"]: f"{each['where']}: {each['value']}" for each in document["findings"]}
    return document


def block_of(counts: npt.NDArray[np.float64]) -> Block:
    row, asv = np.nonzero(counts)
    indptr = np.concatenate([[0], np.cumsum((counts > 0).sum(axis=1))])
    ids = tuple(f"S{number}" for number in range(len(counts)))
    return Block("study", ids, indptr, asv, counts[row, asv], np.arange(len(row)))


@given(
    st.lists(st.lists(st.integers(0, 3000), min_size=6, max_size=6).filter(any), min_size=1, max_size=4),
    st.integers(100, 8000),
)
def test_expected_asvs_are_those_of_the_hypergeometric_distribution(
    rows: list[list[int]], depth: int
) -> None:
    counts = np.array(rows, dtype=np.float64)
    found = expected_asvs(block_of(counts), depth)
    total = counts.sum(axis=1)
    for sample, reads, number in zip(counts, total, found, strict=True):
        if reads < depth:
            assert np.isnan(number)
        else:
            missed = hypergeom.pmf(0, int(reads), sample[sample > 0].astype(int), depth)
            assert number == pytest.approx((1 - missed).sum(), abs=0.05)
            if reads == depth:
                assert number == pytest.approx((sample > 0).sum())


def test_expected_asvs_of_a_typical_sample_are_within_a_fifth_of_a_percent() -> None:
    counts = np.random.default_rng(0).lognormal(2, 2, (1, 300)).round() + 1
    for depth in (100, 1000, 5000):
        missed = hypergeom.pmf(0, int(counts.sum()), counts[0].astype(int), depth)
        assert expected_asvs(block_of(counts), depth)[0] == pytest.approx((1 - missed).sum(), rel=2e-3)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=50))
def test_a_suggested_depth_has_a_floor_and_keeps_most_samples(depths: list[float]) -> None:
    depth = np.array(depths)
    suggested = suggested_depth(depth)
    if suggested is None:
        assert (depth < 1000).sum() >= len(depth) / 2
        return
    assert suggested >= 1000
    assert (depth >= suggested).mean() >= 0.45
    if (depth >= 1000).mean() > 0.9:
        assert (depth >= suggested).mean() >= 0.9


def test_blanks_do_not_lower_the_suggested_depth() -> None:
    depth = np.array(BLANKS_AND_SAMPLES)
    assert suggested_depth(depth[depth < 1000]) is None
    suggested = suggested_depth(depth)
    assert suggested is not None
    assert 4000 <= suggested <= 6000


def test_a_depth_that_two_samples_differ_by_is_the_lower_one() -> None:
    assert suggested_depth(np.array([1100.0, 9000.0])) == 1100


def test_a_depth_just_below_the_floor_becomes_the_floor() -> None:
    assert suggested_depth(np.array([960.0] * 2 + [1000.0] * 8 + [5000.0])) == 1000


@pytest.mark.parametrize("has_tree", [True, False])
def test_depths_that_differ_bring_a_suggestion_that_holds(
    tmp_path: Path, run: Programs, has_tree: bool
) -> None:
    counts = counts_of(BLANKS_AND_SAMPLES)
    table = write_table(tmp_path, counts, SEQUENCES)
    if has_tree:
        (tmp_path / "tree.nwk").write_text(random_newick(SEQUENCES))
    value = report(run, table)["by_code"]["depth-differs"]
    assert "depths of 2 to 96,699 reads" in value
    depth, kept = int(value.split("--rarefy-depth ")[1].split()[0]), int(value.split("keep ")[1].split()[0])
    assert depth == suggested_depth(counts.sum(axis=1))
    assert (counts.sum(axis=1) >= depth).sum() == kept
    fraction = depth * kept / counts.sum()
    assert f"--rarefy-depth {depth} would keep {kept} of 46 samples and {fraction:.1%} of the reads" in value
    assert "; 2000 would keep 40 of 46 samples" in value
    rarefied = report(run, table, "--rarefy-depth", depth)
    assert not {"depth-differs", "sample-shallow"} & set(rarefied["by_code"])
    assert "depth-differs" in rarefied["not_checked"]


def test_one_blank_among_even_samples_is_told(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, counts_of([71.0] + [30_000.0] * 30), SEQUENCES)
    found = report(run, table)["by_code"]
    assert found["sample-shallow"] == "sample S0: 71 reads; 1 of 31 samples (3.2%) has fewer than 1,000 reads"
    assert "depths of 71 to 30,000 reads" in found["depth-differs"]


def test_many_samples_with_few_reads_may_have_failed(tmp_path: Path, run: Programs) -> None:
    value = report(run, write_table(tmp_path, counts_of(BLANKS_AND_SAMPLES), SEQUENCES))["by_code"][
        "sample-shallow"
    ]
    assert value.startswith("sample S0: 2 reads; 6 of 46 samples (13.0%)")
    assert "failed in the laboratory" in value


def test_even_samples_with_enough_reads_have_no_warning(tmp_path: Path, run: Programs) -> None:
    document = report(run, write_table(tmp_path, counts_of([1000.0, 1500.0, 1900.0]), SEQUENCES))
    assert not {"depth-differs", "sample-shallow"} & set(document["by_code"])
    assert {"depth-differs", "sample-shallow"} <= set(document["held"])


def test_no_depth_is_suggested_if_most_samples_are_shallow(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, counts_of([50.0, 60.0, 90.0, 900.0, 2000.0]), SEQUENCES)
    value = report(run, table)["by_code"]["depth-differs"]
    assert "no depth is suggested, since fewer than half of the samples have 1,000 reads" in value
    assert "--rarefy-depth" not in value


def test_relative_abundances_get_no_advice_on_depth(tmp_path: Path, run: Programs) -> None:
    counts = counts_of([100.0, 5000.0, 90_000.0])
    document = report(run, write_table(tmp_path, counts / 7, SEQUENCES))
    assert not {"depth-differs", "sample-shallow"} & set(document["by_code"])
    assert document["not_checked"]["sample-shallow"] == "counts are not whole numbers"


def test_the_remedies_for_few_reads_work(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, counts_of([10.0, 40.0, *[3000.0] * 20]), SEQUENCES)
    lines = [f"S{number}\t{'blank' if number < 2 else 'gut'}" for number in range(22)]
    (tmp_path / "metadata.tsv").write_text("\n".join(["sample-id\tkind", *lines, ""]))
    for number, options in enumerate((["--where", "kind!=blank"], ["--rarefy-depth", 1000])):
        ran = run("aamprep", "shard", table, *options, "--output", tmp_path / str(number))
        assert ran.code == 0
        assert "sample-shallow" not in ran.out + ran.err
        assert json.loads((tmp_path / str(number) / "manifest.json").read_text())["num_samples"] == 20


@pytest.mark.real
def test_a_published_study_of_which_a_tenth_is_shallow(real_data: RealData, run: Programs) -> None:
    table = real_data("awkward/ambiguous-N.biom")
    document = json.loads(run("aamprep", "limits", table, "--json").out)
    assert document["samples_shallow"] == 37
    row = next(row for row in document["depths"] if row["suggested"])
    assert (row["depth"], row["samples"]) == (1000, 242)
