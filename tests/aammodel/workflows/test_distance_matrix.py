"""`aammodel distances`: matrices against scipy, formats as other software reads them, refused options."""

import os
import re
import resource
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix

from aam_schemas.common.errors import UsageError
from aam_schemas.common.files import Files
from aam_schemas.common.names import host
from aammodel.workflows import distance_matrix as matrix_module
from aammodel.workflows.matrix_files import published_matrix
from tests.helpers.programs import command
from tests.helpers.shards import counts_by_sample, make_shards
from tests.helpers.studies import Programs, Ran


def ids_in_order(shards: Path) -> list[str]:
    files = [*sorted(shards.glob("samples-*.parquet"))]
    by_split = {split: [f for f in files if split in f.name] for split in ("train", "validation", "test")}
    return [name for files in by_split.values() for f in files for name in pl.read_parquet(f)["sample_id"]]


@pytest.mark.parametrize("device", [(), ("--device", "cpu")])
def test_a_matrix_is_equal_in_all_formats_and_blocks(
    run: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: tuple[str, ...]
) -> None:
    """The reference is computed from the table. Blocks are one row group each, or all of them."""
    shards = make_shards(run, tmp_path, "--token-limit", 4).folder
    for name in ("whole.tsv", "whole.h5", "whole.npy"):
        ran = run(
            "aammodel", "distances", shards, "--metric", "braycurtis", "--output", tmp_path / name, *device
        )
        assert ran.code == 0, ran.err
    read = DistanceMatrix.read(str(tmp_path / "whole.tsv"))
    assert sorted(read.ids) == sorted(ids_in_order(shards))
    expected = squareform(pdist(np.array([counts_by_sample()[name] for name in read.ids]), "braycurtis"))
    np.testing.assert_allclose(read.data, expected, atol=1e-12)
    with h5py.File(tmp_path / "whole.h5") as file:
        assert [name.decode() for name in file["order"][:]] == list(read.ids)
        np.testing.assert_array_equal(file["matrix"][:], read.data)
    assert (tmp_path / "whole.ids.txt").read_text().split() == list(read.ids)
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), read.data)
    monkeypatch.setattr(matrix_module, "SAMPLES_PER_BLOCK", 1)
    ran = run(
        "aammodel", "distances", shards, "--metric", "braycurtis", "--output", tmp_path / "b.npy", *device
    )
    assert ran.code == 0, ran.err
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), read.data, atol=1e-12)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_one_split_and_faith_pd(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    options = ("--metric", "faith_pd", "--output", tmp_path / "faith.tsv", "--split", "train")
    assert run("aammodel", "distances", shards, *options).code == 0
    header, *lines = (tmp_path / "faith.tsv").read_text().splitlines()
    assert header == "\tfaith_pd"
    lengths = pl.read_parquet(shards / "tree.parquet")["length"].to_numpy()
    files = sorted(shards.glob("samples-train-*.parquet"))
    rows = pl.read_parquet(files)[["sample_id", "branch"]].rows()
    expected = [(name, lengths[branch].sum()) for name, branch in rows]
    written = [(name, float(value)) for name, value in (line.split("\t") for line in lines)]
    assert [name for name, _ in written] == [name for name, _ in expected]
    assert [value for _, value in written] == pytest.approx([value for _, value in expected])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--metric", "unifrac"), 2, "choose among"),
        (("--metric", "precomputed"), 2, "--distances"),
        (("--split", "rest"), 2, "no split"),
        (("--output", "x.csv"), 2, ".tsv"),
        (("--output", "tree.nwk"), 2, "--overwrite"),
        (("--output", "shards", "--overwrite"), 2, "a folder, not a file"),
        (("--output", "nofolder/x.tsv"), 2, "no such folder"),
        (("--output", "y.npy"), 2, "y.ids.txt"),
        (("--split", "validation"), 1, "no validation sample"),
        (("--split", "validation", "--metric", "faith_pd"), 1, "no validation sample"),
    ],
)
def test_wrong_usage_is_refused(
    run: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    make_shards(run, tmp_path, num_samples=3)  # all of them training samples
    monkeypatch.chdir(tmp_path)
    Path("y.ids.txt").write_text("ours\n")
    ran = run(
        "aammodel", "distances", "shards", *options, *(() if "--output" in options else ("--output", "x.tsv"))
    )
    assert ran.code == code, ran.err
    assert words in ran.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".x", "x."))]


