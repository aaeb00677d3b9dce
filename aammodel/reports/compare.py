"""Compare runs: the settings in which they differ, and their results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

from aam_schemas.common.errors import UsageError
from aam_schemas.common.html import embedded_png, page, png, table
from aam_schemas.common.publish import replace_file
from aam_schemas.common.text import format_number, shorten
from aammodel.distances.metrics import METRICS
from aammodel.objectives.registry import loss_defining_keys, loss_labels
from aammodel.reports.curves import RUN_COLORS, draw_runs
from aammodel.reports.run_report import RESULTS_FILE, flatten, results_of
from aammodel.runs.config_file import read_config_of, read_results
from aammodel.runs.metrics_log import Row, read_metrics

_MISSING = "-"
_LABELS = {"best_step": "best step", "samples_per_second": "samples per second", "memory_mib": "memory (MiB)"}


@dataclass(frozen=True)
class Run:
    """A run: its configuration, its metrics, and its results so far."""

    name: str
    config: dict[str, Any]
    results: dict[str, Any]
    rows: list[Row]


@dataclass(frozen=True)
class Comparison:
    """Settings and results of several runs, in the order of the runs."""

    runs: tuple[str, ...]
    differences: dict[str, list[Any]]
    """Settings that differ between runs, by name, such as `train.learning_rate`. A value per run."""
    results: dict[str, list[Any]]
    """Best validation losses, r of each target, steps, minutes and so on, by name. A value per run, which is
    None if it is not known yet."""

    @property
    def conclusion(self) -> str:
        """Sentence that tells whether the losses can be compared, given the differences."""
        if len(self.runs) == 1:
            return "There is one run: name others to compare it with."
        if not self.differences:
            return "These runs have the same configuration."
        keys = {name.split(".")[1] for name in self.differences if name.startswith("train.")}
        changed = sorted(keys & loss_defining_keys())
        if "shards.manifest_sha256" in self.differences:
            changed.append("shards")
        return (
            f"Their losses cannot be compared, since these differ: {', '.join(changed)}." if changed else ""
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as `--json` prints it."""
        return asdict(self)


def read_run(folder: Path) -> Run:
    """Read a run, finished or not.

    Raises
    ------
    UsageError
        If there is no such run, or if it has no metrics yet.
    InvalidDataError
        If a file of the run is damaged.
    """
    config = read_config_of(folder)
    rows = read_metrics(folder)
    if not rows:
        raise UsageError("this run has no metrics yet", str(folder), "wait for its first step, or resume it")
    results = results_of(rows, [], config)
    stored = read_results(folder / RESULTS_FILE)
    if stored is not None:
        results["targets"] = stored["targets"]
    return Run(str(folder), config, results, rows)


def compare(runs: Sequence[str | PathLike[str]], *, report: str | PathLike[str] | None = None) -> Comparison:
    """Compare runs: the settings in which they differ, and their results.

    Parameters
    ----------
    runs : sequence of path
        Run folders, finished or not.
    report : path, optional
        HTML page to write, with tables and curves.

    Raises
    ------
    UsageError
        If there is no such run, it has no metrics yet, or the page cannot be written there.
    InvalidDataError
        If a file of a run is damaged.
    """
    page_path = None if report is None else _checked_page(Path(report))
    read = [read_run(Path(run)) for run in runs]
    comparison = compare_read(read)
    if page_path is not None:
        replace_file(page_path, as_page(comparison, read))
    return comparison


def _checked_page(path: Path) -> Path:
    if path.suffix != ".html":
        raise UsageError(
            "the file for --report does not end in .html", str(path), f"name it {path.name}.html"
        )
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", str(path.parent), "create it, or choose another")
    return path


def compare_read(runs: Sequence[Run]) -> Comparison:
    """Return the settings in which runs differ, and their results."""
    settings = [flatten(run.config) for run in runs]
    names = dict.fromkeys(name for setting in settings for name in setting)
    differences = {name: [setting.get(name) for setting in settings] for name in names}
    differences = {
        name: values for name, values in differences.items() if any(v != values[0] for v in values)
    }
    return Comparison(tuple(run.name for run in runs), differences, _results(runs))


def as_rows(values: dict[str, list[Any]]) -> list[list[str]]:
    """Return a table row for each name: its label, and the value of each run."""
    return [[_label(name), *map(_cell, each)] for name, each in values.items()]


def as_page(comparison: Comparison, runs: Sequence[Run]) -> bytes:
    """Return the HTML page of a comparison: tables, and plots with the curves of all runs."""
    names = _short_names(comparison.runs)
    # The colors are the legend of the curves.
    colors = {n: RUN_COLORS[(n - 1) % len(RUN_COLORS)] for n in range(1, len(names) + 1)}
    figure = draw_runs({name: run.rows for name, run in zip(names, runs, strict=True)})
    parts = ["<h2>Results</h2>", table(as_rows(comparison.results), ["", *names], colors)]
    parts += ["<h2>Losses and learning rate</h2>", embedded_png(png(figure), "losses of all runs")]
    parts += ["<h2>Differences in configuration</h2>"]
    parts += [f"<p>{escape(comparison.conclusion)}</p>"] if comparison.conclusion else []
    if comparison.differences:
        parts += [table(as_rows(comparison.differences), ["", *names], colors)]
    return page(f"{len(names)} runs compared", parts)


def _results(runs: Sequence[Run]) -> dict[str, list[Any]]:
    best = {f"val_{name}": [run.results["best"].get(f"val_{name}") for run in runs] for name in loss_labels()}
    results = {name: values for name, values in best.items() if any(value is not None for value in values)}
    for target in dict.fromkeys(target for run in runs for target in run.results["targets"]):
        results[f"{target} r"] = [run.results["targets"].get(target, {}).get("r") for run in runs]
    for name in ("best_step", "steps", "minutes", "samples_per_second", "memory_mib"):
        results[name] = [run.results[name] for run in runs]
    return results


def _label(name: str) -> str:
    if name.startswith("val_"):
        return f"best validation {loss_labels().get(name.removeprefix('val_'), name)}"
    target, _, quantity = name.partition(" ")
    if target in METRICS and quantity:
        return f"{METRICS[target].words}: {quantity}"
    return _LABELS.get(name, name)


def _cell(value: Any) -> str:
    if value is None:
        return _MISSING
    return format_number(value) if isinstance(value, float) else shorten(value)


def _short_names(names: Sequence[str]) -> list[str]:
    """Return the folder name of each run, or the whole paths if two folder names are equal."""
    short = [Path(name).resolve().name for name in names]
    return short if len(set(short)) == len(short) else list(names)
