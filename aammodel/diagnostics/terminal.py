"""Print a trace on the terminal: the batch, a table of all modules, and the result."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aam_schemas.common.cli import visible
from aam_schemas.common.terminal import plain_console
from aam_schemas.common.text import truncate_list
from aammodel.diagnostics.batch_checks import BatchReport
from aammodel.diagnostics.hooks import ModuleRecord
from aammodel.diagnostics.nonfinite import NonFiniteOrigin, shorten
from aammodel.diagnostics.statistics import describe_together
from aammodel.diagnostics.trace import Trace, norm_of
from aammodel.objectives.registry import loss_labels

_WIDTH_OF_FILES = 110
"""Number of columns if the output goes to a file or a pipe, whose width is unknown."""
_WIDE = 104
"""Number of columns that the table with all figures needs."""
_NEXT_LINE = "\n       "
_LEGEND = "output: shape of a module's output; |gradient|: norm of the gradient of the loss by the output"
_LEGEND_WIDE = (
    "output: shape of a module's output (n of: in n chunks; this is the largest)\n"
    "|gradient|: norm of the gradient of the loss by the output; |of weights|: by the module's own weights"
)


def print_trace(trace: Trace) -> None:
    """Print a trace as text."""
    console = plain_console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, soft_wrap=not sys.stdout.isatty()
    )
    _print(console, f"Step {trace.inputs.step}", f", weights: {trace.inputs.weights}\n")
    for index, report in enumerate(trace.reports):
        number = f" {index + 1} of {len(trace.reports)}" if len(trace.reports) > 1 else ""
        _print_batch(console, report, trace.inputs.batches[index].sample_ids, number)
    if trace.result is not None:
        is_wide = console.width >= _WIDE
        console.print(_modules_table(trace.result.modules, trace.result.origin, is_wide))
        console.print(_LEGEND_WIDE if is_wide else _LEGEND, style="dim")
        _print_losses(console, trace)
    _print_result(console, trace)


def _print_batch(console: Console, report: BatchReport, sample_ids: tuple[str, ...], number: str) -> None:
    figures = report.figures
    _print(
        console,
        f"Batch{number}",
        f": {figures.num_samples} samples of up to {figures.num_slots:,} ASVs; "
        f"{figures.num_asvs:,} distinct ASVs of up to {figures.num_tokens - 1:,} bases, "
        f"{figures.num_read:,} of them encoded by the transformer over bases",
    )
    most = max(range(figures.num_samples), key=lambda row: figures.sample_padding[row])
    console.print(
        f"  padding: {_mean(figures.sample_padding):.1%} of the slots "
        f"(at most {figures.sample_padding[most]:.1%}, in sample {visible(sample_ids[most])}), "
        f"{_mean(figures.asv_padding):.1%} of the tokens "
        f"(at most {max(figures.asv_padding):.1%} of an ASV)"
    )
    labels = loss_labels()
    counted = [f"{labels[f'{term}_loss'].words} {n:,}" for term, n in figures.denominators.items()]
    if counted:
        console.print(f"  numbers of values that the losses are averaged over: {', '.join(counted)}")
    console.print(f"  ASVs with a count of 0: {figures.num_zero_counts:,}")
    for check in report.checks:
        if check.holds:
            _print(console, "  ok    ", f" {check.name}: {check.rule}", "green")
        else:
            _print(console, "  BROKEN", f" {check.name}: {check}", "bold red")
    console.print()


def _print(console: Console, head: str, rest: str, style: str = "bold") -> None:
    """Print a line whose head has a style."""
    console.print(Text.assemble((head, style), visible(rest)))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True)
class _Row:
    """One line of the tree of modules."""

    label: str
    depth: int
    record: ModuleRecord | None
    """None for a module that is never called itself, as a list of modules."""


def _modules_table(modules: tuple[ModuleRecord, ...], origin: NonFiniteOrigin | None, is_wide: bool) -> Table:
    """Return the table of modules. On a narrow terminal, it has fewer columns and digits."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    table.add_column("module", no_wrap=True, overflow="ellipsis", min_width=24)
    headings = ("output", "min", "max", "mean", "finite", "|gradient|", "|of weights|")
    for heading in headings if is_wide else headings[:-1]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _tree(modules):
        name = row.record.name if row.record else ""
        is_first = origin is not None and name == origin.module
        label = "  " * row.depth + row.label + (" <- first" if is_first else "")
        cells = _cells(row.record, is_wide) if row.record else []
        table.add_row(label, *cells[: len(table.columns) - 1], style=_style(row.record, is_first))
    return table