@pytest.fixture
def shards(run: Programs, tmp_path: Path) -> Path:
    return make_shards(run, tmp_path).folder


def write(run: Programs, shards: Path, name: str, *options: object) -> Ran:
    output = shards.parent / name
    return run("aammodel", "distances", shards, "--metric", "braycurtis", "--output", output, *options)


@pytest.mark.parametrize("name", ["d.npy", "d.tsv", "d.h5"])
def test_distances_are_replaced_by_distances(run: Programs, shards: Path, name: str) -> None:
    for options, code in (((), 0), ((), 2), (("--overwrite", "--split", "train"), 0), (("--overwrite",), 0)):
        assert write(run, shards, name, *options).code == code
    assert (
        run("aammodel", "distances", shards, "--metric", "faith_pd", "--output", shards.parent / "f.tsv").code
        == 0
    )
    assert write(run, shards, "f.tsv", "--overwrite").code == 0


@pytest.mark.parametrize("name", ["d.npy", "d.tsv", "d.h5"])
@pytest.mark.parametrize("content", [b"thesis", b"", b"PK\x03\x04 something else", b"\tage\nS1 30\n"])
def test_another_file_is_not_replaced(run: Programs, shards: Path, name: str, content: bytes) -> None:
    path = shards.parent / name
    path.write_bytes(content)
    ran = write(run, shards, name, "--overwrite")
    assert (ran.code == 2) == (path.read_bytes() == content)
    assert ran.code == 2 or name.endswith(".tsv")
    np.save(shards.parent / "other.npy", np.zeros((3, 4)))
    assert write(run, shards, "other.npy", "--overwrite").code == 2
    assert np.load(shards.parent / "other.npy").shape == (3, 4)


def test_ids_of_something_else_are_not_replaced(run: Programs, shards: Path) -> None:
    assert write(run, shards, "d.npy").code == 0
    ids = shards.parent / "d.ids.txt"
    with ids.open("a") as file:
        file.write("a note\n")
    assert write(run, shards, "d.npy", "--overwrite").code == 2
    ids.unlink()
    assert write(run, shards, "d.npy", "--overwrite").code == 0
    ids.unlink()
    ids.symlink_to(shards.parent / "table.biom")
    assert write(run, shards, "d.npy", "--overwrite").code == 2


def test_a_planted_link_is_not_written_through(run: Programs, shards: Path) -> None:
    folder = shards.parent
    (folder / "thesis").write_text("years of work")
    for name in (f".d.npy.{os.getpid()}", f".d.npy.tmp-{host()}-{'0' * 16}", "d.tsv"):
        (folder / name).symlink_to(folder / "thesis")
    assert write(run, shards, "d.npy").code == 0
    assert write(run, shards, "d.tsv", "--overwrite").code == 2
    assert (folder / "thesis").read_text() == "years of work"


def test_nothing_is_written_into_the_shards(run: Programs, shards: Path) -> None:
    assert write(run, shards, "shards/distances.npy").code == 2
    assert run("aamprep", "verify", shards).code == 0


@pytest.mark.parametrize("name", ["d.npy", "d.tsv", "d.h5"])
@pytest.mark.parametrize("most_bytes", [0, 3_000, 14_000])
def test_a_full_disk_is_an_error_and_leaves_nothing(shards: Path, name: str, most_bytes: int) -> None:
    """A limit on the size of files stands for the disk: the matrix has 12,800 bytes, or 20,000 as text."""
    if most_bytes == 14_000 and name != "d.tsv":
        pytest.skip("the matrix has fewer bytes")
    before = sorted(os.listdir(shards.parent))
    program = [*command("aammodel"), "distances", str(shards), "--metric", "braycurtis", "--output", name]
    ran = subprocess.run(
        program,
        cwd=shards.parent,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )
    assert ran.returncode == 2, ran.stderr
    assert name in ran.stderr or "d.ids.txt" in ran.stderr
    assert "Fix: " in ran.stderr
    assert sorted(os.listdir(shards.parent)) == before


