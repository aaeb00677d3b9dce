"""What a run looks like: `losses.png`, `METRIC.png`, `results.json`, and all of it in one `report.html`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aam_schemas.common.html import cards, embedded_png, page, png, table
from aam_schemas.common.publish import replace_file
from aammodel.distances.metrics import METRICS
from aammodel.evaluation.distances import Prediction
from aammodel.objectives.registry import loss_labels
from aammodel.reports.curves import VALIDATION_COLOUR, draw_run
from aammodel.runs.metrics_log import Row, column, comparable, read_metrics

REPORT_FILE, RESULTS_FILE = "report.html", "results.json"

_SECTIONS = {
    "shards": "Shards",
    "preparation": "Preparation of the samples",
    "train": "Training",
    "model": "Model",
    "versions": "Versions",
    "machine": "Machine",
    "changes": "What was different before",
}
"""Of `config.json`, in the order in which they are shown."""


def write_report(run: Path, config: dict[str, Any], predictions: list[Prediction]) -> Path:
    """Write `results.json`, the pictures of a run, and its page, which opens without a network.

    Parameters
    ----------
    run : Path
        The run's folder, with its metrics.
    config : dict
        What its `config.json` holds.
    predictions : list of Prediction
        Distances of the validation samples by each target; none where there are none to compare.
    """
    rows = read_metrics(run)
    results = results_of(rows, predictions, config.get("changes", []))
    replace_file(run / RESULTS_FILE, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
    parts = [cards(_figures(results)), "<h2>Losses and learning rate</h2>"]
    parts.append(_shown(draw_run(rows), run / "losses.png"))
    if predictions:
        scatters = (_shown(draw_distances(one), run / f"{one.target}.png") for one in predictions)
        parts += ["<h2>Distances of the validation samples, by the best weights</h2>"]
        parts += [f'<section class="plots">{"".join(scatters)}</section>']
    for section, words in _SECTIONS.items():
        if section in config:
            parts += [f"<h2>{words}</h2>", table(_rows_of(config[section]))]
    # The page comes last: a run that has it has everything.
    path = run / REPORT_FILE
    replace_file(path, page(f"Pretraining run {run.resolve().name}", parts))
    return path


def remove_report(run: Path) -> None:
    """Take back what a run that goes on had written at its end: it would be taken for the new end's."""
    for name in (REPORT_FILE, RESULTS_FILE):
        (run / name).unlink(missing_ok=True)


def results_of(
    rows: list[Row], predictions: list[Prediction], changes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Sum a run up: its best validation loss, how well distances are predicted, what it took.

    The best is that of the losses that compare with the last ones (see `comparable`).
    """
    validated = comparable(rows, changes)
    steps, losses = column(validated, "val_loss")
    best = int(np.argmin(losses)) if losses else None
    speeds = column(rows, "samples_per_second")[1]
    return {
        "steps": int(max(column(rows, "loss")[0], default=0)),
        "best_step": int(steps[best]) if best is not None else None,
        "best": {name: min(column(validated, name)[1]) for name in _validated(validated)},
        "targets": {one.target: _quality(one) for one in predictions},
        "minutes": sum(column(rows, "seconds")[1]) / 60,
        "samples_per_second": float(np.median(speeds)) if speeds else None,
        "memory_mib": max(column(rows, "memory_mib")[1], default=None),
    }


def _validated(rows: list[Row]) -> list[str]:
    return [f"val_{name}" for name in loss_labels() if column(rows, f"val_{name}")[0]]


def _quality(one: Prediction) -> dict[str, float | int | None]:
    return {
        "r": one.r if np.isfinite(one.r) else None,
        "mean_absolute_error": one.mean_absolute_error,
        "num_pairs": len(one.true),
        "num_samples": one.num_samples,
    }


def _figures(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    figures = []
    for name, loss in results["best"].items():
        label = loss_labels()[name.removeprefix("val_")]
        where = f"at step {results['best_step']:,}" if name == "val_loss" else f"{label.unit}, at its best"
        figures.append((f"validation: {label.words}", f"{loss:.4g}", where))
    for target, one in results["targets"].items():
        r = "not defined" if one["r"] is None else f"r = {one['r']:.3f}"
        error = f"mean absolute error {one['mean_absolute_error']:.4f}"
        figures.append((METRICS[target].words, r, error))
    if results["samples_per_second"]:
        speed = f"{results['samples_per_second']:,.1f} samples/s, {results['memory_mib'] or 0:,.0f} MiB"
        figures.append(
            ("training", f"{results['steps']:,} steps", f"{results['minutes']:,.1f} minutes, {speed}")
        )
    return figures


def _rows_of(values: Any) -> list[list[str]]:
    if isinstance(values, dict):
        return [[name, _cell(value)] for name, value in values.items()]
    return [[str(number), _cell(value)] for number, value in enumerate(values, 1)]


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(figure: Figure, path: Path) -> str:
    """Save a figure as PNG, and give it as an element that holds the picture itself."""
    content = png(figure)
    replace_file(path, content)
    return embedded_png(content, path.stem)


def draw_distances(prediction: Prediction) -> Figure:
    """Draw predicted against true distances."""
    figure = Figure(figsize=(5.5, 5.5))
    axis = figure.add_subplot()
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
    replace_file(path, png(draw_distances(prediction)))
