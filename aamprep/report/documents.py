"""Reports of a validation: on the terminal, as one JSON document, and as a Parquet file of findings."""

import io
import re
import textwrap
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape

from aam_schemas.common.cli import visible
from aam_schemas.manifest import Choices
from aamprep.checks.summary import Summary
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule, Severity
from aamprep.study.id_overlap import Overlap, overlaps
from aamprep.study.study import Study

JSON_VERSION = 1
EXAMPLES_PER_RULE = 5
IDS_PER_LIST = 100

FINDINGS = pa.schema(
    [pa.field(name, pa.string(), False) for name in ("code", "severity", "where", "value", "rule", "remedy")]
)
"""Columns of the Parquet file of findings."""

_LABEL_WIDTH = 18
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@dataclass(frozen=True)
class Validation:
    """All that a validation came to."""

    title: str
    """What was validated."""
    findings: Findings
    choices: Choices
    """The token limit and rarefaction depth that the samples were prepared with."""
    study: Study | None
    """What was read; None where it cannot be used."""
    summary: Summary | None
    """What its samples are like."""

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Give the figures that every form of report shows."""
        return facts(self.study, self.summary)


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
        "held": [rule.code for rule in findings.held],
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


def print_report(
    findings: Findings, figures: dict[str, Any], console: Console, outcome: str | None = None
) -> None:
    """Print what was found: the outcome first, then figures, then each rule with a few examples.

    Parameters
    ----------
    findings : Findings
    figures : dict
        What `facts` gives, or nothing.
    console : rich.console.Console
    outcome : str, optional
        What the command came to; by default whether the data are valid.
    """
    style = "green" if findings.valid else "red"
    console.print(f"[bold {style}]{escape(outcome or verdict(findings))}[/]: {tally(findings)}")
    if figures:
        _print_figures(figures, console)
    for rule, how_many in findings.counts().items():
        _print_rule(rule, [one for one in findings.found if one.rule == rule], how_many, console)
    _print_checked(findings, console)


def _print_rule(rule: Rule, found: list[Finding], how_many: int, console: Console) -> None:
    style = _STYLES[rule.severity]
    times = f" [dim]x {how_many:,}[/]" if how_many > 1 else ""
    console.print(f"\n[{style}]{rule.severity.value}[/] [bold]{escape(rule.code)}[/]{times}")
    _print_line("  should be", rule.rule, console)
    for one in found[:EXAMPLES_PER_RULE]:
        _print_line("  found", shortened(one), console)
    if how_many > EXAMPLES_PER_RULE:
        _print_line("", f"and {how_many - EXAMPLES_PER_RULE:,} more (all with --json)", console)
    _print_line("  to do", rule.remedy, console)


def _print_line(label: str, text: str, console: Console) -> None:
    """Print a label and a text that wraps beside it, without blanks at the ends of lines."""
    first, rest = f"{label:<{_LABEL_WIDTH}}", " " * _LABEL_WIDTH
    width = max(console.width, 2 * _LABEL_WIDTH)
    lines = textwrap.wrap(
        visible(text), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def shortened(finding: Finding) -> str:
    """Give place and value, with sequences that serve as ids cut: a page has no room for 150 bases."""
    text = f"{finding.where}: {finding.value}" if finding.value else finding.where
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}...({len(match[0])} bases)", text)


def _print_checked(findings: Findings, console: Console) -> None:
    console.print()
    if findings.held:
        console.print(f"[dim]checked, and found nothing: {len(findings.held)} more rules[/]", highlight=False)
    for reason, codes in why_not_checked(findings).items():
        which = codes[0] if len(codes) == 1 else f"{len(codes)} rules"
        console.print(f"[dim]not checked, because {escape(visible(reason))}: {which}[/]", highlight=False)


def _print_figures(figures: dict[str, Any], console: Console) -> None:
    for one in figures["inputs"]:
        _print_line(one["role"], f"{one['name']} ({one['kind']})", console)
    valid = figures.get("samples_valid", 0)
    _print_line("samples", f"{figures['samples_read']:,} read, {valid:,} of them valid", console)
    _print_line("ASVs", f"{figures['asvs_read']:,} distinct sequences", console)
    for name, words in (("depth", "reads per sample"), ("num_asvs", "ASVs per sample")):
        if name in figures:
            low, middle, high = (figures[name][key] for key in ("min", "median", "max"))
            _print_line(words, f"median {middle:,.0f} ({low:,.0f} to {high:,.0f})", console)
    if "median_share_of_reads_kept" in figures:
        kept = figures["median_share_of_reads_kept"]
        _print_line("token limit", f"keeps {kept:.1%} of the reads of a median sample", console)
