"""Reports: the same bytes for the same input, everything in them, nothing from elsewhere."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamprep.checks.coverage import note_what_was_checked
from aamprep.checks.summary import Summary, reads_within
from aamprep.report.documents import EXAMPLES_PER_RULE, as_parquet
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.studies import Programs, random_counts, random_newick, random_sequences, write_table

SEQUENCES = random_sequences(40)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: 30 samples, seven of them empty, a tree, metadata of half the samples."""
    counts = random_counts(30, 40)
    counts[3:10] = 0
    write_table(tmp_path, counts, SEQUENCES)
    (tmp_path / "tree.nwk").write_text(random_newick(SEQUENCES[1:]))
    (tmp_path / "metadata.tsv").write_text("sample-id\tage\n" + "".join(f"S{n}\t{n}\n" for n in range(15)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_input_gives_the_same_bytes(study: Path, run: Programs) -> None:
    runs = [
        run("aamprep", "validate", "--report", f"{name}.html", "--findings", f"{name}.parquet", "--json")
        for name in "ab"
    ]
    assert runs[0].out == runs[1].out
    assert (study / "a.html").read_bytes() == (study / "b.html").read_bytes()
    assert (study / "a.parquet").read_bytes() == (study / "b.parquet").read_bytes()


def test_the_page_stands_alone(study: Path, run: Programs) -> None:
    assert run("aamprep", "validate", "--report", "r.html").code == 1
    page = (study / "r.html").read_text(encoding="utf-8")
    assert not [word for word in ("http:", "https:", "<script", "<link", "@import", "url(") if word in page]
    assert page.count('src="data:image/svg+xml;base64,') == page.count("<img") == 6


def test_the_page_says_everything(study: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "validate", "--report", "r.html", "--json").out)
    page = (study / "r.html").read_text(encoding="utf-8")
    assert "Invalid: 7 of 30 samples would be rejected" in page
    assert {"sample-empty", "asv-not-in-tree", "sample-without-metadata"} <= set(document["counts"])
    for code in [*document["counts"], *document["held"], *document["not_checked"]]:
        assert f"<code>{code}</code>" in page
    for file in document["facts"]["inputs"]:
        assert file["sha256"] in page
        assert f"{file['bytes']:,}" in page
    assert "and 2 more" in page


def test_what_stands_in_a_file_is_text_on_the_page(study: Path, run: Programs) -> None:
    counts = random_counts(2, 40)
    counts[0] = 0
    write_table(study, counts, SEQUENCES, ["<script>alert('x')</script>", "a&b"])
    run("aamprep", "validate", "--report", "r.html")
    page = (study / "r.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("options", [[], ["--rarefy-depth", 1], ["--token-limit", 3]])
@pytest.mark.parametrize("counts", [[[7.0]], [[1.0, 0.5]], [[2.0, 2.0], [1e15, 1.0]]])
def test_the_smallest_tables_can_be_drawn(
    counts: list[list[float]], options: list[object], tmp_path: Path, run: Programs
) -> None:
    table = write_table(tmp_path, np.array(counts), SEQUENCES[: len(counts[0])])
    ran = run("aamprep", "validate", table, *options, "--report", tmp_path / "r.html")
    assert ran.code in (0, 1)
    assert (tmp_path / "r.html").stat().st_size > 1000


def test_a_file_that_is_no_table_has_its_page_too(study: Path, run: Programs) -> None:
    (study / "table.biom").write_text("hello")
    ran = run("aamprep", "validate", "--report", "r.html", "--findings", "f.parquet")
    assert ran.code == 1
    assert "Invalid" in (study / "r.html").read_text(encoding="utf-8")
    assert pq.read_table(study / "f.parquet").num_rows == 1


def test_findings_as_parquet_are_those_of_json(study: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "validate", "--findings", "f.parquet", "--json").out)
    table = pq.read_table(study / "f.parquet")
    assert table.column_names == ["code", "severity", "where", "value", "rule", "remedy"]
    assert table.to_pylist() == document["findings"]


def test_no_finding_is_a_table_without_rows(tmp_path: Path, run: Programs) -> None:
    table = write_table(tmp_path, random_counts(4, 40, density=1) * 10, SEQUENCES)
    assert run("aamprep", "validate", table, "--findings", tmp_path / "f.parquet").code == 0
    assert pq.read_table(tmp_path / "f.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("option", "file"),
    [("--report", "table.biom"), ("--findings", "r.html"), ("--report", "no-such-folder/r.html")],
)
def test_a_report_goes_where_it_can_and_over_nothing_else(
    option: str, file: str, study: Path, run: Programs
) -> None:
    before = (study / "table.biom").read_bytes()
    assert run("aamprep", "validate", option, file).code == 2
    assert (study / "table.biom").read_bytes() == before


def test_the_terminal_has_the_verdict_first_and_five_examples(study: Path, run: Programs) -> None:
    out = run("aamprep", "validate").out
    assert out.startswith("invalid: 7 errors, ")
    assert out.split("error sample-empty")[1].split("warning")[0].count("sample S") == EXAMPLES_PER_RULE
    assert "and 2 more" in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_shard_says_what_happened(study: Path, run: Programs) -> None:
    written = run("aamprep", "shard")
    assert "\nwritten without the rejected data: 7 errors" in written.err
    refused = run("aamprep", "shard", "--strict", "--output", "other")
    assert "\nnothing written: 7 errors" in refused.err
    assert not [line for line in (written.err + refused.err).splitlines() if line.startswith("valid")]


def test_every_rule_was_broken_held_or_not_checked(study: Path, run: Programs) -> None:
    document = json.loads(run("aamprep", "validate", "--json").out)
    parts = [set(document["counts"]), set(document["held"]), set(document["not_checked"])]
    assert set.union(*parts) == set(rules.catalogue())
    assert sum(map(len, parts)) == len(rules.catalogue())
    assert "count-nan" in document["held"]
    assert document["not_checked"]["taxonomy-format"] == "no taxonomy was given"
    assert document["not_checked"]["sample-without-distance"] == "no distances were given"
    assert document["not_checked"]["split-by-empty"] == "no column to split by was given"
    # The one that was given is not said to be another's.
    assert "tree-of-other-asvs" in document["held"]


def test_a_rule_that_is_broken_under_another_name_is_not_said_to_hold(study: Path, run: Programs) -> None:
    counts = random_counts(4, 40)
    counts[1, 1] = np.nan
    write_table(study, counts, SEQUENCES)
    document = json.loads(run("aamprep", "validate", "--json").out)
    assert document["counts"]["count-nan"] == 1
    assert "count-not-finite" not in [*document["held"], *document["not_checked"]]


def test_nothing_is_said_to_hold_where_nothing_was_read() -> None:
    findings = Findings()
    findings.add(rules.FILE_EMPTY, "table.biom")
    note_what_was_checked(None, False, findings)
    assert findings.passed == []
    assert len(findings.not_checked) == len(rules.catalogue()) - 1


def prepared(counts: list[list[float]], token_limit: int) -> pa.Table:
    """Cut samples, each a list of counts in the order of selection, at a token limit."""
    kept = [row[:token_limit] for row in counts]
    dropped = [row[token_limit:] for row in counts]
    reads, limited = [sum(row) for row in counts], [sum(row) for row in kept]
    return pa.table(
        {
            "sample_id": [f"S{number}" for number in range(len(counts))],
            "asv": pa.array([list(range(len(row))) for row in kept], pa.list_(pa.uint32())),
            "count": pa.array(kept, pa.list_(pa.float64())),
            "dropped_asv": pa.array(
                [list(range(len(k), len(k) + len(d))) for k, d in zip(kept, dropped, strict=True)],
                pa.list_(pa.uint32()),
            ),
            "dropped_count": pa.array(dropped, pa.list_(pa.float64())),
            "depth": pa.array(reads, pa.float64()),
            "depth_before_rarefaction": pa.array(reads, pa.float64()),
            "depth_kept": pa.array(limited, pa.float64()),
            "num_asvs": [len(row) for row in counts],
            "num_asvs_kept": [len(row) for row in kept],
        }
    )


SAMPLES = st.lists(st.lists(st.integers(1, 1000).map(float), min_size=1, max_size=12), max_size=6)


@given(SAMPLES, st.integers(1, 12), st.integers(1, 14))
def test_what_a_limit_keeps_does_not_depend_on_where_the_samples_were_cut(
    counts: list[list[float]], cut_at: int, limit: int
) -> None:
    expected = [sum(row[:limit]) for row in counts]
    assert reads_within(prepared(counts, cut_at), [limit])[0].tolist() == expected


@given(SAMPLES, SAMPLES, st.integers(1, 12))
def test_a_summary_of_blocks_is_the_summary_of_all(
    first: list[list[float]], second: list[list[float]], token_limit: int
) -> None:
    whole, blocks = Summary(), Summary()
    whole.add(prepared(first + second, token_limit))
    for part in (first, second):
        blocks.add(prepared(part, token_limit))
    assert blocks.prevalence.tolist() == whole.prevalence.tolist()
    assert blocks.fraction_within(64).tolist() == whole.fraction_within(64).tolist()
    assert blocks.per_sample("depth").tolist() == [sum(row) for row in first + second]


def test_findings_in_any_script_are_read_back() -> None:
    findings = Findings()
    findings.add(rules.COUNT_NAN, "table.biom, sample 'S\u00fc\U0001f9ec'", np.nan)
    row = pq.read_table(io.BytesIO(as_parquet(findings))).to_pylist()[0]
    assert row == findings.found[0].as_dict()
