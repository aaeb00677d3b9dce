"""`aammodel distances`: matrices against scipy, formats as other software reads them, refused options."""

from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import pdist, squareform
from skbio import DistanceMatrix

from aammodel.workflows import distance_matrix as matrix_module
from tests.helpers.shards import counts_by_sample, make_shards
from tests.helpers.studies import Programs


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
        (("--metric", "precomputed"), 1, "--distances"),
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
