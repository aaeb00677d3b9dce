"""Documents of a validation: JSON, a Parquet file of findings, and the texts that all reports share."""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.text import shorten
from aam_schemas.manifest import Choices
from aamprep.arrays import Int64Array
from aamprep.checks.summary import Summary
from aamprep.rules.findings import KEPT_PER_RULE, SHOWN_CHARACTERS, Finding, Findings
from aamprep.rules.rule import Severity
from aamprep.study.id_overlap import Overlap, overlaps
from aamprep.study.study import Study

JSON_VERSION = 1
"""Version of the JSON document. It is raised when a key changes its meaning or is removed."""

EXAMPLES_PER_RULE = 5
"""Number of findings of a rule that are shown on the terminal and in the HTML report."""

CHARACTERS_PER_EXAMPLE = 300
"""Number of characters of a finding that are shown there."""

IDS_PER_LIST = 100
"""Number of ids in each list of the JSON document."""

FINDINGS = pa.schema(
    [pa.field(name, pa.string(), False) for name in ("code", "severity", "where", "value", "rule", "remedy")]
)
"""Columns of the Parquet file of findings."""


@dataclass(frozen=True)
class Prepared:
    """Statistics of the prepared samples, for the plots and tables of a report."""

    choices: Choices
    summary: Summary
    sequence_lengths: Int64Array
    """Number of bases of each ASV, shape (ASVs,)."""


def facts(study: Study | None, summary: Summary | None) -> dict[str, Any]:
    """Return the facts of a study for `--json`: its files, ids, and statistics of its samples."""
    if study is None:
        return {}
    document: dict[str, Any] = {
        "inputs": [asdict(file) for file in study.inputs],
        "samples_read": sum(len(table.sample_ids) for table in study.tables),
        "asvs_read": len(study.asvs.sequences),
        "ids": [_overlap_facts(overlap) for overlap in overlaps(study)],
    }
    if summary is not None and summary.sample_ids:
        document["samples_valid"] = len(summary.sample_ids)
        for name in ("depth", "num_asvs"):
            values = np.quantile(summary.per_sample(name), [0, 0.5, 1]).tolist()
            document[name] = dict(zip(("min", "median", "max"), values, strict=True))
        document["median_share_of_reads_kept"] = float(np.median(summary.fraction_kept))
    return document


def _overlap_facts(overlap: Overlap) -> dict[str, Any]:
    lists = {"both": overlap.both, "only_here": overlap.only_here, "only_there": overlap.only_there}
    return {
        "noun": overlap.noun,
        "there": overlap.there,
        **{name: {"count": len(ids), "first_ids": _first_ids(ids)} for name, ids in lists.items()},
    }


def _first_ids(ids: Sequence[str]) -> list[str]:
    return [shorten(name, SHOWN_CHARACTERS) for name in ids[:IDS_PER_LIST]]


def as_json(findings: Findings, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the document that `--json` prints."""
    return {
        "report_version": JSON_VERSION,
        "valid": findings.valid,
        "facts": facts,
        "counts": {rule.code: number for rule, number in findings.counts().items()},
        "findings": [finding.as_dict() for finding in findings.found],
        "not_shown": {rule.code: number for rule, number in findings.not_shown().items()},
        "held": [rule.code for rule in findings.passed],
        "not_checked": findings.not_checked,
    }


def as_parquet(findings: Findings) -> bytes:
    """Return the bytes of a Parquet file with the rows of `as_rows`."""
    buffer = io.BytesIO()
    rows = pa.Table.from_pylist(as_rows(findings), schema=FINDINGS)
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def as_rows(findings: Findings) -> list[dict[str, str]]:
    """Return one row per finding. A last row of a rule gives the number of its findings that are not kept."""
    more = [Finding(rule, "", f"and {number:,} more") for rule, number in findings.not_shown().items()]
    return [finding.as_dict() for finding in [*findings.found, *more]]


def verdict(findings: Findings) -> str:
    """Return the outcome of a validation in one word."""
    return "valid" if findings.valid else "invalid"


def tally(findings: Findings) -> str:
    """Return the number of findings of each severity in words."""
    numbers = [(findings.number(severity), severity.value) for severity in Severity]
    return ", ".join(f"{number:,} {word}{'' if number == 1 else 's'}" for number, word in numbers)


def why_not_checked(findings: Findings) -> dict[str, list[str]]:
    """Return the codes of the rules that could not be checked, grouped by reason."""
    reasons = defaultdict(list)
    for code, reason in sorted(findings.not_checked.items()):
        reasons[reason].append(code)
    return dict(sorted(reasons.items()))


def shortened(finding: Finding) -> str:
    """Return location and value of a finding. Sequences that serve as ids are shortened."""
    text = f"{finding.where}: {finding.value}" if finding.value else finding.where
    return shorten(shorten_sequences(text), CHARACTERS_PER_EXAMPLE)


def examples_by_rule(findings: Findings) -> dict[str, list[Finding]]:
    """Return the first `EXAMPLES_PER_RULE` findings of each rule, by code."""
    examples: dict[str, list[Finding]] = {}
    for finding in findings.found:
        group = examples.setdefault(finding.rule.code, [])
        if len(group) < EXAMPLES_PER_RULE:
            group.append(finding)
    return examples


def how_many(number: int) -> str:
    """Return how many of the findings of a rule `--json` lists: all, or the first ones."""
    return "all" if number <= KEPT_PER_RULE else f"the first {KEPT_PER_RULE:,}"


def shorten_sequences(text: str) -> str:
    """Return a text in which sequences of 40 or more bases are cut to 20 bases."""
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}... ({len(match[0])} bases)", text)


def as_fragment(title: str, findings: Findings) -> str:
    """Return the findings as an HTML table for notebooks. It does not change the style of the page."""
    heads = ("severity", "rule", "number", "first finding", "description", "fix")
    rows = []
    examples = examples_by_rule(findings)
    for rule, number in findings.counts().items():
        first = examples[rule.code][0]
        cells = (rule.severity.value, rule.code, f"{number:,}", shortened(first), rule.requirement, rule.fix)
        rows.append("".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in cells))
    table = f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"
    table += "".join(f"<tr>{row}</tr>" for row in rows)
    head = f"<p><b>{escape(title)}</b>: {verdict(findings)}, {tally(findings)}</p>"
    return head + (f"<table>{table}</table>" if rows else "")
