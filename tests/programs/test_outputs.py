"""A place that cannot be written to, or takes no more, is told as what it is, and nothing is left behind."""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.studies import (
    Programs,
    random_counts,
    random_newick,
    random_sequences,
    write_table,
    write_table_with_an_empty_sample,
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with table.biom and tree.nwk in it, and a folder for temporary files."""
    sequences = random_sequences(20)
    write_table(tmp_path, random_counts(12, 20), sequences)
    (tmp_path / "tree.nwk").write_text(random_newick(sequences))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "cache").mkdir()  # where matplotlib keeps its list of fonts
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("arguments", "size", "words"),
    [
        (["validate"], 200, "can be written to this disk: File too large Fix: free some space"),
        (["validate", "--no-isolate"], 200, "or set TMPDIR"),
        (["validate", "--no-isolate"], 100, "or set TMPDIR"),
        (["shard"], 4000, "shards: no more data can be written to this disk"),
        (["validate", "--report", "r.html"], 9000, "r.html: this output cannot be written: File too large"),
    ],
)  # fmt: skip
def test_a_full_disk_is_no_fault_of_the_data(
    arguments: list[str], size: int, words: str, study: Path, run: Programs
) -> None:
    before = sorted(os.listdir())
    with disk_of(size):
        ran = run("aamprep", *arguments)
    assert ran.code == 2, ran.err
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert sorted(os.listdir()) == before
    assert os.listdir("tmp") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["root", "tree.nwk", "--output", "absent/x.nwk"],
        ["root", "tree.nwk", "--output", "tmp", "--overwrite"],
        ["validate", "--report", "d.html"],
        ["validate", "--report", "/proc/x.html"],
    ],
)
def test_a_file_that_cannot_be_written_is_2(arguments: list[str], study: Path, run: Programs) -> None:
    (study / "d.html").mkdir()
    before = sorted(os.listdir())
    ran = run("aamprep", *arguments)
    assert ran.code == 2, ran.err
    assert next(argument for argument in arguments[2:] if not argument.startswith("--")) in ran.err
    assert "Traceback" not in ran.err
    assert sorted(os.listdir()) == before


def test_findings_are_printed_if_the_report_cannot_be_written(study: Path, run: Programs) -> None:
    write_table_with_an_empty_sample(study)
    ran = run("aamprep", "validate", "--report", "/proc/x.html")
    assert ran.code == 2
    assert "sample-empty" in ran.out
