"""A rule that is violated millions of times is counted exactly, and only its first findings are kept."""

import json

import polars as pl
import pytest

from aamprep.report.report import Report
from aamprep.rules import tables as rules
from aamprep.rules.findings import KEPT_PER_RULE, Findings
from aamprep.rules.rule import Severity

MANY = 5 * KEPT_PER_RULE


@pytest.fixture(scope="module")
def findings() -> Findings:
    findings = Findings()
    findings.add_each(rules.SAMPLE_ID_EMPTY, ((f"sample {number}", "") for number in range(MANY)))
    findings.add(rules.ONE_VALUE, "column age", "7")
    return findings


def test_all_findings_are_counted_and_the_first_are_kept(findings: Findings) -> None:
    assert findings.counts() == {rules.SAMPLE_ID_EMPTY: MANY, rules.ONE_VALUE: 1}
    assert findings.not_shown() == {rules.SAMPLE_ID_EMPTY: MANY - KEPT_PER_RULE}
    assert findings.number(Severity.ERROR) == MANY
    assert not findings.valid
    assert len(findings) == KEPT_PER_RULE + 1
    assert findings[0].where == "sample 0"


def test_numbers_survive_the_way_from_another_process(findings: Findings) -> None:
    stored = json.loads(json.dumps(findings.as_json()))
    copy = Findings()
    copy.add(rules.SAMPLE_ID_EMPTY, "another table")
    copy.add_json(stored, rules.catalogue())
    assert copy.counts() == {rules.SAMPLE_ID_EMPTY: MANY + 1, rules.ONE_VALUE: 1}
    assert len(copy) == KEPT_PER_RULE + 1


def test_every_report_says_how_many_findings_are_left_out(findings: Findings) -> None:
    report = Report("table.biom", findings)
    document = report.to_dict()
    assert document["counts"]["sample-id-empty"] == MANY
    assert document["not_shown"] == {"sample-id-empty": MANY - KEPT_PER_RULE}
    assert len(document["findings"]) == KEPT_PER_RULE + 1
    assert "5,000 errors" in str(report)
    assert "and 4,995 more (use --json to see the first 1,000)" in str(report)
    assert "5,000" in report._repr_html_()
    frame = report.findings_frame()
    assert frame.filter(pl.col("value") == "and 4,000 more")["code"].to_list() == ["sample-id-empty"]


def test_long_locations_and_values_are_cut() -> None:
    findings = Findings()
    findings.add(rules.SAMPLE_ID_DUPLICATE, f"table.biom: sample {'S' * 10**6}", "S" * 10**6)
    assert len(str(findings[0])) < 1200
    assert findings[0].where.startswith("table.biom: sample SSS")