def _style(record: ModuleRecord | None, is_first: bool) -> str:
    if is_first:
        return "bold red"
    if record is None:
        return "dim"
    squares = [
        value for value in (record.gradient_square, record.weight_gradient_square) if value is not None
    ]
    is_finite = all(output.fraction_finite in (None, 1.0) for output in record.outputs)
    return "" if is_finite and all(map(math.isfinite, squares)) else "red"


def _cells(record: ModuleRecord, is_wide: bool) -> list[str]:
    digits = 3 if is_wide else 2
    squares = (record.gradient_square, record.weight_gradient_square)
    gradients = [_format(norm_of(square), digits) for square in squares]
    if not record.outputs:
        return ["", "", "", "", "", *gradients]
    output = describe_together(record.outputs)
    shape = "x".join(map(str, output.shape)) or "1"
    times = f"{record.num_calls} of " if record.num_calls > 1 and is_wide else ""
    fraction = "" if output.fraction_finite is None else _percent(output.fraction_finite)
    numbers = [_format(value, digits) for value in (output.smallest, output.largest, output.mean)]
    return [times + shape, *numbers, fraction, *gradients]


def _percent(fraction: float) -> str:
    """Format a fraction as a percentage, rounded down so that only 1 becomes 100 %."""
    return "100%" if fraction == 1 else f"{math.floor(fraction * 1000) / 10:.1f}%"


def _format(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _tree(modules: tuple[ModuleRecord, ...]) -> Iterator[_Row]:
    """Yield each module below its parent, in the order in which the first submodule of each finished."""
    by_name = {record.name: record for record in modules}
    children: dict[str, dict[str, None]] = {}
    for name in by_name:
        parts = name.split(".")
        for depth in range(len(parts)):
            children.setdefault(".".join(parts[:depth]), {})[".".join(parts[: depth + 1])] = None

    def below(parent: str, depth: int, prefix: str) -> Iterator[_Row]:
        for name in children.get(parent, ()):
            label = prefix + name.rpartition(".")[2]
            inside = list(children.get(name, ()))
            # A list of blocks gets no line of its own. Its name becomes a prefix, as in "blocks.0".
            if name not in by_name and all(child.rpartition(".")[2].isdecimal() for child in inside):
                yield from below(name, depth, f"{label}.")
            else:
                yield _Row(label, depth, by_name.get(name))
                yield from below(name, depth + 1, "")

    yield from below("", 0, "")


def _print_losses(console: Console, trace: Trace) -> None:
    losses = ", ".join(f"{name} {_format(value) or 'undefined'}" for name, value in trace.losses.items())
    norm = trace.result.gradient_norm if trace.result else 0.0
    console.print(f"\n{losses}; norm of the gradient {norm:.3g}")


def _print_result(console: Console, trace: Trace) -> None:
    num_broken = sum(len(report.failed) for report in trace.reports)
    if trace.is_clean:
        console.print()
        _print(
            console,
            "All values are finite",
            ", forward and backward, and every rule holds.",
            "bold green",
        )
        return
    console.print()
    if num_broken:
        _print(console, f"The batch breaks {num_broken} of the rules above.", "", "bold red")
    for name, statistics in trace.nonfinite_weights.items():
        _print(console, "Before the step", f", {name} is non-finite: {statistics}", "bold red")
    if trace.result is None:
        console.print("The model cannot read this batch, so the step was not computed.")
    elif trace.result.origin is None:
        console.print("All values of the step are finite, forward and backward.")
    else:
        _print_origin(console, trace.result.origin)


def _print_origin(console: Console, origin: NonFiniteOrigin) -> None:
    kind = f" ({origin.kind})" if origin.kind else ""
    _print(console, "Non-finite", f", first {origin.direction} in {visible(origin.module)}{kind}", "bold red")
    console.print(f"  tensor: {origin.what}")
    if origin.asvs:
        asvs = [f"row {asv.row} of asvs.parquet, {shorten(asv.sequence)}" for asv in origin.asvs]
        console.print(f"  ASV: {visible(truncate_list(asvs, separator=_NEXT_LINE))}")
    if origin.samples:
        console.print(f"  sample: {visible(truncate_list(origin.samples, separator=_NEXT_LINE))}")
