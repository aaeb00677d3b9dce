"""Reports of a validation: on the terminal, as one JSON document, and as a Parquet file of findings."""

import io
import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.manifest import Choices
from aamprep.arrays import Integers
from aamprep.checks.summary import Summary
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Severity
from aamprep.study.id_overlap import Overlap, overlaps
from aamprep.study.study import Study

JSON_VERSION = 1
EXAMPLES_PER_RULE = 5
IDS_PER_LIST = 100

FINDINGS = pa.schema(
    [pa.field(name, pa.string(), False) for name in ("code", "severity", "where", "value", "rule", "remedy")]
)
"""Columns of the Parquet file of findings."""


@dataclass(frozen=True)
class Prepared:
    """Figures of the samples that were prepared, for the plots of a report."""

    choices: Choices
    summary: Summary
    sequence_lengths: Integers
    """Bases of each ASV, shape (ASVs,)."""


def facts(study: Study | None, summary: Summary | None) -> dict[str, Any]:
    """Give the figures of a study: what was read, and what its samples are like."""
    if study is None:
        return {}
    document: dict[str, Any] = {
        "inputs": [asdict(one) for one in study.inputs],
        "samples_read": sum(len(table.sample_ids) for table in study.tables),
        "asvs_read": len(study.asvs.sequences),
        "ids": [_overlap_facts(one) for one in overlaps(study)],
    }
    if summary is not None and summary.sample_ids:
        document["samples_valid"] = len(summary.sample_ids)
        for name in ("depth", "num_asvs"):
            values = np.quantile(summary.per_sample(name), [0, 0.5, 1]).tolist()
            document[name] = dict(zip(("min", "median", "max"), values, strict=True))
        document["median_share_of_reads_kept"] = float(np.median(summary.share_kept))
    return document


def _overlap_facts(overlap: Overlap) -> dict[str, Any]:
    lists = {"both": overlap.both, "only_here": overlap.only_here, "only_there": overlap.only_there}
    return {
        "noun": overlap.noun,
        "there": overlap.there,
        **{name: {"count": len(ids), "first_ids": list(ids[:IDS_PER_LIST])} for name, ids in lists.items()},
    }


def as_json(findings: Findings, figures: dict[str, Any]) -> dict[str, Any]:
    """Give the document that `--json` prints."""
    return {
        "report_version": JSON_VERSION,
        "valid": findings.valid,
        "facts": figures,
        "counts": {rule.code: number for rule, number in findings.counts().items()},
        "findings": [finding.as_dict() for finding in findings.found],
        "held": [rule.code for rule in findings.passed],
        "not_checked": findings.not_checked,
    }


def as_parquet(findings: Findings) -> bytes:
    """Give the findings as a Parquet file: a row for each."""
    buffer = io.BytesIO()
    rows = pa.Table.from_pylist([one.as_dict() for one in findings.found], schema=FINDINGS)
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def verdict(findings: Findings) -> str:
    """Say in a word what a validation came to."""
    return "valid" if findings.valid else "not valid"


def tally(findings: Findings) -> str:
    """Count the findings of each severity."""
    number = {severity: len(findings.of(severity)) for severity in Severity}
    return ", ".join(f"{number[one]:,} {one.value}{'' if number[one] == 1 else 's'}" for one in Severity)


def why_not_checked(findings: Findings) -> dict[str, list[str]]:
    """Gather the codes of the rules that could not be checked by the reason why."""
    reasons = defaultdict(list)
    for code, reason in sorted(findings.not_checked.items()):
        reasons[reason].append(code)
    return dict(sorted(reasons.items()))


def shortened(finding: Finding) -> str:
    """Give place and value, with sequences that serve as ids cut: a page has no room for 150 bases."""
    text = f"{finding.where}: {finding.value}" if finding.value else finding.where
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}...({len(match[0])} bases)", text)


def as_fragment(title: str, findings: Findings) -> str:
    """Return the findings as a small piece of HTML, which leaves the style of the page around it alone."""
    heads = ("severity", "rule", "number", "first location", "should be", "to do")
    rows = []
    for rule, number in findings.counts().items():
        first = next(finding for finding in findings if finding.rule == rule)
        cells = (rule.severity.value, rule.code, f"{number:,}", shortened(first), rule.requirement, rule.fix)
        rows.append("".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in cells))
    table = f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"
    table += "".join(f"<tr>{row}</tr>" for row in rows)
    head = f"<p><b>{escape(title)}</b>: {verdict(findings)}, {tally(findings)}</p>"
    return head + (f"<table>{table}</table>" if rows else "")
