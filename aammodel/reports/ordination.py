"""Plot samples by the two main axes of their embedding, and of their predicted distances."""

import unicodedata
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.text import Text

from aam_schemas.common.text import shorten
from aammodel.reports.curves import STYLE
from aammodel.sample import Float64Array

# Okabe and Ito (2008), "Color universal design", https://jfly.uni-koeln.de/color/. Black comes last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
"""Colors that the color-blind can tell apart."""
_MARKERS = ("o", "^", "s")
"""Markers of the first eight classes, of the next eight, and of the next."""
_OTHER, _MISSING = "#b8bcc2", "#8a8f98"
_EDGE = "#22262b"
_LONGEST_NAME = 28
_LETTER_WIDTH = 0.07
"""Width of a letter of the legend, in inches."""


@dataclass(frozen=True)
class Ordination:
    """Coordinates of samples on two axes."""

    title: str
    axis: str
    """Name of the axes, such as PC."""
    coordinates: Float64Array
    """Shape (samples, 2). Zero on an axis that does not exist."""
    explained: Float64Array
    """Fraction of the variance on each axis, shape (2,). NaN if there is none."""


def pca(embedding: npt.NDArray[np.floating], title: str) -> Ordination:
    """Return the first two principal components of centered vectors, shape (samples, D)."""
    centered = embedding.astype(np.float64) - embedding.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    variance = sizes**2
    total = variance.sum()
    explained = variance / total if total > 0 else np.full(len(variance), np.nan)
    return Ordination(title, "PC", _two(left * sizes), _two(explained[None, :])[0])


def pcoa(distances: Float64Array, title: str) -> Ordination:
    """Return the first two principal coordinates of distances, shape (samples, samples), by scikit-bio."""
    if len(distances) < 2 or not distances.any():
        return Ordination(title, "PCo", np.zeros((len(distances), 2)), np.full(2, np.nan))
    from skbio import DistanceMatrix
    from skbio.stats.ordination import pcoa as scikit_bio_pcoa

    with warnings.catch_warnings():
        # Predicted distances are not Euclidean, so some eigenvalues are negative.
        warnings.simplefilter("ignore")
        found = scikit_bio_pcoa(DistanceMatrix(distances))
    return Ordination(
        title,
        "PCo",
        _two(found.samples.to_numpy(np.float64)),
        _two(found.proportion_explained.to_numpy(np.float64)[None, :])[0],
    )


def draw_ordinations(
    ordinations: list[Ordination], values: npt.NDArray[Any] | None = None, name: str = ""
) -> Figure:
    """Return a figure with a panel per ordination, colored by the values of a metadata column.

    Parameters
    ----------
    ordinations : list of Ordination
        Of the same samples.
    values : ndarray of float64, or of objects (text), optional
        Value of each sample; NaN or None where it is missing.
    name : str
        Name of the column.
    """
    with matplotlib.rc_context(STYLE):
        # The legend or color bar needs some of the width.
        figure = Figure(figsize=(4.2 * len(ordinations) + 1, 4.2), layout="constrained")
        panels = list(np.atleast_1d(figure.subplots(1, len(ordinations))))
        for axes, ordination in zip(panels, ordinations, strict=True):
            _label(axes, ordination)
        if values is None:
            for axes, ordination in zip(panels, ordinations, strict=True):
                _points(axes, ordination.coordinates, color=COLORS[0])
        elif values.dtype == np.float64:
            _draw_numbers(figure, panels, ordinations, values, name)
        else:
            _draw_classes(figure, panels, ordinations, values, name)
    return figure


def plain_text(text: str) -> str:
    """Return a name on one line, with escapes for characters that the font of the plots lacks."""
    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    shown = (
        letter if letter.isprintable() and font.get_char_index(ord(letter)) else ascii(letter)[1:-1]
        for letter in unicodedata.normalize("NFC", text)
    )
    return shorten("".join(shown), _LONGEST_NAME)


def _two(columns: Float64Array) -> Float64Array:
    """Return the first two columns, with zeros for those that are missing."""
    two = np.zeros((len(columns), 2))
    two[:, : min(2, columns.shape[1])] = columns[:, :2]
    return two