@pytest.mark.parametrize("name", ["d.npy", "d.h5"])
def test_a_real_full_disk_is_an_error(run: Programs, shards: Path, name: str) -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("there is no file system of bounded size")
    system = os.statvfs("/dev/shm")
    size = int((system.f_blocks * system.f_frsize // 8 + (1 << 20)) ** 0.5) + 1
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        published = published_matrix(Path(folder) / name, [f"S{n}" for n in range(size)])
        with pytest.raises(UsageError, match="No space left"), published:
            pass
        assert os.listdir(folder) == []


class KilledError(BaseException):
    """Simulated kill."""


class KilledFiles(Files):
    """File system calls that are killed at one of the steps that publish a file."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0
        for name in ("make_file", "flush", "rename", "remove"):
            setattr(self, name, partial(self._step, name))

    def _step(self, name: str, *paths: Path) -> None:
        self.done += 1
        if self.done >= self.at:
            raise KilledError
        getattr(super(), name)(*paths)


def test_the_ids_are_gone_while_a_new_matrix_gets_the_name(tmp_path: Path) -> None:
    """A kill at any step leaves the old pair, the new one, or a matrix without ids, which is refused."""
    seen, path, ids = set(), tmp_path / "d.npy", tmp_path / "d.ids.txt"
    for step in count(1):
        write_pair(path, "ab", 0, Files())
        files = KilledFiles(step)
        with suppress(KilledError):
            write_pair(path, "cd", 1, files)
        state = (float(np.load(path)[0, 1]), ids.read_text() if ids.exists() else None)
        assert state in {(0.0, "a\nb\n"), (1.0, "c\nd\n"), (0.0, None), (1.0, None)}
        seen.add(state)
        write_pair(path, "ef", 2, Files())
        assert sorted(os.listdir(tmp_path)) == ["d.ids.txt", "d.npy"]
        if files.done < step:
            break
    assert len(seen) == 4


def write_pair(path: Path, sample_ids: str, value: float, files: Files) -> None:
    with published_matrix(path, list(sample_ids), files) as matrix:
        matrix[:] = value


@pytest.mark.parametrize("metric", ["unweighted_unifrac", "generalized_unifrac", "faith_pd", "precomputed"])
def test_a_metric_that_shards_cannot_give_is_refused_with_those_that_they_can(
    run: Programs, tmp_path: Path, metric: str
) -> None:
    shards = make_shards(run, tmp_path, has_tree=False).folder
    ran = run("aammodel", "distances", shards, "--metric", metric, "--output", tmp_path / "d.tsv")
    assert ran.code == 2
    assert f"which {metric} needs" in ran.err
    advised = re.search(r"use --metric (.*) with these shards", ran.err)
    assert advised is not None
    names = re.split(", | or ", advised[1])
    assert names == ["jaccard", "braycurtis", "aitchison"]
    for name in names:
        given = ("--metric", name, "--output", tmp_path / f"{name}.tsv")
        assert run("aammodel", "distances", shards, *given).code == 0
        DistanceMatrix.read(str(tmp_path / f"{name}.tsv"))


def test_the_split_all_is_told_to_be_left_out(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    ran = run("aammodel", "distances", shards, "--split", "all", "--output", tmp_path / "d.tsv")
    assert ran.code == 2
    assert "leave it out to use all samples" in ran.err


def test_a_split_without_samples_is_refused_with_those_that_have_some(run: Programs, tmp_path: Path) -> None:
    assert run("aamprep", "simulate", tmp_path / "study", "--samples", 4, "--asvs", 20).code == 0
    shards = tmp_path / "shards"
    assert run("aamprep", "shard", tmp_path / "study" / "table.biom", "--output", shards).code == 0
    ran = run("aammodel", "distances", shards, "--split", "test", "--output", tmp_path / "d.tsv")
    assert ran.code == 1
    assert "use --split train (4 samples)" in ran.err
    given = ("--split", "train", "--output", tmp_path / "d.tsv")
    assert run("aammodel", "distances", shards, *given).code == 0
