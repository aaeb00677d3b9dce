"""Reports of a validation: on the terminal, and as one JSON document."""

import re
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aamprep.findings import Finding, Findings, Rule, Severity
from aamprep.study import Study
from aamprep.summary import Summary

JSON_VERSION = 1
EXAMPLES_PER_RULE = 5

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def facts(study: Study | None, summary: Summary | None) -> dict[str, Any]:
    """Give the figures of a study: what was read, and what its samples are like."""
    if study is None:
        return {}
    document: dict[str, Any] = {
        "inputs": [{"role": one.role, "name": one.name, "kind": one.kind} for one in study.inputs],
        "samples_read": sum(len(table.sample_ids) for table in study.tables),
        "asvs_read": len(study.asvs.sequences),
    }
    if summary is not None and summary.sample_ids:
        document["samples_valid"] = len(summary.sample_ids)
        for name in ("depth", "num_asvs"):
            values = summary.per_sample(name)
            quantiles = dict(
                zip(("min", "median", "max"), np.quantile(values, [0, 0.5, 1]).tolist(), strict=True)
            )
            document[name] = quantiles
        document["median_share_of_reads_kept"] = float(np.median(summary.share_kept))
    return document


def as_json(findings: Findings, figures: dict[str, Any]) -> dict[str, Any]:
    """Give the document that `--json` prints."""
    return {
        "report_version": JSON_VERSION,
        "valid": findings.valid,
        "facts": figures,
        "counts": {rule.code: number for rule, number in findings.counts().items()},
        "findings": [finding.as_dict() for finding in findings.found],
        "not_checked": findings.not_checked,
    }


def print_report(findings: Findings, figures: dict[str, Any], console: Console) -> None:
    """Print a validation: the verdict first, then figures, then each rule with a few examples."""
    number = {severity: len(findings.of(severity)) for severity in Severity}
    counts = ", ".join(f"{number[one]:,} {one.value}{'' if number[one] == 1 else 's'}" for one in Severity)
    verdict = "[bold green]valid[/]" if findings.valid else "[bold red]not valid[/]"
    console.print(f"{verdict}: {counts}")
    if figures:
        console.print(_figures_table(figures))
    for rule, how_many in findings.counts().items():
        _print_rule(rule, [one for one in findings.found if one.rule == rule], how_many, console)
    for code, reason in sorted(findings.not_checked.items()):
        console.print(f"[dim]not checked: {escape(code)}, because {escape(reason)}[/]")


def _print_rule(rule: Rule, found: list[Finding], how_many: int, console: Console) -> None:
    style = _STYLES[rule.severity]
    times = f" [dim]x {how_many:,}[/]" if how_many > 1 else ""
    console.print(f"\n[{style}]{rule.severity.value}[/] [bold]{escape(rule.code)}[/]{times}")
    console.print(f"  should be: {escape(rule.rule)}", highlight=False)
    for one in found[:EXAMPLES_PER_RULE]:
        found_there = f"{one.where}: {one.value}" if one.value else one.where
        console.print(f"  found:     {escape(_shortened(found_there))}", highlight=False)
    if how_many > EXAMPLES_PER_RULE:
        console.print(f"             and {how_many - EXAMPLES_PER_RULE:,} more (all of them with --json)")
    console.print(f"  to do:     {escape(rule.remedy)}", highlight=False)


def _shortened(text: str) -> str:
    """Shorten sequences that serve as ids: a screen has no room for 150 bases (`--json` has)."""
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}...({len(match[0])} bases)", text)


def _figures_table(figures: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for one in figures["inputs"]:
        table.add_row(one["role"], f"{escape(one['name'])} [dim]{escape(one['kind'])}[/]")
    valid = figures.get("samples_valid", 0)
    table.add_row("samples", f"{figures['samples_read']:,} read, {valid:,} of them valid")
    table.add_row("ASVs", f"{figures['asvs_read']:,} distinct sequences")
    for name, words in (("depth", "reads per sample"), ("num_asvs", "ASVs per sample")):
        if name in figures:
            low, middle, high = (figures[name][key] for key in ("min", "median", "max"))
            table.add_row(words, f"median {middle:,.0f} ({low:,.0f} to {high:,.0f})")
    return table