def _label(axes: Axes, ordination: Ordination) -> None:
    axes.set_title(ordination.title, fontsize=10)
    axes.set_box_aspect(1)
    for number, (axis, explained) in enumerate(
        zip((axes.xaxis, axes.yaxis), ordination.explained, strict=True)
    ):
        fraction = f" ({explained:.1%} of the variance)" if np.isfinite(explained) else ""
        axis.set_label_text(f"{ordination.axis} {number + 1}{fraction}")


def _points(axes: Axes, coordinates: Float64Array, **style: Any) -> Any:
    given: dict[str, Any] = {"s": 26, "linewidths": 0.4, "edgecolors": _EDGE, "alpha": 0.9} | style
    return axes.scatter(coordinates[:, 0], coordinates[:, 1], **given)


def _draw_numbers(
    figure: Figure,
    panels: list[Axes],
    ordinations: list[Ordination],
    values: Float64Array,
    name: str,
) -> None:
    is_given = np.isfinite(values)
    for axes, ordination in zip(panels, ordinations, strict=True):
        _points(axes, ordination.coordinates[~is_given], facecolors="none", edgecolors=_MISSING)
        points = _points(axes, ordination.coordinates[is_given], c=values[is_given], cmap="viridis")
        if is_given.any():
            low, high = values[is_given].min(), values[is_given].max()
            points.set_clim(low, high if high > low else low + 1)
    bar = figure.colorbar(points, ax=panels, shrink=0.8)
    bar.outline.set_visible(False)
    bar.ax.grid(visible=False)
    _set_plain(bar.ax.yaxis.label, name)
    if not is_given.all():
        bar.ax.set_title(f"hollow: no value ({(~is_given).sum():,})", fontsize=8, loc="left", color=_EDGE)


def _draw_classes(
    figure: Figure,
    panels: list[Axes],
    ordinations: list[Ordination],
    values: npt.NDArray[np.object_],
    name: str,
) -> None:
    most = len(COLORS) * len(_MARKERS)
    counts = Counter(value for value in values if value is not None)
    classes = [value for value, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    shown = classes if len(classes) <= most else classes[: most - 1]
    row_of = {value: row for row, value in enumerate(shown)}
    rows = np.array([-2 if value is None else row_of.get(value, -1) for value in values])
    styles: dict[int, dict[str, Any]] = {
        row: {"color": COLORS[row % len(COLORS)], "marker": _MARKERS[row // len(COLORS)]}
        for row in row_of.values()
    }
    styles |= {-1: {"color": _OTHER}, -2: {"facecolors": "none", "edgecolors": _MISSING}}
    labels = {row: f"{plain_text(value)} ({counts[value]:,})" for value, row in row_of.items()}
    labels[-1] = f"{len(classes) - len(shown):,} others ({(rows == -1).sum():,})"
    labels[-2] = f"no value ({(rows == -2).sum():,})"
    # Rare classes are drawn last, so that they are not hidden.
    order = [row for row in (-2, -1, *row_of.values()) if (rows == row).any()]
    for axes, ordination in zip(panels, ordinations, strict=True):
        for row in order:
            _points(axes, ordination.coordinates[rows == row], **styles[row])
    _legend(figure, [(styles[row], labels[row]) for row in (*row_of.values(), -1, -2) if row in order], name)


def _legend(figure: Figure, entries: list[tuple[dict[str, Any], str]], name: str) -> None:
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=style.get("marker", "o"),
            markerfacecolor=style.get("color", "none"),
            markeredgecolor=style.get("edgecolors", _EDGE),
            markeredgewidth=0.6,
        )
        for style, _ in entries
    ]
    # A legend leaves out labels that begin with an underscore, so the text is set afterwards.
    longest = max(len(label) for label in (*(label for _, label in entries), plain_text(name)))
    figure.set_figwidth(figure.get_figwidth() + _LETTER_WIDTH * longest)
    legend = figure.legend(handles, ["-"] * len(entries), loc="outside right center", title="-", fontsize=8)
    _set_plain(legend.get_title(), name)
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(label)


def _set_plain(text: Text, name: str) -> None:
    """Set a text to a name, which may look like mathematics."""
    text.set_parse_math(False)
    text.set_text(plain_text(name))
