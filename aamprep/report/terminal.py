"""Print findings, facts and statistics on the terminal."""

import textwrap
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aam_schemas.common.cli import visible
from aam_schemas.common.terminal import plain_console
from aam_schemas.common.text import format_number
from aamprep.checks.depths import shallow_in_words
from aamprep.checks.limits import KeptByLimits
from aamprep.checks.thresholds import LEAST_DEPTH, LEAST_GAIN
from aamprep.report.documents import (
    EXAMPLES_PER_RULE,
    examples_by_rule,
    how_many,
    shorten_sequences,
    shortened,
    tally,
    verdict,
    why_not_checked,
)
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule, Severity

_LABEL_WIDTH = 18
"""Width of the column of labels, in characters."""

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def print_report(
    findings: Findings, facts: dict[str, Any], console: Console, outcome: str | None = None
) -> None:
    """Print a report: the outcome, then facts, then each violated rule with a few examples.

    Parameters
    ----------
    findings : Findings
    facts : dict
        Facts of a study (see `aamprep.report.documents.facts`), or an empty dict.
    console : rich.console.Console
    outcome : str, optional
        Outcome of the command. By default, it is whether the data are valid.
    """
    style = "green" if findings.valid else "red"
    words = outcome or verdict(findings)
    console.print(Text.assemble((words, f"bold {style}"), f": {tally(findings)}"))
    if "inputs" in facts:
        _print_study(facts, console)
    examples = examples_by_rule(findings)
    for rule, number in findings.counts().items():
        _print_rule(rule, examples[rule.code], number, console)
    _print_checked(findings, console)


def _print_rule(rule: Rule, examples: list[Finding], number: int, console: Console) -> None:
    style = _STYLES[rule.severity]
    times = f" x {number:,}" if number > 1 else ""
    head = Text.assemble((rule.severity.value, style), " ", (rule.code, "bold"), (times, "dim"))
    console.print("\n", head, sep="")
    _print_line("  rule", rule.requirement, console)
    for finding in examples:
        _print_line("  found", shortened(finding), console)
    if number > EXAMPLES_PER_RULE:
        _print_line(
            "", f"and {number - EXAMPLES_PER_RULE:,} more (use --json to see {how_many(number)})", console
        )
    _print_line("  fix", rule.fix, console)


