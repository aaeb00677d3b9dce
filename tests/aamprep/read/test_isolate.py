"""Files are read in a child process. A file that crashes it gets a finding. Faults of the system do not."""

import gzip
import json
import os
import random
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from aam_schemas.common.errors import UsageError
from aamprep.read import (
    child,
    read_distances,
    read_metadata,
    read_sequences,
    read_table,
    read_taxonomy,
    read_tree,
)
from aamprep.read.biom import hdf5
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import SAMPLES, as_json, dense, write_hdf5
from tests.helpers.limited import descendants, end_with, run_limited, start_aamprep
from tests.helpers.programs import loaded_after


def test_too_little_memory_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "t.biom.gz"
    path.write_bytes(gzip.compress(json.dumps(as_json()).encode() + b" " * (200 << 20), 1))
    findings = Findings()
    assert read_table(path, findings, limits=Limits(memory_bytes=180 << 20)) is None
    assert [finding.rule for finding in findings.found] == [rules.READER_CRASHED]
    assert findings.found[0].value.startswith("the reader needed more than ")


def test_too_little_time_is_a_finding(tmp_path: Path) -> None:
    path, findings = tmp_path / "f.fasta", Findings()
    path.write_text(">a\nACGT\n")
    assert read_sequences(path, findings, limits=Limits(seconds=1e-5)) is None
    assert [finding.rule for finding in findings.found] == [rules.READER_CRASHED]
    assert findings.found[0].value == "not read within 0 seconds"


def test_modules_in_the_users_folder_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "h5py", "json", "aamprep"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__name__} of the user was run')")
    write_hdf5(tmp_path / "t.biom")
    monkeypatch.chdir(tmp_path)
    findings = Findings()
    assert read_table(Path("t.biom"), findings) is not None
    assert findings.found == []


def test_tables_of_paths_with_odd_names_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "a b{0} 'q\" \u00e9"
    folder.mkdir()
    findings = Findings()
    table = read_table(write_hdf5(folder / "-t;.biom"), findings)
    assert findings.found == []
    assert dense(table).sum() == 15


def test_the_child_process_imports_no_heavy_library(tmp_path: Path) -> None:
    heavy = {"polars", "pandera", "pyarrow", "biom", "scipy", "torch", "skbio", "pandas"}
    assert loaded_after([child, hdf5], heavy, tmp_path) == set()


TEXTS = {
    "rep-seqs": (read_sequences, ">a\nACGT\n>b\nGG\n"),
    "tree": (read_tree, "((a:1,'b''c':2)0.9:0.5,d);"),
    "metadata": (read_metadata, "id\tage\tsex\tn\nS1\t4\t\u00e9\t\nS2\t5\t\t\n"),
    "metadata without columns": (read_metadata, "id\nS1\nS2\n"),
    "distances": (read_distances, "\ta\tb\na\t0\t1\nb\t1\t0\n"),
    "taxonomy": (read_taxonomy, "Feature ID\tTaxon\na\tk__B\nb\tk__C\n"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_child_returns_what_this_process_reads(tmp_path: Path, name: str) -> None:
    reader, text = TEXTS[name]
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    found = [Findings(), Findings()]
    here, child = (
        reader(path, findings, isolate=isolate)
        for findings, isolate in zip(found, (False, True), strict=True)
    )
    assert found[0].found == found[1].found
    assert vars(here).keys() == vars(child).keys()
    for field, value in vars(here).items():
        np.testing.assert_equal(vars(child)[field], value)
        assert type(vars(child)[field]) is type(value)


@pytest.mark.parametrize("reader", [read_table, *(reader for reader, _ in TEXTS.values())])
@pytest.mark.parametrize("kind", ["fifo", "device", "missing", "below a file"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: type, kind: str) -> None:
    path = {"device": Path("/dev/zero"), "below a file": Path(__file__) / "x"}.get(kind, tmp_path / kind)
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(UsageError) as error:
        reader(path, Findings())
    assert error.value.where == str(path)


@pytest.mark.parametrize("reader", [read_table, *(reader for reader, _ in TEXTS.values())])
def test_a_large_sparse_file_is_refused_unread(tmp_path: Path, reader: type) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(40 << 30)
    findings, start = Findings(), time.monotonic()
    assert reader(path, findings) is None
    assert [finding.rule for finding in findings.found] == [rules.FILE_TOO_LARGE]
    assert time.monotonic() - start < 20


def test_a_file_that_grows_is_told(tmp_path: Path) -> None:
    path = tmp_path / "f.fasta"
    path.write_text(">a\nACGT\n" * 200_000)
    is_done = threading.Event()

    def grow() -> None:
        with path.open("a") as file:
            while not is_done.wait(0.001):
                file.write(">a\nACGT\n")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(UsageError, match="changed while it was read"):
            read_sequences(path, Findings())
    finally:
        is_done.set()
        writer.join()


def test_a_descriptor_of_this_process_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.fasta"
    path.write_text(">a\nACGT\n")
    with path.open() as file:
        sequences = read_sequences(Path(f"/dev/fd/{file.fileno()}"), Findings())
    assert sequences.by_id == {"a": "ACGT"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with a small table and its metadata."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_hdf5(folder / "table.biom")
    (folder / "metadata.tsv").write_text("id\tage\n" + "".join(f"{name}\t4\n" for name in SAMPLES))
    (folder / "tmp").mkdir()
    return folder


LIMITS = {
    "3 GB of memory": (resource.RLIMIT_AS, 3_000_000_000),
    "little memory": (resource.RLIMIT_AS, 700_000_000),
    "32 open files": (resource.RLIMIT_NOFILE, 32),
    "16 open files": (resource.RLIMIT_NOFILE, 16),
    "9 open files": (resource.RLIMIT_NOFILE, 9),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_the_system_are_no_damage_of_a_file(study: Path, name: str) -> None:
    ran = run_limited("validate", folder=study, limits=dict([LIMITS[name]]), temporary=study / "tmp")
    assert ran.returncode in (0, 2), ran.stdout + ran.stderr
    assert "reader-crashed" not in ran.stdout
    assert ran.returncode == 0 or "Fix: " in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list((study / "tmp").iterdir()) == []


# Programs are stopped by SIGTERM and SIGINT in tests/programs/test_surroundings.py, too.
@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.long) for n in (signal.SIGTERM, signal.SIGINT))],
)
def test_no_process_and_no_folder_outlives_a_kill(study: Path, number: signal.Signals) -> None:
    (study / "tree.nwk").write_text("(" * 1_000_000 + "a" + ")" * 1_000_000 + ";")
    temporary = study / "tmp"
    chance = random.Random(0)
    for _ in range(3):
        process = start_aamprep("validate", folder=study, temporary=temporary)
        deadline = time.monotonic() + 60
        while not descendants(process.pid) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1))
        assert end_with(process, number) == set()
        if number != signal.SIGKILL:
            assert list(temporary.iterdir()) == []
    (study / "tree.nwk").unlink()
    assert run_limited("validate", folder=study, temporary=temporary).returncode == 0
    assert list(temporary.iterdir()) == []
