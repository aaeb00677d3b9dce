"""A trace on the terminal: the batch, a table of what went through each module, and the verdict."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aam_schemas.common.text import truncate_list
from aammodel.diagnostics.batch_checks import Checked
from aammodel.diagnostics.hooks import Seen
from aammodel.diagnostics.nonfinite import Fault, shorten
from aammodel.diagnostics.statistics import describe_together
from aammodel.diagnostics.trace import Trace, norm_of
from aammodel.objectives.registry import loss_labels

_WIDTH_OF_FILES = 110
_WIDE = 104
_NEXT_LINE = "\n       "
_LEGEND = "output: shape of what a module gives; |gradient|: norm of the loss's gradient by it"
_LEGEND_WIDE = (
    "output: shape of what a module gives (n of: in n chunks, the largest)\n"
    "|gradient|: norm of the loss's gradient by it, |of weights|: by the module's own weights"
)


def print_trace(trace: Trace) -> None:
    """Print a trace for people."""
    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES,
        highlight=False,
        soft_wrap=not sys.stdout.isatty(),
    )
    console.print(f"[bold]Step {trace.setting.step}[/], weights: {escape(trace.setting.weights)}\n")
    for number, checked in enumerate(trace.checked):
        several = f" {number + 1} of {len(trace.checked)}" if len(trace.checked) > 1 else ""
        _print_checked(console, checked, trace.setting.batches[number].sample_ids, several)
    if trace.seen is not None:
        is_wide = console.width >= _WIDE
        console.print(_modules_table(trace.seen.seen, trace.seen.fault, is_wide))
        console.print(_LEGEND_WIDE if is_wide else _LEGEND, style="dim")
        _print_losses(console, trace)
    _print_verdict(console, trace)


def _print_checked(console: Console, checked: Checked, sample_ids: tuple[str, ...], several: str) -> None:
    figures = checked.figures
    console.print(
        f"[bold]Batch{several}[/]: {figures.num_samples} samples of up to {figures.num_slots:,} ASVs; "
        f"{figures.num_asvs:,} distinct ASVs of up to {figures.num_tokens - 1:,} bases, "
        f"{figures.num_read:,} of them read by the transformer"
    )
    most = max(range(figures.num_samples), key=lambda row: figures.sample_padding[row])
    console.print(
        f"  padding: {_mean(figures.sample_padding):.1%} of the slots "
        f"(most in {escape(sample_ids[most])}: {figures.sample_padding[most]:.1%}), "
        f"{_mean(figures.asv_padding):.1%} of the tokens "
        f"(at most {max(figures.asv_padding):.1%} of an ASV's)"
    )
    labels = loss_labels()
    counted = [f"{labels[f'{term}_loss'].words} {n:,}" for term, n in figures.denominators.items()]
    if counted:
        console.print(f"  losses are means over: {', '.join(counted)}")
    console.print(f"  ASVs with a count of 0: {figures.num_zero_counts:,}")
    for one in checked.checks:
        if one.holds:
            console.print(f"  [green]ok[/]     {one.name}: {one.rule}")
        else:
            console.print(f"  [bold red]BROKEN[/] {one.name}: {escape(str(one))}")
    console.print()


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True)
class _Row:
    """One line of the tree of modules."""

    label: str
    depth: int
    seen: Seen | None
    """None for what is never called by itself."""


def _modules_table(modules: tuple[Seen, ...], fault: Fault | None, is_wide: bool) -> Table:
    """Make the table; a narrow terminal gets fewer columns and digits."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    table.add_column("module", no_wrap=True, overflow="ellipsis", min_width=24)
    headings = ("output", "min", "max", "mean", "finite", "|gradient|", "|of weights|")
    for heading in headings if is_wide else headings[:-1]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _tree(modules):
        name = row.seen.name if row.seen else ""
        is_first = fault is not None and name == fault.module
        label = "  " * row.depth + escape(row.label) + (" <- first" if is_first else "")
        cells = _cells(row.seen, is_wide) if row.seen else []
        table.add_row(label, *cells[: len(table.columns) - 1], style=_style(row.seen, is_first))
    return table


