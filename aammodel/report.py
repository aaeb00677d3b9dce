"""What a run looks like: `losses.png`, `unifrac.png`, and both with the figures in one `report.html`."""

import base64
import html
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from aammodel.distance import METRICS
from aammodel.metrics import Row, column, read_metrics

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

REPORT_FILE = "report.html"

TRAIN_COLOUR, VALIDATION_COLOUR = "#7aa6c2", "#c2410c"

_LOSSES = {"nucleotide_loss": "Hidden bases: cross-entropy (nats)"} | {
    f"{name}_loss": f"{metric.words}: squared error" for name, metric in METRICS.items()
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
    color: #222 }}
  img {{ max-width: 100%; height: auto }}
  h1 {{ font-size: 1.5rem }}
  h2 {{ font-size: 1.15rem; margin-top: 2rem }}
  table {{ border-collapse: collapse }}
  td, th {{ padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top }}
  pre {{ background: #f5f5f4; padding: 1rem; overflow-x: auto; font-size: .85rem }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


@dataclass(frozen=True)
class Prediction:
    """Predicted and true distances of the pairs of some samples."""

    target: str
    """The metric."""
    predicted: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    num_samples: int

    @staticmethod
    def of_pairs(
        target: str, predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64]
    ) -> "Prediction":
        """Take each pair with a true distance once, of two matrices of shape (B, B)."""
        is_pair = np.triu(np.isfinite(true), k=1)
        num_samples = int((is_pair | is_pair.T).any(axis=0).sum())
        return Prediction(target, predicted[is_pair], true[is_pair], num_samples)

    @property
    def r(self) -> float:
        """Pearson correlation; NaN where it is not defined."""
        if len(self.true) < 2 or self.true.std() == 0 or self.predicted.std() == 0:
            return float("nan")
        return float(np.corrcoef(self.predicted, self.true)[0, 1])

    @property
    def r_squared(self) -> float:
        """Share of the variance of true distances that is explained; below 0 where their mean is better."""
        if len(self.true) < 2 or self.true.std() == 0:
            return float("nan")
        return float(1 - ((self.predicted - self.true) ** 2).mean() / self.true.var())

    @property
    def mean_absolute_error(self) -> float:
        """Mean absolute error, in units of the distance."""
        return float(np.abs(self.predicted - self.true).mean())


def write_report(run: Path, config: dict[str, Any], predictions: list[Prediction]) -> Path:
    """Draw the pictures of a run and write its page, which opens without a network.

    Parameters
    ----------
    run : Path
        The run's folder, with its metrics.
    config : dict
        The run's whole configuration.
    predictions : list of Prediction
        Distances of the validation samples by each target; none where there are none to compare.
    """
    rows = read_metrics(run)
    parts = [
        _figures_table(rows, predictions),
        "<h2>Losses</h2>",
        _picture(_draw_losses(rows), run / "losses.png"),
    ]
    for one in predictions:
        parts += [f"<h2>Validation samples: {METRICS[one.target].words}</h2>"]
        parts += [_picture(draw_distances(one), run / f"{one.target}.png")]
    parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(json.dumps(config, indent=2))}</pre>"]
    page = _PAGE.format(title=f"Pretraining run {html.escape(run.name)}", body="\n".join(parts))
    path = run / REPORT_FILE
    path.write_text(page, encoding="utf-8")
    return path


def _draw_losses(rows: list[Row]) -> Figure:
    shown = [name for name in _LOSSES if column(rows, name)[0] or column(rows, f"val_{name}")[0]]
    figure, axes = plt.subplots(1, max(len(shown), 1), figsize=(6 * max(len(shown), 1), 4), squeeze=False)
    for axis, name in zip(axes[0], shown, strict=False):
        axis.plot(*column(rows, name), color=TRAIN_COLOUR, linewidth=1, label="training")
        axis.plot(
            *column(rows, f"val_{name}"), "o-", color=VALIDATION_COLOUR, markersize=4, label="validation"
        )
        axis.set(title=_LOSSES[name], xlabel="step")
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def draw_distances(prediction: Prediction) -> Figure:
    """Draw predicted against true distances."""
    figure, axis = plt.subplots(figsize=(5.5, 5.5))
    metric = METRICS[prediction.target]
    largest = min(metric.largest, 1.05 * float(max(prediction.true.max(), prediction.predicted.max())))
    axis.plot([0, largest], [0, largest], color="#a8a29e", linewidth=1, zorder=0)
    size = 12 if len(prediction.true) < 2000 else 4
    axis.scatter(
        prediction.true, prediction.predicted, s=size, alpha=0.35, color=VALIDATION_COLOUR, linewidths=0
    )
    axis.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")
    axis.set(xlabel=f"true {metric.words}", ylabel="predicted")
    axis.set_title(
        f"r = {prediction.r:.3f}, {len(prediction.true):,} pairs of {prediction.num_samples} samples"
    )
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def save_distances(prediction: Prediction, path: Path) -> None:
    """Draw predicted against true distances into a PNG file."""
    figure = draw_distances(prediction)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _picture(figure: Figure, path: Path) -> str:
    """Save a figure as PNG, and give it as an element that holds the picture itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    plt.close(figure)
    path.write_bytes(buffer.getvalue())
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{path.stem}" src="data:image/png;base64,{encoded}">'


def _figures_table(rows: list[Row], predictions: list[Prediction]) -> str:
    figures: list[tuple[str, str]] = []
    for name, words in _LOSSES.items():
        _, values = column(rows, f"val_{name}")
        if values:
            told = f"{values[0]:.4f} untrained, {min(values):.4f} at best, {values[-1]:.4f} at last"
            figures.append((f"validation: {words}", told))
    for one in predictions:
        words = METRICS[one.target].words
        figures.append((f"{words}: r", f"{one.r:.3f}"))
        figures.append((f"{words}: mean absolute error", f"{one.mean_absolute_error:.4f}"))
    speeds = column(rows, "samples_per_second")[1]
    if speeds:
        figures.append(("steps", f"{int(column(rows, 'loss')[0][-1]):,}"))
        figures.append(("samples per second", f"{np.median(speeds):.2f} (median)"))
    lines = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in figures)
    return f"<table>{''.join(lines)}</table>"