def _print_line(label: str, text: str, console: Console) -> None:
    """Print a label and a text that wraps beside it.

    A `rich` table would pad every line with blanks, which are a nuisance when the text is copied.
    """
    first, rest = f"{label:<{_LABEL_WIDTH}}", " " * _LABEL_WIDTH
    width = max(console.width, 2 * _LABEL_WIDTH)
    lines = textwrap.wrap(
        visible(text), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
    console.print("\n".join(lines), soft_wrap=True)


def _print_checked(findings: Findings, console: Console) -> None:
    console.print()
    if findings.passed:
        console.print(f"checked without a finding: {len(findings.passed)} rules", style="dim")
    for reason, codes in why_not_checked(findings).items():
        which = codes[0] if len(codes) == 1 else f"{len(codes)} rules"
        console.print(f"not checked ({visible(reason)}): {which}", style="dim")


def _print_study(facts: dict[str, Any], console: Console) -> None:
    for file in facts["inputs"]:
        _print_line(file["role"], f"{file['name']} ({file['kind']})", console)
    valid = facts.get("samples_valid", 0)
    _print_line("samples", f"{facts['samples_read']:,}, of which {valid:,} are valid", console)
    _print_line("ASVs", f"{facts['asvs_read']:,} distinct sequences", console)
    for name, words in (("depth", "reads per sample"), ("num_asvs", "ASVs per sample")):
        if name in facts:
            low, middle, high = (facts[name][key] for key in ("min", "median", "max"))
            _print_line(words, f"median {middle:,.0f} (range {low:,.0f} to {high:,.0f})", console)
    if "median_share_of_reads_kept" in facts:
        kept = facts["median_share_of_reads_kept"]
        _print_line("token limit", f"the median sample keeps {kept:.1%} of its reads", console)


_FACT_LABELS = {
    "kind": "file type",
    "type": "QIIME 2 type",
    "format": "QIIME 2 format",
    "non_zeros": "non-zero counts",
    "density": "fraction of non-zero counts",
    "whole_counts": "counts are whole numbers",
    "asvs": "ASVs",
    "asvs_kept": "ASVs kept by a sample",
    "asvs_per_sample": "ASVs per sample",
}
"""Labels of facts whose JSON keys would be hard to read. Others are shown with blanks for underscores."""


def print_facts(facts: dict[str, Any]) -> None:
    """Print facts about a file, one per line."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", {}):
            table.add_row(_FACT_LABELS.get(name, name.replace("_", " ")), visible(_in_words(value)))
    plain_console().print(table)


def print_limits(kept: KeptByLimits) -> None:
    """Print two tables: what token limits and what rarefaction depths keep."""
    console = plain_console()
    console.print(f"{kept.samples:,} samples" + _left_out(kept))
    console.print(_limits_table(kept))
    if kept.smallest_sufficient_token_limit is not None:
        limit = f"--token-limit {kept.smallest_sufficient_token_limit}"
        console.print(f"With {limit}, 95% of the samples keep at least 95% of their reads.\n")
    console.print(_depths_table(kept))
    if kept.depths:
        _print_depth_advice(kept, console)


def _print_depth_advice(kept: KeptByLimits, console: Console) -> None:
    """Print the suggested depth and its cost, where the curve bends, and how many samples are shallow."""
    suggested = next((row for row in kept.depths if row.suggested), None)
    if suggested is None:
        lines = [
            f"No depth is suggested, since fewer than half of the samples have {LEAST_DEPTH:,} reads. "
            "The table shows what lower depths keep."
        ]
    else:
        lines = [
            f"--rarefy-depth {suggested.depth} keeps {suggested.samples:,} of {kept.samples:,} samples "
            f"({suggested.samples_share:.0%}) and {suggested.reads_share:.1%} of the reads. "
            f"The median of these samples keeps {suggested.asvs_median:.0%} of its ASVs."
        ]
    if all(row.gain_median is None for row in kept.depths):
        lines.append("There are too few reads to tell where the rarefaction curve bends.")
    elif kept.bend is None:
        lines.append("The rarefaction curve does not bend: twice the reads still add over 10% of ASVs.")
    else:
        lines.append(
            f"The rarefaction curve bends at {kept.bend:,} reads: from there on, twice the reads add at most "
            f"{LEAST_GAIN:.0%} of ASVs to the median sample."
        )
    shallow = shallow_in_words(kept.samples_shallow, kept.samples)
    for line in [*lines, *([f"{shallow}."] if shallow else [])]:
        console.print(line)


def _left_out(kept: KeptByLimits) -> str:
    left_out = kept.samples_left_out
    return f"; {left_out:,} more are empty or have invalid counts" if left_out else ""


def _limits_table(kept: KeptByLimits) -> Table:
    table = Table("token\nlimit", box=None, header_style="bold", pad_edge=False)
    for heading in (
        "reads kept:\nmedian",
        "reads kept:\n5th percentile",
        "ASVs kept:\nmedian",
        "ASVs kept:\n5th percentile",
        "samples with\n99% of reads",
    ):
        table.add_column(heading, justify="right")
    for row in kept.token_limits:
        fractions = (row.reads_median, row.reads_worst, row.asvs_median, row.asvs_worst)
        whole = f"{row.samples_nearly_whole:,} of {kept.samples:,}"
        table.add_row(f"{row.token_limit}", *(f"{fraction:.1%}" for fraction in fractions), whole)
    return table


def _depths_table(kept: KeptByLimits) -> Table | str:
    if not kept.depths:
        return "Counts are not whole numbers, so samples cannot be rarefied."
    table = Table("rarefaction\ndepth", box=None, header_style="bold", pad_edge=False)
    headings = (
        "samples\nkept",
        "fraction\nof samples",
        "fraction\nof reads",
        "ASVs kept:\nmedian",
        "gain if\ndoubled",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in kept.depths:
        fractions = (row.samples_share, row.reads_share, row.asvs_median)
        gain = "" if row.gain_median is None else f"+{row.gain_median:.1%}"
        mark = "suggested" if row.suggested else ""
        cells = ("" if fraction is None else f"{fraction:.1%}" for fraction in fractions)
        table.add_row(f"{row.depth:,}", f"{row.samples:,}", *cells, gain, mark)
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        if set(value) == {"min", "low", "median", "high", "max"}:
            text = {name: format_number(number) for name, number in value.items()}
            return (
                f"median {text['median']}; 90% from {text['low']} to {text['high']}; "
                f"range {text['min']} to {text['max']}"
            )
        return "\n".join(f"{name}: {_in_words(item)}" for name, item in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int | float):
        return format_number(value)
    return shorten_sequences(str(value))
