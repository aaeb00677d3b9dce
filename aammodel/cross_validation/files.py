"""Files of a cross-validation. Three have the shapes of q2-sample-classifier, so that QIIME 2 imports them.

Formats: https://github.com/qiime2/q2-sample-classifier, `q2_sample_classifier/_format.py`.
`predictions.tsv` is `SampleData[ClassifierPredictions]` or `SampleData[RegressorPredictions]`,
`class_probabilities.tsv` is `SampleData[Probabilities]`, and `importance.tsv` is `FeatureData[Importance]`.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aam_schemas.common.folders import FOLDER, HTML, JSON, PNG, FolderKind, json_or_none
from aam_schemas.common.html import cards, embedded_png, page, png, table
from aam_schemas.common.ids import lost_in_text
from aam_schemas.common.text import shorten
from aam_schemas.common.tsv import write_tsv
from aammodel.cross_validation.result import Crossval
from aammodel.cross_validation.scores import SCORES, score_words
from aammodel.methods.registry import words_of


def _has_metrics(folder: Path) -> bool:
    """Return whether a folder, or each folder of a target in it, has the scores that `crossval` writes."""
    found = [json_or_none(path) for path in (folder / "metrics.json", *folder.glob("target-*/metrics.json"))]
    documents = [each for each in found if each is not None]
    keys = {"target", "task", "folds", "methods"}
    return bool(documents) and all(isinstance(each, dict) and keys <= each.keys() for each in documents)


_FILES: dict[str, bytes | None] = {
    r"metrics\.json": JSON,
    r"report\.html": HTML,
    r"(methods|labels)\.png": PNG,
    r"predictions\.tsv": b"id\tprediction",
    r"class_probabilities\.tsv": b"id\t",
    r"importance\.tsv": b"id\timportance",
    r"folds\.tsv": b"id\trepeat\tfold",
    r"predictions\.parquet": b"PAR1",
}
_LONGEST_NAME = 60
"""Characters of a target in the name of its folder."""
_FOLDER = r"target-[\w.-]+"
CROSSVAL = FolderKind(
    "the output of crossval",
    _has_metrics,
    {**_FILES, _FOLDER: FOLDER, **{f"{_FOLDER}/{name}": begins for name, begins in _FILES.items()}},
)


def folder_names(targets: Sequence[str]) -> dict[str, str]:
    """Return the name of the folder of each of several targets, without special characters.

    Targets that differ have folders that differ, also where a file system ignores case.
    """
    plain = {target: re.sub(r"[^\w.-]", "_", target, flags=re.ASCII)[:_LONGEST_NAME] for target in targets}
    uses = Counter(name.lower() for name in plain.values())
    return {
        target: f"target-{name}"
        if name == target and uses[name.lower()] == 1
        else f"target-{name}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"
        for target, name in plain.items()
    }


def write_crossval(result: Crossval, folder: Path) -> None:
    """Write the predictions, scores, plots and report of a cross-validation into an existing folder."""
    write_tables(result, folder)
    text = json.dumps(
        {"schema_version": 1, **result.as_dict()}, indent=2, ensure_ascii=False, allow_nan=False
    )
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    plots = {"methods.png": png(result.plot()), "labels.png": png(result.plot_labels())}
    for name, content in plots.items():
        (folder / name).write_bytes(content)
    (folder / "report.html").write_bytes(_report(result, plots))


def write_tables(result: Crossval, folder: Path) -> None:
    """Write the tables of a cross-validation into an existing folder, but for those that `lost_ids` names.

    `predictions.tsv` and `class_probabilities.tsv` are of the best method that looks at microbes,
    `predictions.parquet` is of all methods.
    """
    if not _lost(result.sample_ids):
        _write_predictions(result, folder)
        _write_folds(result, folder / "folds.tsv")
    if not _lost(result.asv_ids):
        _write_importance(result, folder / "importance.tsv")
    pq.write_table(all_predictions(result), folder / "predictions.parquet")


def lost_ids(sample_ids: Sequence[str], asv_ids: Sequence[str]) -> list[str]:
    """Return a warning for each kind of ids that QIIME 2 would not read back from a table of text."""
    files = {
        "predictions.tsv, class_probabilities.tsv and folds.tsv are": _lost(sample_ids),
        "importance.tsv is": _lost(asv_ids),
    }
    return [
        f"{words} not written: {lost}. predictions.parquet has all samples"
        for words, lost in files.items()
        if lost
    ]


def _lost(ids: Sequence[str]) -> str:
    return lost_in_text(ids, comments=True)


def _write_predictions(result: Crossval, folder: Path) -> None:
    method, ids = result.best_with_microbes, result.sample_ids
    rows = zip(ids, result.predicted(method), strict=True)
    write_tsv(folder / "predictions.tsv", ("id", "prediction"), rows)
    if result.target.is_classification:
        shares = result.predictions[method].mean.tolist()
        probabilities = ((sample_id, *row) for sample_id, row in zip(ids, shares, strict=True))
        write_tsv(folder / "class_probabilities.tsv", ("id", *result.target.classes), probabilities)


def all_predictions(result: Crossval) -> pa.Table:
    """Return the predictions of all methods as a table with one row per method, repeat and sample."""
    parts = []
    for method, found in result.predictions.items():
        for repeat, values in enumerate(found.values):
            number = len(values)
            columns: dict[str, object] = {
                "method": [method] * number,
                "repeat": [repeat] * number,
                "fold": result.folds.fold[repeat],
                "sample_id": list(result.sample_ids),
                "true": result.true(),
            }
            if result.target.is_classification:
                names = np.array(result.target.classes)
                columns["prediction"] = names[values.argmax(axis=1)]
                columns["probability"] = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
            else:
                columns["prediction"] = values
            parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _write_importance(result: Crossval, path: Path) -> None:
    """Write the mean importance of the ASVs in the fits of the forest, the largest first."""
    importances = (result.predictions[name].importance for name in result.ranking)
    found = next((each for each in importances if each is not None), None)
    if found is not None:
        order = [row for row in np.argsort(-found, kind="stable") if found[row] > 0]
        write_tsv(path, ("id", "importance"), ((result.asv_ids[row], float(found[row])) for row in order))


def _write_folds(result: Crossval, path: Path) -> None:
    groups = result.folds.groups
    rows = (
        (sample_id, repeat + 1, result.folds.fold[repeat, row] + 1, "" if groups is None else groups[row])
        for repeat in range(result.folds.num_repeats)
        for row, sample_id in enumerate(result.sample_ids)
    )
    write_tsv(path, ("id", "repeat", "fold", "group"), rows)


def _report(result: Crossval, plots: dict[str, bytes]) -> bytes:
    first, *others = result.conclusion()
    target = result.target
    figures = [
        ("samples", f"{len(target.values):,}", target.task),
        ("folds", result.folds.words, f"{result.folds.num_repeats} repeat(s)"),
        ("best method", words_of(result.best), ""),
    ]
    if result.p_value is not None:
        figures.append(("p", f"{result.p_value:.3g}", "permuted labels, best method"))
    parts = [_sentence(f"<b>{_escape(first)}</b>"), *map(_sentence, map(_escape, others))]
    parts += [_sentence(f"Warning: {_escape(warning)}") for warning in result.warnings]
    parts += [cards(figures), "<h2>Methods</h2>", embedded_png(plots["methods.png"], "scores of all methods")]
    parts += [_table_of_methods(result)]
    if result.ungrouped is not None:
        parts += [
            "<h2>The same with random folds, which divide groups</h2>",
            _sentence("If these scores are better, methods recognize the group rather than the target."),
            _table_of_methods(result.ungrouped),
        ]
    parts += ["<h2>True and predicted labels, best method with microbes</h2>"]
    parts += [
        f'<section class="plots">{embedded_png(plots["labels.png"], "true and predicted labels")}</section>'
    ]
    return page(f"Cross-validation of {shorten(target.column, 80)}", parts)


def _table_of_methods(result: Crossval) -> str:
    scores = list(SCORES[result.target.task])
    rows = []
    for name in result.ranking:
        intervals = (result.interval(name, score) for score in scores)
        cells = [f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for each in intervals]
        behind = result.difference(name, result.best)
        cells.append(
            "-" if name == result.best else f"{behind.value:+.3f} ({behind.low:+.3f} to {behind.high:+.3f})"
        )
        rows.append([words_of(name), *cells])
    heads = ["method", *map(score_words, scores), f"difference from the best in {score_words(scores[0])}"]
    return table(rows, heads)


def _sentence(html: str) -> str:
    return f"<p>{html}</p>"


def _escape(text: str) -> str:
    from html import escape

    return escape(text)
