"""Plots of a cross-validation: scores of all methods, and true against predicted labels."""

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from aam_schemas.common.text import shorten
from aammodel.cross_validation.scores import confusion, score_words
from aammodel.methods.registry import METHODS, words_of
from aammodel.reports.curves import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aammodel.cross_validation.result import Crossval

MODEL_COLOR, BASELINE_COLOR, NOTHING_COLOR = "#c2410c", "#1f5673", "#8a8f98"
"""Colors of methods with a model, of baselines, and of methods without microbes. The markers differ, too."""
_MOST_CLASSES = 30
_MOST_POINTS = 5000


def draw_methods(result: "Crossval") -> Figure:
    """Return a figure with the main score of each method and its 95 % interval, the best on top."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.28 * len(result.ranking)), layout="constrained")
        axes = figure.subplots()
        for row, name in enumerate(reversed(result.ranking)):
            found = result.interval(name)
            axes.plot([found.low, found.high], [row, row], color=_color(name), linewidth=2)
            axes.plot([found.value], [row], marker=_marker(name), color=_color(name), markersize=6)
        names = [words_of(name) for name in reversed(result.ranking)]
        axes.set_yticks(range(len(names)), [_plain(name) for name in names])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{score_words(result.main_score)} with 95 % interval")
        _clip_to_useful(axes, result)
    return figure


def draw_labels(result: "Crossval") -> Figure:
    """Return the confusion matrix of the best method, or a scatter plot of true and predicted numbers."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.6), layout="constrained")
        axes = figure.subplots()
        if result.target.is_classification:
            _draw_confusion(axes, result)
        else:
            _draw_scatter(axes, result)
    return figure


def _draw_confusion(axes: "Axes", result: "Crossval") -> None:
    counts = confusion(result.target.values, result.predictions[result.best].mean)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.grid(visible=False)
    names = [_plain(shorten(name, 24)) for name in result.target.classes]
    if len(names) <= _MOST_CLASSES:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for row, column in np.ndindex(counts.shape):
            color = "#22262b" if shares[row, column] > 0.6 else "#ffffff"
            axes.text(
                column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=8
            )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def _draw_scatter(axes: "Axes", result: "Crossval") -> None:
    true, predicted = result.true(), result.predicted(result.best)
    step = max(1, len(true) // _MOST_POINTS)
    axes.scatter(true[::step], predicted[::step], s=10, alpha=0.5, color=BASELINE_COLOR, edgecolors="none")
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color=NOTHING_COLOR, linewidth=1, linestyle="--")
    axes.set_xlabel(f"true {_plain(shorten(result.target.column, 40))}")
    axes.set_ylabel("predicted")


def _clip_to_useful(axes: "Axes", result: "Crossval") -> None:
    """Keep methods that fail badly (R2 far below 0) from hiding the differences of the others."""
    if result.main_score == "r2":
        lows = [result.interval(name).low for name in result.ranking]
        axes.set_xlim(left=max(min(lows) - 0.05, -1.0), right=1.0)


def _plain(text: str) -> str:
    """Return text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def _color(name: str) -> str:
    if name not in METHODS:
        return BASELINE_COLOR
    if not METHODS[name].is_baseline:
        return MODEL_COLOR
    return BASELINE_COLOR if METHODS[name].sees_microbes else NOTHING_COLOR


def _marker(name: str) -> str:
    if name in METHODS and not METHODS[name].is_baseline:
        return "D"
    return "o" if name not in METHODS or METHODS[name].sees_microbes else "s"
