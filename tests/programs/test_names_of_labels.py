"""Names of columns and classes are data in every file of a cross-validation."""

import csv
import html.parser
import json
import shlex
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aammodel
import aamprep
from aammodel.cross_validation.files import folder_names, write_crossval
from aammodel.cross_validation.result import Crossval
from aamprep.read.metadata import is_id_header
from tests.helpers.names import NAMES, names
from tests.helpers.studies import Programs, random_counts, random_sequences, write_table

SAMPLES = 12


class _Texts(html.parser.HTMLParser):
    """Collects the tags and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def write_labels(folder: Path, target: str, group: str, classes: list[str]) -> Path:
    """Write shards whose samples have a class each, in groups of one more name."""
    counts = random_counts(SAMPLES, 8, density=0.7)
    table = write_table(folder, counts, random_sequences(8))
    ids = pl.Series([f"S{n}" for n in range(SAMPLES)])
    with (folder / "m.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerow(["sample-id", target, group])
        writer.writerow(["#q2:types", "categorical", "categorical"])
        # Each class is in several groups, and each group has several samples.
        for n, name in enumerate(ids):
            writer.writerow([name, classes[n % len(classes)], classes[n // 3 % len(classes)]])
    aamprep.shard(table, metadata=folder / "m.tsv", output=folder / "shards")
    return folder / "shards"


def read_tsv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def assert_names_are_kept(result: Crossval, folder: Path, target: str, classes: set[str]) -> None:
    """Assert that each file of a cross-validation has the names, character by character."""
    write_crossval(result, folder)
    assert set(result.target.classes) == classes
    header, *rows = read_tsv(folder / "predictions.tsv")
    assert header == ["id", "prediction"]
    assert {row[1] for row in rows} <= classes
    assert read_tsv(folder / "class_probabilities.tsv")[0] == ["id", *sorted(classes)]
    assert {row[3] for row in read_tsv(folder / "folds.tsv")[1:]} <= classes | {""}
    document = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (document["target"], set(document["classes"])) == (target, classes)
    assert set(pl.read_parquet(folder / "predictions.parquet")["true"]) == classes
    page = _Texts((folder / "report.html").read_text(encoding="utf-8"))
    assert page.tags.isdisjoint({"script", "bold", "x"})


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_names_of_columns_and_classes_are_kept_everywhere(data: st.DataObject) -> None:
    drawn = [name for name in data.draw(names()) if name.strip() == name]
    columns = [name for name in drawn if not is_id_header(name)]
    classes = data.draw(st.permutations(drawn))[:3]
    if len(columns) < 2 or len(classes) < 3:
        return
    with tempfile.TemporaryDirectory() as folder:
        shards = write_labels(Path(folder), columns[0], columns[1], classes)
        stored = list(aamprep.open_shards(shards).metadata().columns[1:])
        result = aammodel.crossval(
            shards, stored[0], group_by=stored[1], methods=["no_microbes"], folds=2, draws=5
        )
        (Path(folder) / "found").mkdir()
        assert_names_are_kept(result, Path(folder) / "found", stored[0], set(classes))


@pytest.mark.parametrize("start", range(0, len(NAMES), 40))
@pytest.mark.long
def test_every_odd_name_is_a_class(tmp_path: Path, start: int) -> None:
    for number, name in enumerate(NAMES[start : start + 40]):
        place = tmp_path / str(number)
        place.mkdir()
        classes = [name, "first", "second"]
        shards = write_labels(place, "label", "other", classes)
        result = aammodel.crossval(shards, "label", methods=["no_microbes"], folds=2, draws=5)
        assert_names_are_kept(result, place, "label", set(classes))


def test_the_command_prints_names_as_they_are(run: Programs, tmp_path: Path) -> None:
    shards = write_labels(tmp_path, "[bold]$x$", "=1+1", ["<b>", "_x", ":smile:"])
    given = ("--target", "[bold]$x$", "--group-by", "=1+1", "--method", "no_microbes", "--folds", 2)
    ran = run("aammodel", "crossval", shards, *given, "--draws", 5, "--output", tmp_path / "found")
    assert ran.code == 0, ran.err
    assert "[bold]$x$: 12 samples, 2 folds of whole groups (3 of =1+1)" in ran.out


def test_the_group_that_is_suggested_can_be_pasted(run: Programs, tmp_path: Path) -> None:
    shards = write_labels(tmp_path, "label", "the subject's id", ["a", "b", "c"])
    given = ("--target", "label", "--method", "no_microbes", "--folds", 2, "--draws", 5)
    ran = run("aammodel", "crossval", shards, *given, "--output", tmp_path / "found")
    advised = ran.err[ran.err.index("--group-by") :].partition(", or another")[0]
    assert shlex.split(advised) == ["--group-by", "the subject's id"]
    ran = run("aammodel", "crossval", shards, *given, *shlex.split(advised), "--output", tmp_path / "again")
    assert ran.code == 0
    assert "look grouped" not in ran.err


@given(st.lists(st.one_of(st.sampled_from(NAMES), st.text(min_size=1)), min_size=1, max_size=5, unique=True))
def test_targets_have_folders_of_their_own(targets: list[str]) -> None:
    found = folder_names(targets)
    assert list(found) == targets
    assert len({name.lower() for name in found.values()}) == len(targets)
    assert all(len(name) < 100 and "/" not in name for name in found.values())
