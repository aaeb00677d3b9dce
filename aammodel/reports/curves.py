"""Plot the losses and the learning rate of one run or of several runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aam_schemas.common.cli import visible
from aammodel.objectives.registry import loss_labels
from aammodel.runs.metrics_log import Row, column

TRAIN_COLOR, VALIDATION_COLOR = "#5b93b5", "#c2410c"
RUN_COLORS = ("#1f5673", "#c2410c", "#2f855a", "#7c3aed", "#b7791f", "#0e9aa7", "#be185d", "#59616b")

SMOOTHED_FROM = 50
"""From this number of training losses on, a running mean over a fortieth of them is drawn, and the losses
themselves are drawn faintly."""

_LOG_RATIO = 15
"""From this ratio of the largest to the smallest loss on, the axis is logarithmic."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Lines:
    """Metrics of one run, with the label and colors of its curves."""

    rows: list[Row]
    label: str = ""
    color: str = TRAIN_COLOR
    validation_color: str = VALIDATION_COLOR


def as_label(name: str) -> str:
    """Return a name as matplotlib shows it unchanged.

    Text between two `$` would be mathematics, and the legend leaves out labels that begin with `_`.
    """
    text = visible(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def draw_run(rows: list[Row]) -> Figure:
    """Return a figure with a panel per loss, for training and validation, and one for the learning rate."""
    return _draw([Lines(rows)])


def draw_runs(runs: dict[str, list[Row]]) -> Figure:
    """Return a figure in which each panel shows all runs: training losses faint, validation with dots."""
    colors = [RUN_COLORS[n % len(RUN_COLORS)] for n in range(len(runs))]
    each = zip(runs.items(), colors, strict=True)
    return _draw([Lines(rows, as_label(label), color, color) for (label, rows), color in each])


def _draw(runs: list[Lines]) -> Figure:
    panels: list[tuple[str, Callable[[Axes], None]]] = [
        (str(label), _losses(runs, name))
        for name, label in loss_labels().items()
        if any(_has(run, name) for run in runs)
    ]
    panels.append(("learning rate", lambda axes: _rates(axes, runs)))
    with matplotlib.rc_context(STYLE):
        rows = math.ceil(len(panels) / 2)
        layout = ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.1)
        figure = Figure(figsize=(10, 3.3 * rows), layout=layout)
        for number, (title, draw) in enumerate(panels, 1):
            axes = figure.add_subplot(rows, 2, number)
            axes.set_title(title, loc="left", fontsize=10)
            draw(axes)
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _losses(runs: list[Lines], name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        shown: list[float] = []
        for run in runs:
            steps, values = column(run.rows, name)
            _training(axes, np.array(steps), np.array(values), run)
            at, validation = column(run.rows, f"val_{name}")
            if validation or run.label:
                label = run.label or "validation"
                axes.plot(at, validation, "o-", color=run.validation_color, markersize=3.5, label=label)
            shown += values + validation
        _scale(axes, shown)
        axes.legend()

    return draw


def _training(axes: Axes, steps: npt.NDArray[Any], values: npt.NDArray[Any], run: Lines) -> None:
    label, strength = (None, 0.45) if run.label else ("training", 1.0)
    if len(values) < SMOOTHED_FROM:
        axes.plot(steps, values, color=run.color, linewidth=1, alpha=strength, label=label)
        return
    axes.plot(steps, values, color=run.color, linewidth=0.6, alpha=0.3 * strength)
    width = len(values) // 40
    sums = np.cumsum(np.concatenate([[0.0], values]))
    mean = (sums[width:] - sums[:-width]) / width
    axes.plot(steps[width - 1 :], mean, color=run.color, linewidth=1.3, alpha=strength, label=label)


def _rates(axes: Axes, runs: list[Lines]) -> None:
    for run in runs:
        axes.plot(*column(run.rows, "learning_rate"), color=run.color, linewidth=1.3)
    axes.set_ylim(bottom=0)


def _scale(axes: Axes, values: list[float]) -> None:
    """Use a logarithmic axis if the losses span a wide range."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) / min(positive) < _LOG_RATIO:
        return
    axes.set_yscale("log")
    # By default, matplotlib labels powers of ten only, and there may be none in the range.
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _has(run: Lines, name: str) -> bool:
    return bool(column(run.rows, name)[0] or column(run.rows, f"val_{name}")[0])
