"""Plots of a study: depths, ASVs per sample, token limits, prevalence and sequence lengths.

A plot is SVG text without a date or random ids. So the same data always give the same bytes.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from aamprep.arrays import Float64Array, Int64Array
from aamprep.checks.depths import kept_in_words, suggested_depth
from aamprep.checks.summary import Summary
from aamprep.checks.thresholds import LEAST_DEPTH, REPORTED_TOKEN_LIMITS

BARS, LINE, MARK, GREY = "#5b93b5", "#1f5673", "#c2410c", "#8a8f98"
MAX_BINS = 40
"""Maximum number of bars of a histogram."""

CURVE_POINTS = 200
"""Number of points of the rarefaction curve."""

WIDE = 300
"""Ratio of largest to smallest value above which an axis shows powers of ten only."""

_STYLE: dict[Any, Any] = {
    # A fixed salt makes the ids in the SVG reproducible. Text drawn as paths needs no fonts in the browser.
    "svg.hashsalt": "aamprep",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "grid.linewidth": 0.7,
}


@dataclass(frozen=True)
class Plot:
    """A plot with its title and caption."""

    title: str
    svg: str
    caption: str


def draw_all(summary: Summary, lengths: Int64Array, token_limit: int) -> list[Plot]:
    """Return all plots of a study.

    Parameters
    ----------
    summary : Summary
        Statistics of at least one sample.
    lengths : ndarray of int, shape (ASVs,)
        Number of bases of each ASV.
    token_limit : int
        Chosen token limit, which is marked.
    """
    depth = summary.per_sample("depth_before_rarefaction")
    return [
        _depths(depth),
        _samples_kept(depth),
        _asvs_per_sample(summary.per_sample("num_asvs"), token_limit),
        _token_limits(summary),
        _prevalence(summary),
        _lengths(lengths),
    ]


def _svg(draw: Callable[[Axes], None]) -> str:
    """Draw on new axes and return the SVG. The figure is not registered with pyplot."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.1))
        figure.subplots_adjust(left=0.17, right=0.97, top=0.9, bottom=0.16)
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _depths(depth: Float64Array) -> Plot:
    def draw(axes: Axes) -> None:
        _log_histogram(axes, depth)
        _mark(axes, float(np.median(depth)), f"median {np.median(depth):,.0f}")
        axes.set(xlabel="reads per sample", ylabel="number of samples")

    low, high = np.quantile(depth, [0.05, 0.95])
    return Plot("Sequencing depth", _svg(draw), f"90% of the samples have {low:,.0f} to {high:,.0f} reads.")


def _samples_kept(depth: Float64Array) -> Plot:
    suggested = suggested_depth(depth)

    def draw(axes: Axes) -> None:
        at = np.unique(np.quantile(depth, np.linspace(0, 1, CURVE_POINTS), method="lower"))
        # Start below the shallowest sample, so that the curve begins at 100 %.
        at = np.append(0.8 * at[0], at)
        fraction = 1 - np.searchsorted(np.sort(depth), at) / len(depth)
        axes.fill_between(at, fraction, step="pre", color=BARS, alpha=0.25, linewidth=0)
        axes.plot(at, fraction, drawstyle="steps-pre", color=LINE, linewidth=1.6)
        _log_axis(axes, float(at[0]), float(at[-1]))
        if suggested is not None:
            _mark(axes, suggested, f"{suggested:,}")
        axes.set(xlabel="rarefaction depth", ylabel="samples kept", ylim=(0, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1))

    caption = f"Fewer than half of the samples have {LEAST_DEPTH:,} reads."
    if suggested is not None:
        caption = f"Rarefaction to {suggested:,} reads would keep {kept_in_words(depth, suggested)}."
    return Plot("Samples kept by rarefaction", _svg(draw), caption)