def _style(seen: Seen | None, is_first: bool) -> str:
    if is_first:
        return "bold red"
    if seen is None:
        return "dim"
    numbers = [one for one in (seen.gradient_square, seen.weight_gradient_square) if one is not None]
    is_finite = all(one.share_finite in (None, 1.0) for one in seen.outputs)
    return "" if is_finite and all(map(math.isfinite, numbers)) else "red"


def _cells(seen: Seen, is_wide: bool) -> list[str]:
    digits = 3 if is_wide else 2
    squares = (seen.gradient_square, seen.weight_gradient_square)
    gradients = [_short(norm_of(one), digits) for one in squares]
    if not seen.outputs:
        return ["", "", "", "", "", *gradients]
    gave = describe_together(seen.outputs)
    shape = "x".join(map(str, gave.shape)) or "1"
    times = f"{seen.num_calls} of " if seen.num_calls > 1 and is_wide else ""
    share = "" if gave.share_finite is None else _percent(gave.share_finite)
    numbers = [_short(one, digits) for one in (gave.smallest, gave.largest, gave.mean)]
    return [times + shape, *numbers, share, *gradients]


def _percent(share: float) -> str:
    """Write a share so that only a whole one is 100 %."""
    return "100%" if share == 1 else f"{math.floor(share * 1000) / 10:.1f}%"


def _short(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _tree(modules: tuple[Seen, ...]) -> Iterator[_Row]:
    """Give modules below what they are parts of, in the order in which the first part of each finished."""
    by_name = {one.name: one for one in modules}
    children: dict[str, dict[str, None]] = {}
    for name in by_name:
        parts = name.split(".")
        for depth in range(len(parts)):
            children.setdefault(".".join(parts[:depth]), {})[".".join(parts[: depth + 1])] = None

    def below(parent: str, depth: int, before: str) -> Iterator[_Row]:
        for name in children.get(parent, ()):
            label = before + name.rpartition(".")[2]
            inside = list(children.get(name, ()))
            # A list of blocks is no line of its own.
            if name not in by_name and all(one.rpartition(".")[2].isdecimal() for one in inside):
                yield from below(name, depth, f"{label}.")
            else:
                yield _Row(label, depth, by_name.get(name))
                yield from below(name, depth + 1, "")

    yield from below("", 0, "")


def _print_losses(console: Console, trace: Trace) -> None:
    named = ", ".join(f"{name} {_short(value) or 'none'}" for name, value in trace.losses.items())
    norm = trace.seen.gradient_norm if trace.seen else 0.0
    console.print(f"\n{named}; norm of the gradient {norm:.3g}")


def _print_verdict(console: Console, trace: Trace) -> None:
    num_broken = sum(len(one.failed) for one in trace.checked)
    if trace.is_clean:
        console.print("\n[bold green]All finite[/], forward and backward; every rule holds.")
        return
    console.print()
    if num_broken:
        console.print(f"[bold red]The batch breaks {num_broken} of the rules above.[/]")
    for name, one in trace.bad_weights.items():
        console.print(f"[bold red]Before the step[/], {name} is not finite: {one}")
    if trace.seen is None:
        console.print("The model cannot read this batch, so no step was taken.")
    elif trace.seen.fault is None:
        console.print("All numbers of the step are finite, forward and backward.")
    else:
        _print_fault(console, trace.seen.fault)


def _print_fault(console: Console, fault: Fault) -> None:
    kind = f" ({fault.kind})" if fault.kind else ""
    console.print(
        f"[bold red]Not finite[/], first {fault.direction} in [bold]{escape(fault.module)}[/]{kind}"
    )
    console.print(f"  what: {escape(fault.what)}")
    if fault.asvs:
        named = [f"row {one.row} of asvs.parquet, {shorten(one.sequence)}" for one in fault.asvs]
        console.print(f"  ASV: {escape(truncate_list(named, separator=_NEXT_LINE))}")
    if fault.samples:
        console.print(f"  sample: {escape(truncate_list(fault.samples, separator=_NEXT_LINE))}")
