"""Report of a run: `losses.png`, `METRIC.png`, `results.json`, and all of them in one `report.html`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aam_schemas.common.html import cards, embedded_png, page, png, table
from aam_schemas.common.publish import replace_file
from aam_schemas.common.text import decimals
from aammodel.distances.metrics import METRICS
from aammodel.evaluation.distances import Prediction
from aammodel.objectives.registry import loss_labels
from aammodel.reports.curves import VALIDATION_COLOR, draw_run
from aammodel.runs.metrics_log import Row, column, comparable, read_metrics
from aammodel.training.best_metric import is_correlation, label_of

REPORT_FILE, RESULTS_FILE = "report.html", "results.json"

_SECTIONS = {
    "shards": "Shards",
    "preparation": "Preparation of the samples",
    "train": "Training",
    "model": "Model",
    "versions": "Versions",
    "machine": "Machine",
    "changes": "Earlier settings that were changed on resume",
}
"""Headings for the sections of `config.json`, in the order of the page."""


def write_report(run: Path, config: dict[str, Any], predictions: list[Prediction]) -> Path:
    """Write `results.json`, the plots and the HTML page of a run. The page needs no network.

    Parameters
    ----------
    run : Path
        Run folder with `metrics.jsonl`.
    config : dict
        Content of `config.json`.
    predictions : list of Prediction
        Predicted and true distances of the validation samples, for each target. It may be empty.

    Returns
    -------
    Path
        The page.
    """
    rows = read_metrics(run)
    results = results_of(rows, predictions, config)
    replace_file(run / RESULTS_FILE, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
    parts = [cards(_figures(results)), "<h2>Losses and learning rate</h2>"]
    parts.append(_save_plot(draw_run(rows), run / "losses.png"))
    if predictions:
        plots = (_save_plot(draw_distances(each), run / f"{each.target}.png") for each in predictions)
        parts += ["<h2>Distances between validation samples, predicted with the best weights</h2>"]
        parts += [f'<section class="plots">{"".join(plots)}</section>']
    for section, heading in _SECTIONS.items():
        if section in config:
            parts += [f"<h2>{heading}</h2>", table(_rows_of(config[section]))]
    # The page is written last. If it exists, all other files are complete.
    path = run / REPORT_FILE
    replace_file(path, page(f"Pretraining: {run.resolve().name}", parts))
    return path


def remove_report(run: Path) -> None:
    """Remove the report of a run that is resumed. It could be mistaken for that of the new end."""
    for name in (REPORT_FILE, RESULTS_FILE):
        (run / name).unlink(missing_ok=True)


def results_of(rows: list[Row], predictions: list[Prediction], config: dict[str, Any]) -> dict[str, Any]:
    """Return the best validation losses of a run, the quality of its distances, and its time and memory.

    Parameters
    ----------
    rows : list of Row
        Metrics of the run.
    predictions : list of Prediction
    config : dict
        Content of `config.json`. Losses before a change of the loss's definition on resume cannot be compared
        with later ones, and do not count for the best (see `comparable`).

    Returns
    -------
    dict
        Content of `results.json`.
    """
    changes, metric = config.get("changes", []), config.get("train", {}).get("best_metric", "loss")
    validated = comparable(rows, changes)
    best = {name: min(column(validated, name)[1]) for name in _validated(validated)}
    # Weights before a change of the metric were chosen by another one.
    steps, values = column(comparable(rows, changes, {"best_metric"}), f"val_{metric}")
    step = _best_step(metric, steps, values)
    if is_correlation(metric) and values:
        best[f"val_{metric}"] = max(values)
    speeds = column(rows, "samples_per_second")[1]
    return {
        "steps": int(max(column(rows, "loss")[0], default=0)),
        "best_metric": metric,
        "best_step": step,
        "best": best,
        "targets": {prediction.target: _quality(prediction) for prediction in predictions},
        "minutes": sum(column(rows, "seconds")[1]) / 60,
        "samples_per_second": float(np.median(speeds)) if speeds else None,
        "memory_mib": max(column(rows, "memory_mib")[1], default=None),
    }


def _best_step(metric: str, steps: list[float], values: list[float]) -> int | None:
    if not values:
        return None
    return int(steps[int(np.argmax(values) if is_correlation(metric) else np.argmin(values))])


def _validated(rows: list[Row]) -> list[str]:
    return [f"val_{name}" for name in loss_labels() if column(rows, f"val_{name}")[0]]


def _quality(prediction: Prediction) -> dict[str, float | int | None]:
    return {
        "r": prediction.r if np.isfinite(prediction.r) else None,
        "mean_absolute_error": prediction.mean_absolute_error,
        "num_pairs": len(prediction.true),
        "num_samples": prediction.num_samples,
    }


def _figures(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    figures = []
    for name, loss in results["best"].items():
        label = label_of(name.removeprefix("val_"))
        is_chosen = name == f"val_{results['best_metric']}" and results["best_step"] is not None
        lowest = f"{label.unit}, lowest value" if label.unit else "lowest value"
        remark = f"at step {results['best_step']:,}" if is_chosen else lowest
        figures.append((f"validation: {label.words}", f"{loss:.4g}", remark))
    for target, quality in results["targets"].items():
        r = f"r = {decimals(quality['r'])}"
        error = f"mean absolute error {quality['mean_absolute_error']:.4f}"
        figures.append((METRICS[target].words, r, error))
    if results["samples_per_second"]:
        speed = f"{results['samples_per_second']:,.1f} samples/s, {results['memory_mib'] or 0:,.0f} MiB"
        figures.append(
            ("training", f"{results['steps']:,} steps", f"{results['minutes']:,.1f} minutes, {speed}")
        )
    return figures


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted name, such as `train.learning_rate`. Keep lists whole."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _rows_of(values: Any) -> list[list[str]]:
    if isinstance(values, dict):
        return [[name, _cell(value)] for name, value in flatten(values).items()]
    return [[str(number), _cell(value)] for number, value in enumerate(values, 1)]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _save_plot(figure: Figure, path: Path) -> str:
    """Save a figure as PNG, and return an HTML element with the PNG embedded."""
    content = png(figure)
    replace_file(path, content)
    return embedded_png(content, path.stem)


def draw_distances(prediction: Prediction) -> Figure:
    """Return a scatter plot of predicted against true distances."""
    figure = Figure(figsize=(5.5, 5.5))
    axis = figure.add_subplot()
    metric = METRICS[prediction.target]
    # If all distances are 0, the axes end at 1.
    largest = min(metric.largest, 1.05 * float(max(prediction.true.max(), prediction.predicted.max())) or 1.0)
    axis.plot([0, largest], [0, largest], color="#a8a29e", linewidth=1, zorder=0)
    size = 12 if len(prediction.true) < 2000 else 4
    axis.scatter(
        prediction.true, prediction.predicted, s=size, alpha=0.35, color=VALIDATION_COLOR, linewidths=0
    )
    axis.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")
    axis.set(xlabel=f"true {metric.words}", ylabel="predicted")
    axis.set_title(f"r = {decimals(prediction.r)}, {prediction.pairs} of {prediction.num_samples} samples")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def save_distances(prediction: Prediction, path: Path) -> None:
    """Save a scatter plot of predicted against true distances as a PNG file."""
    replace_file(path, png(draw_distances(prediction)))