def _asvs_per_sample(num_asvs: Float64Array, token_limit: int) -> Plot:
    def draw(axes: Axes) -> None:
        _log_histogram(axes, num_asvs)
        for limit in REPORTED_TOKEN_LIMITS:
            if limit != token_limit:
                axes.axvline(limit, color=GREY, linewidth=0.9, linestyle=":")
        _mark(axes, token_limit, f"limit {token_limit:,}")
        axes.set(xlabel="ASVs per sample", ylabel="number of samples")

    cut = int((num_asvs > token_limit).sum())
    caption = (
        f"{cut:,} of {len(num_asvs):,} samples have more ASVs than the token limit. "
        f"The richest sample has {num_asvs.max():,.0f} ASVs. Dotted lines mark other token limits."
    )
    return Plot("ASVs per sample", _svg(draw), caption)


def _token_limits(summary: Summary) -> Plot:
    fractions = [summary.fraction_within(limit) for limit in REPORTED_TOKEN_LIMITS]
    low, middle, high = np.quantile(np.array(fractions), [0.05, 0.5, 1.0], axis=1)
    worst = np.array([fraction.min() for fraction in fractions])
    at = np.arange(len(REPORTED_TOKEN_LIMITS))

    def draw(axes: Axes) -> None:
        axes.bar(at, high - low, 0.5, bottom=low, color=BARS, alpha=0.45, label="95% of the samples")
        axes.plot(at, middle, "o-", color=LINE, markersize=4, linewidth=1.4, label="median sample")
        axes.plot(at, worst, "v", color=MARK, markersize=5, label="sample that keeps least")
        axes.set_xticks(at, [f"{limit:,}" for limit in REPORTED_TOKEN_LIMITS])
        axes.set(xlabel="token limit", ylabel="reads kept", ylim=(0, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(frameon=False, loc="lower right")

    caption = "Fraction of its reads that a sample keeps if its most abundant ASVs are kept."
    return Plot("Reads kept at each token limit", _svg(draw), caption)


def _prevalence(summary: Summary) -> Plot:
    prevalence = summary.prevalence[summary.prevalence > 0].astype(np.float64)

    def draw(axes: Axes) -> None:
        _log_histogram(axes, prevalence)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_plain)
        axes.set(xlabel="samples with the ASV", ylabel="number of ASVs")

    once = float((prevalence == 1).mean())
    common = int((prevalence >= len(summary.sample_ids) / 2).sum())
    caption = (
        f"{once:.0%} of the ASVs occur in only one sample. "
        f"{common:,} ASVs occur in at least half of the samples."
    )
    return Plot("Prevalence of the ASVs", _svg(draw), caption)


def _lengths(lengths: Int64Array) -> Plot:
    values, numbers = np.unique(lengths, return_counts=True)

    def draw(axes: Axes) -> None:
        axes.bar(values, numbers, width=0.9, color=BARS)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_plain)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(values[0] - 5, values[-1] + 5)
        axes.set(xlabel="bases", ylabel="ASVs", ylim=(0.7, None))

    caption = f"{values[0]} to {values[-1]} bases, most often {values[np.argmax(numbers)]}."
    if len(values) == 1:
        caption = f"All ASVs have {values[0]} bases."
    return Plot("Sequence lengths", _svg(draw), caption)


def _log_histogram(axes: Axes, values: Float64Array) -> None:
    """Draw a histogram with bins that are equally wide on a log scale, but not narrower than 1."""
    low, high = max(float(values.min()), 1.0), float(values.max())
    number = min(MAX_BINS, int(5 * len(values) ** 0.5) + 1)
    edges = np.unique(np.floor(np.geomspace(low, high + 1, number + 1)))
    if low == high:
        edges = np.array([low / 1.1, low * 1.1])
    axes.hist(np.maximum(values, low), bins=edges.tolist(), color=BARS, edgecolor="white", linewidth=0.4)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _log_axis(axes, low, high)


def _whole(value: float, _: object) -> str:
    if value >= 1e7:
        return f"{value:.0e}"
    return "" if value % 1 else f"{value:,.0f}"


_plain = FuncFormatter(_whole)


def _log_axis(axes: Axes, low: float, high: float) -> None:
    """Set a logarithmic x axis with whole numbers as labels: 1, 2 and 5 of each decade if there is room."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < WIDE else (1,)))
    axes.xaxis.set_major_formatter(_plain)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, at: float, label: str) -> None:
    axes.axvline(at, color=MARK, linewidth=1.3)
    axes.annotate(
        label,
        (at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        color=MARK,
        fontsize=8,
    )
