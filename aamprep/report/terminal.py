"""Print findings, facts and figures on the terminal."""

import re
import textwrap
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aam_schemas.common.cli import visible
from aam_schemas.common.text import format_number
from aamprep.checks.limits import KeptByLimits
from aamprep.report.documents import EXAMPLES_PER_RULE, shortened, tally, verdict, why_not_checked
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule, Severity

_LABEL_WIDTH = 18
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


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
    if "inputs" in figures:
        _print_figures(figures, console)
    for rule, how_many in findings.counts().items():
        _print_rule(rule, [one for one in findings.found if one.rule == rule], how_many, console)
    _print_checked(findings, console)


def _print_rule(rule: Rule, found: list[Finding], how_many: int, console: Console) -> None:
    style = _STYLES[rule.severity]
    times = f" [dim]x {how_many:,}[/]" if how_many > 1 else ""
    console.print(f"\n[{style}]{rule.severity.value}[/] [bold]{escape(rule.code)}[/]{times}")
    _print_line("  should be", rule.requirement, console)
    for one in found[:EXAMPLES_PER_RULE]:
        _print_line("  found", shortened(one), console)
    if how_many > EXAMPLES_PER_RULE:
        _print_line("", f"and {how_many - EXAMPLES_PER_RULE:,} more (all with --json)", console)
    _print_line("  to do", rule.fix, console)


def _print_line(label: str, text: str, console: Console) -> None:
    """Print a label and a text that wraps beside it, without blanks at the ends of lines."""
    first, rest = f"{label:<{_LABEL_WIDTH}}", " " * _LABEL_WIDTH
    width = max(console.width, 2 * _LABEL_WIDTH)
    lines = textwrap.wrap(
        visible(text), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _print_checked(findings: Findings, console: Console) -> None:
    console.print()
    if findings.passed:
        console.print(
            f"[dim]checked, and found nothing: {len(findings.passed)} more rules[/]", highlight=False
        )
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


def print_facts(facts: dict[str, Any]) -> None:
    """Print facts, a line each."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", {}):
            table.add_row(name.replace("_", " "), escape(visible(_in_words(value))))
    Console().print(table, highlight=False)


def print_limits(kept: KeptByLimits) -> None:
    """Print what token limits and depths keep, as two tables."""
    console = Console()
    console.print(f"{kept.samples:,} samples" + _left_out(kept), highlight=False)
    console.print(_limits_table(kept))
    if kept.smallest_sufficient_token_limit is not None:
        limit = f"--token-limit {kept.smallest_sufficient_token_limit}"
        console.print(f"{limit}: 19 of 20 samples keep 95 % of their reads or more\n", highlight=False)
    console.print(_depths_table(kept))
    for row in kept.depths:
        if row.suggested:
            console.print(f"--rarefy-depth {row.depth}: nine of ten samples reach it", highlight=False)


def _left_out(kept: KeptByLimits) -> str:
    left_out = kept.samples_left_out
    return f"; {left_out:,} more are empty or hold invalid counts" if left_out else ""


def _limits_table(kept: KeptByLimits) -> Table:
    table = Table("token limit", box=None, header_style="bold", pad_edge=False)
    for heading in (
        "reads kept: median",
        "19 of 20 keep",
        "ASVs kept: median",
        "19 of 20 keep",
        "samples >= 99 %",
    ):
        table.add_column(heading, justify="right")
    for row in kept.token_limits:
        fractions = (row.reads_median, row.reads_worst, row.asvs_median, row.asvs_worst)
        whole = f"{row.samples_nearly_whole:,} of {kept.samples:,}"
        table.add_row(f"{row.token_limit}", *(f"{fraction:.1%}" for fraction in fractions), whole)
    return table


def _depths_table(kept: KeptByLimits) -> Table | str:
    if not kept.depths:
        return "counts are not whole numbers, so samples cannot be rarefied"
    table = Table("rarefaction depth", box=None, header_style="bold", pad_edge=False)
    for heading in ("samples kept", "of all samples", "of all reads"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in kept.depths:
        mark = "suggested" if row.suggested else ""
        table.add_row(
            f"{row.depth:,}", f"{row.samples:,}", f"{row.samples_share:.1%}", f"{row.reads_share:.1%}", mark
        )
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        if set(value) == {"min", "low", "median", "high", "max"}:
            text = {name: format_number(number) for name, number in value.items()}
            return (
                f"median {text['median']}; nine of ten from {text['low']} to {text['high']}; "
                f"all from {text['min']} to {text['max']}"
            )
        return "\n".join(f"{name}: {_in_words(one)}" for name, one in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int | float):
        return format_number(value)
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}...({len(match[0])} bases)", str(value))
