"""Facts and figures on the terminal."""

import re
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aam_schemas.common.cli import visible
from aamprep.checks.limits import Measured, depth_rows, smallest_sufficient, token_limit_rows


def print_facts(facts: dict[str, Any]) -> None:
    """Print facts, a line each."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", {}):
            table.add_row(name.replace("_", " "), escape(visible(_in_words(value))))
    Console().print(table, highlight=False)


def print_limits(measured: Measured) -> None:
    """Print what token limits and depths keep, as two tables."""
    console = Console()
    number = len(measured.depth)
    console.print(f"{number:,} samples" + _left_out(measured), highlight=False)
    limits = token_limit_rows(measured)
    console.print(_limits_table(measured, limits))
    sufficient = smallest_sufficient(limits)
    if sufficient is not None:
        console.print(
            f"--token-limit {sufficient}: 19 of 20 samples keep 95 % of their reads or more\n",
            highlight=False,
        )
    console.print(_depths_table(measured))
    for row in depth_rows(measured):
        if row.suggested:
            console.print(f"--rarefy-depth {row.depth}: nine of ten samples reach it", highlight=False)


def _left_out(measured: Measured) -> str:
    left_out = measured.num_left_out
    return f"; {left_out:,} more are empty or hold counts that are none" if left_out else ""


def _limits_table(measured: Measured, rows: list[Any]) -> Table:
    table = Table("token limit", box=None, header_style="bold", pad_edge=False)
    for heading in (
        "reads kept: median",
        "19 of 20 keep",
        "ASVs kept: median",
        "19 of 20 keep",
        "samples >= 99 %",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        shares = (row.reads_median, row.reads_worst, row.asvs_median, row.asvs_worst)
        whole = f"{row.samples_nearly_whole:,} of {len(measured.depth):,}"
        table.add_row(f"{row.token_limit}", *(f"{share:.1%}" for share in shares), whole)
    return table


def _depths_table(measured: Measured) -> Table | str:
    rows = depth_rows(measured)
    if not rows:
        return "counts are not whole numbers, so samples cannot be rarefied"
    table = Table("rarefaction depth", box=None, header_style="bold", pad_edge=False)
    for heading in ("samples kept", "of all samples", "of all reads"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        mark = "suggested" if row.suggested else ""
        table.add_row(
            f"{row.depth:,}", f"{row.samples:,}", f"{row.samples_share:.1%}", f"{row.reads_share:.1%}", mark
        )
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        if set(value) == {"min", "low", "median", "high", "max"}:
            return (
                f"median {_number(value['median'])}; nine of ten from {_number(value['low'])} to "
                f"{_number(value['high'])}; all from {_number(value['min'])} to {_number(value['max'])}"
            )
        return "\n".join(f"{name}: {_in_words(one)}" for name, one in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int | float):
        return _number(value)
    return re.sub(r"[A-Z]{40,}", lambda match: f"{match[0][:20]}...({len(match[0])} bases)", str(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"
