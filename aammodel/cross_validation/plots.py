"""Plots of a cross-validation: scores of all methods, and true against predicted labels."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from aam_schemas.common.text import shorten
from aammodel.cross_validation.scores import Interval, score_words
from aammodel.methods.registry import sees_microbes, uses_model, words_of
from aammodel.reports.curves import STYLE, as_label
from aammodel.sample import Float64Array

MODEL_COLOR, BASELINE_COLOR, NOTHING_COLOR = "#c2410c", "#1f5673", "#8a8f98"
"""Colors of methods with a model, of baselines, and of methods without microbes. The markers differ, too."""
_MOST_CLASSES = 30
_MOST_POINTS = 5000


def draw_methods(found: Mapping[str, Interval], score: str) -> Figure:
    """Return a figure with a score of each method and its 95 % interval.

    Parameters
    ----------
    found : mapping of str to Interval
        Score of each method, in the order from top to bottom.
    score : str
        Name of the score in `SCORE_WORDS`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.1 + 0.28 * len(found)), layout="constrained")
        axes = figure.subplots()
        for row, (name, interval) in enumerate(found.items()):
            axes.plot([interval.low, interval.high], [row, row], color=_color(name), linewidth=2)
            axes.plot([interval.value], [row], marker=_marker(name), color=_color(name), markersize=6)
        axes.set_yticks(range(len(found)), [as_label(words_of(name)) for name in found])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{score_words(score)} with 95 % interval")
        if score == "r2":
            # Methods that fail badly, far below 0, would hide the differences of the others.
            axes.set_xlim(left=max(min(each.low for each in found.values()) - 0.05, -1.0), right=1.0)
    return figure


def draw_confusion(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Return a figure of how many samples of each true class (row) were predicted as each class (column)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        axes.grid(visible=False)
        if len(classes) <= _MOST_CLASSES:
            names = [as_label(shorten(name, 24)) for name in classes]
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
            axes.set_yticks(range(len(names)), names)
            for row, column in np.ndindex(counts.shape):
                color = "#22262b" if shares[row, column] > 0.6 else "#ffffff"
                number = str(counts[row, column])
                axes.text(column, row, number, ha="center", va="center", color=color, fontsize=8)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
    return figure


def draw_numbers(true: Float64Array, predicted: Float64Array, column: str) -> Figure:
    """Return a scatter plot of true and predicted numbers."""
    step = max(1, len(true) // _MOST_POINTS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.scatter(
            true[::step], predicted[::step], s=10, alpha=0.5, color=BASELINE_COLOR, edgecolors="none"
        )
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=NOTHING_COLOR, linewidth=1, linestyle="--")
        axes.set_xlabel(f"true {as_label(shorten(column, 40))}")
        axes.set_ylabel("predicted")
    return figure


def _color(name: str) -> str:
    if uses_model(name):
        return MODEL_COLOR
    return BASELINE_COLOR if sees_microbes(name) else NOTHING_COLOR


def _marker(name: str) -> str:
    if uses_model(name):
        return "D"
    return "o" if sees_microbes(name) else "s"
