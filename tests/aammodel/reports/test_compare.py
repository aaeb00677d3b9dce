"""`aammodel compare` and the report of a run: correct figures, reproducible bytes, no network."""

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aammodel.evaluation.distances import Prediction
from aammodel.reports.compare import read_run
from aammodel.reports.curves import draw_run, draw_runs
from aammodel.reports.run_report import results_of, write_report
from tests.helpers.studies import Programs

CONFIG: dict[str, Any] = {
    "model": {"width": 16, "targets": ["unweighted_unifrac"]},
    "train": {"learning_rate": 0.1, "seed": 0},
    "shards": {"folder": "a", "manifest_sha256": "f00"},
    "versions": {"torch": "2"},
}


def write_run(folder: Path, scale: float = 1.0, num_steps: int = 120, **train: object) -> Path:
    """Write the files of a simulated run. Its losses fall from 3 to 1, times a factor."""
    folder.mkdir()
    config = CONFIG | {"train": CONFIG["train"] | train}
    (folder / "config.json").write_text(json.dumps(config))
    rows: list[dict[str, Any]] = []
    for step in range(1, num_steps + 1):
        loss = scale * (1 + 2 * (1 - step / num_steps))
        rows.append({"step": step, "loss": loss, "nucleotide_loss": loss / 2, "seconds": 0.5})
        rows[-1] |= {"learning_rate": 0.1, "samples_per_second": 10.0 + step % 3, "memory_mib": 100.0 + step}
        if step % 40 == 0:
            rows.append({"step": step, "val_loss": 2 * loss, "val_nucleotide_loss": loss, "seconds": 6.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def prediction(num_pairs: int = 500) -> Prediction:
    true = np.linspace(0.1, 0.9, num_pairs)
    return Prediction("unweighted_unifrac", 0.9 * true + 0.02 * np.sin(97 * true), true, 33)


def test_results_are_those_of_the_metrics(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    results = results_of(rows, [prediction()], {})
    assert (results["steps"], results["best_step"]) == (120, 120)
    assert results["best"] == {"val_loss": 2.0, "val_nucleotide_loss": 1.0}
    assert results["minutes"] == pytest.approx((120 * 0.5 + 3 * 6) / 60)
    assert (results["samples_per_second"], results["memory_mib"]) == (11.0, 220.0)
    expected = prediction()
    quality = results["targets"]["unweighted_unifrac"]
    assert quality["r"] == pytest.approx(np.corrcoef(expected.true, expected.predicted)[0, 1])
    assert quality["mean_absolute_error"] == pytest.approx(np.abs(expected.true - expected.predicted).mean())


def test_the_best_loss_is_among_comparable_losses(tmp_path: Path) -> None:
    """A change of the loss's definition on resume makes earlier losses incomparable."""
    rows: list[Any] = [{"step": step, "val_loss": loss} for step, loss in enumerate([3, 1, 2, 9, 8, 7.5])]
    longer = {"until_step": 4, "was": {"max_steps": 4}}
    heavier = {"until_step": 2, "was": {"distance_weight": 0.3}}
    for changes, step, loss in (([longer], 1, 1), ([heavier, longer], 5, 7.5)):
        results = results_of(rows, [], {"changes": changes})
        assert (results["best_step"], results["best"]) == (step, {"val_loss": loss})
    run = write_run(tmp_path / "run")
    (run / "config.json").write_text(json.dumps(CONFIG | {"changes": [heavier | {"until_step": 119}]}))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(row | {"val_loss": 0.1} if row["step"] == 40 else row) + "\n" for row in rows)
    )
    assert read_run(run).results["best_step"] == 120


def test_the_same_run_has_the_same_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pages = []
    for _ in range(2):
        write_report(run, CONFIG, [prediction()])
        pages.append({path.name: path.read_bytes() for path in run.iterdir()})
    assert pages[0] == pages[1]
    page = pages[0]["report.html"].decode()
    assert page.count("<img") == page.count("data:image/png;base64,") == 2
    assert not any(text in page for text in ("http:", "https:", "<script", "<link", "@import"))
    assert all(text in page for text in ("f00", "manifest_sha256", "learning_rate", "r = 0.99"))


def test_the_page_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_run(tmp_path / "careful"))
    write_report(Path(), CONFIG, [])
    assert "Pretraining: careful" in Path("report.html").read_text()


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "<b>run", seed="<script>")
    write_report(run, json.loads((run / "config.json").read_text()), [])
    page = (run / "report.html").read_text()
    assert "<script" not in page
    assert "<b>run" not in page


def test_curves_show_the_losses(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    loss, bases, rate = draw_run(rows).axes
    assert [axes.get_title(loc="left") for axes in (loss, bases, rate)] == [
        "loss",
        "masked bases: cross-entropy (nats)",
        "learning rate",
    ]
    raw, smooth, validation = (line.get_xydata() for line in loss.lines)
    assert raw.tolist() == [[row["step"], row["loss"]] for row in rows if "loss" in row]
    # The running mean of a straight line over 3 steps is its value in the middle.
    np.testing.assert_allclose(smooth[:, 1], raw[1:-1, 1])
    assert smooth[:, 0].tolist() == raw[2:, 0].tolist()
    assert validation.tolist() == [[row["step"], row["val_loss"]] for row in rows if "val_loss" in row]
    assert len(draw_runs({"a": rows, "b": rows}).axes[0].lines) == 6


def test_runs_are_compared(run: Programs, tmp_path: Path) -> None:
    good, bad = write_run(tmp_path / "good"), write_run(tmp_path / "bad", 1.5, 80, learning_rate=0.2)
    write_report(good, CONFIG, [prediction()])
    ran = run("aammodel", "compare", good, bad, "--json", "--report", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["runs"] == [str(good), str(bad)]
    assert document["differences"] == {"train.learning_rate": [0.1, 0.2]}
    assert document["results"]["val_loss"] == [2.0, 3.0]
    assert document["results"]["unweighted_unifrac r"] == [pytest.approx(prediction().r), None]
    assert document["results"]["steps"] == [120, 80]
    assert document["results"]["minutes"] == [pytest.approx(1.3), pytest.approx((80 * 0.5 + 2 * 6) / 60)]
    page = (tmp_path / "page.html").read_text()
    assert "data:image/png;base64," in page
    assert all(text in page for text in ("good", "bad", "train.learning_rate", "0.2"))
    assert "train.seed" not in page
    words = run("aammodel", "compare", good, bad).out
    lines = {line.split("  ")[0]: line.split()[-2:] for line in words.splitlines() if line}
    assert lines["train.learning_rate"] == ["0.1", "0.2"]
    assert lines["best validation loss"] == ["2", "3"]
    assert lines["unweighted UniFrac: r"][1] == "-"


def test_runs_with_the_same_configuration(run: Programs, tmp_path: Path) -> None:
    ran = run("aammodel", "compare", write_run(tmp_path / "a"), write_run(tmp_path / "b"))
    assert ran.code == 0
    assert "the same configuration" in ran.out
    ran = run("aammodel", "compare", tmp_path / "a")
    assert "There is one run" in ran.out
    assert "same configuration" not in ran.out


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"learning_rate": 0.2}, ""),
        ({"seed": 1}, ""),
        ({"nucleotide_weight": 0.5}, "nucleotide_weight"),
        ({"targets": {"braycurtis": 1.0}}, "targets"),
    ],
)
def test_losses_that_cannot_be_compared_are_named(
    run: Programs, tmp_path: Path, train: dict[str, Any], words: str
) -> None:
    first = write_run(tmp_path / "a", targets={"unweighted_unifrac": 1.0}, nucleotide_weight=1.0)
    other = {"targets": {"unweighted_unifrac": 1.0}, "nucleotide_weight": 1.0} | train
    ran = run("aammodel", "compare", first, write_run(tmp_path / "b", **other))
    found = f"cannot be compared, since these differ: {words}." in ran.out
    assert found == bool(words)


ODD_NAMES = ["_run", "$x$", "$", "<script>alert(1)</script>", "#aa0000 x", "[bold]x", "{}", "%s", "a\\$b$"]


def test_curves_have_the_name_of_every_run(tmp_path: Path) -> None:
    rows = read_run(write_run(tmp_path / "run")).rows
    figure = draw_runs(dict.fromkeys(ODD_NAMES, rows))
    for axes in figure.axes[:-1]:
        legend = axes.get_legend()
        assert legend is not None
        texts = legend.get_texts()
        assert len(texts) == len(ODD_NAMES)
        for text, name in zip(texts, ODD_NAMES, strict=True):
            shown, is_math = text._preprocess_math(text.get_text())
            assert (shown.strip(), is_math) == (name, False)


def test_the_page_has_the_name_of_every_run(tmp_path: Path, run: Programs) -> None:
    runs = [write_run(tmp_path / name.replace("/", "|")) for name in ODD_NAMES]
    ran = run("aammodel", "compare", *runs, "--report", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    headings = re.findall(r"<th><i class=\"key\" style=\"background: #[0-9a-f]{6}\"></i>(.*?)</th>", page)
    assert [html.unescape(name) for name in headings[: len(runs)]] == [path.name for path in runs]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing argument"),
        (["absent"], 2, "not a run folder"),
        (["run", "empty"], 2, "no metrics yet"),
        (["run", "--report", "page.pdf"], 2, "does not end in .html"),
        (["run", "--report", "absent/page.html"], 2, "no such folder"),
        (["damaged"], 1, "results.json: this is not valid JSON"),
    ],
)
def test_wrong_usage_is_refused(
    run: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("run"))
    write_run(Path("empty"), num_steps=0)
    write_run(Path("damaged"))
    Path("damaged", "results.json").write_text("{")
    ran = run("aammodel", "compare", *arguments)
    assert ran.code == code
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
