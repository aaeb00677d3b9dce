"""Files of text that we write are read back equal by scikit-bio, pandas and QIIME 2's rules, or refused."""

import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio import DistanceMatrix
from skbio.metadata import SampleMetadata
from threadpoolctl import threadpool_limits

import aammodel
import aamprep
from aam_schemas.common.errors import UsageError
from aam_schemas.common.ids import has_control
from aam_schemas.common.tsv import write_tsv
from aammodel.cross_validation.files import lost_ids, write_tables
from aammodel.cross_validation.result import Crossval
from aammodel.distances.metrics import METRICS
from aammodel.workflows.matrix_files import published_matrix, write_per_sample
from aamprep.read import read_distances
from aamprep.rules.findings import Findings
from tests.helpers.names import names
from tests.helpers.studies import Programs

LETTERS = [*string.printable, "\u2028", "\x85", "\u00e9"]
LOST = ["a\tb", "a\nb", "a\rb", "\x1fa", "a\u2028b", " a", "a ", "\u00a0a", "a\u3000"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards whose products of matrices BLAS divides among threads."""
    folder = tmp_path_factory.mktemp("threads")
    study = aamprep.simulate(folder / "study", samples=48, asvs=800)
    beside = {name: study / file for name, file in (("tree", "tree.nwk"), ("metadata", "metadata.tsv"))}
    aamprep.shard(study / "table.biom", output=folder / "shards", **beside)
    return folder / "shards"


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "precomputed"])
def test_a_matrix_has_the_same_bytes_with_any_number_of_threads(
    run: Programs, shards: Path, tmp_path: Path, metric: str
) -> None:
    paths = [tmp_path / f"{number}.tsv" for number in (1, 2, 5)]
    for number, path in zip((1, 2, 5), paths, strict=True):
        with threadpool_limits(number):
            assert run("aammodel", "distances", shards, "--metric", metric, "--output", path).code == 0
    for path in paths:
        # scikit-bio compares the matrix with its transpose, and refuses it if a bit differs.
        read = DistanceMatrix.read(str(path))
        np.testing.assert_array_equal(read.data, read.data.T)
        assert not read.data.diagonal().any()
    assert len({path.read_bytes() for path in paths}) == 1


def matrix_of(size: int) -> np.ndarray:
    values = np.random.default_rng(0).random((size, size))
    return np.triu(values, 1) + np.triu(values, 1).T


@settings(max_examples=15, deadline=None)
@given(drawn=names())
def test_ids_of_a_matrix_are_read_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    expected = matrix_of(len(drawn))
    for name in ("d.tsv", "d.npy", "d.h5"):
        with published_matrix(folder / name, drawn) as matrix:
            matrix[:] = expected
        findings = Findings()
        read = read_distances(folder / name, findings, isolate=False)
        assert read is not None, findings.found
        assert list(read.ids) == drawn
        np.testing.assert_array_equal(read.matrix, expected)
    # scikit-bio guesses the separator, which blanks and commas in ids can mislead.
    of_skbio = DistanceMatrix.read(str(folder / "d.tsv"), format="lsmat", verify=False)
    assert list(of_skbio.ids) == drawn
    np.testing.assert_array_equal(of_skbio.data, expected)


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("suffix", ["tsv", "npy", "h5"])
def test_ids_that_would_not_be_read_back_are_refused(tmp_path: Path, lost: str, suffix: str) -> None:
    path, ids = tmp_path / f"d.{suffix}", ["x", lost]
    if suffix == "h5" and not has_control(lost):
        with published_matrix(path, ids) as matrix:
            matrix[:] = 0
        read = read_distances(path, Findings(), isolate=False)
        assert read is not None
        assert list(read.ids) == ids
        return
    with pytest.raises(UsageError) as error, published_matrix(path, ids):
        pass
    assert ("control character" if has_control(lost) else "blanks") in error.value.what
    assert ("write an .h5 file" in error.value.fix) == (not has_control(lost))
    assert list(tmp_path.iterdir()) == []


def pandas_read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


@settings(max_examples=15, deadline=None)
@given(drawn=names())
def test_ids_of_faith_pd_are_read_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[str]) -> None:
    path, values = tmp_path_factory.mktemp("faith") / "f.tsv", np.random.default_rng(0).random(len(drawn))
    if any(name.startswith("#") for name in drawn):
        with pytest.raises(UsageError, match="comment"):
            write_per_sample(path, drawn, "faith_pd", values)
        return
    write_per_sample(path, drawn, "faith_pd", values)
    read = pandas_read(path)
    assert read.iloc[:, 0].tolist() == drawn
    assert [float(value) for value in read["faith_pd"]] == values.tolist()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.lists(
            st.text(st.sampled_from([*string.printable, "\u2028", "\x85", "\u00e9"])), min_size=2, max_size=2
        ),
        min_size=1,
    )
)
def test_any_cell_is_read_back_by_pandas(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("cells") / "t.tsv"
    rows = [["x" + first, second] for first, second in rows]
    write_tsv(path, ("id", "value"), rows)
    assert pandas_read(path).to_numpy().tolist() == rows


@pytest.fixture(scope="module")
def result(shards: Path) -> Crossval:
    return aammodel.crossval(shards, "habitat", methods=["forest"], folds=2, draws=2)


def named(result: Crossval, samples: list[str], labels: list[str]) -> Crossval:
    """Return a result with other names of samples, ASVs and classes, numbered beyond those given."""
    number = len(result.sample_ids) - len(samples)
    sample_ids = (*samples, *(f"s{n}" for n in range(number)))
    asv_ids = (*samples, *(f"a{n}" for n in range(len(result.asv_ids) - len(samples))))
    classes = (*labels, "c0", "c1", "c2", "c3")[: len(result.target.classes)]
    return replace(
        result, sample_ids=sample_ids, asv_ids=asv_ids, target=replace(result.target, classes=classes)
    )


@settings(max_examples=8, deadline=None)
@given(samples=names(), labels=names())
def test_tables_of_crossval_are_read_back(
    result: Crossval, tmp_path_factory: pytest.TempPathFactory, samples: list[str], labels: list[str]
) -> None:
    samples = [name for name in samples if not name.startswith("#")]
    # QIIME 2 has words for the column of ids, and reads no other column of this name.
    labels = [name for name in labels if name.lower() not in ("id", "sampleid", "sample id", "sample-id")]
    found, folder = named(result, samples, labels), tmp_path_factory.mktemp("cv")
    assert lost_ids(found.sample_ids, found.asv_ids) == []
    write_tables(found, folder)
    for name in ("predictions.tsv", "class_probabilities.tsv", "importance.tsv"):
        ids = found.asv_ids if name == "importance.tsv" else found.sample_ids
        of_pandas, of_qiime = pandas_read(folder / name), SampleMetadata.load(str(folder / name))
        assert set(of_pandas["id"]) == set(of_qiime.ids) <= set(ids)
        assert of_pandas.columns[1:].tolist() == list(of_qiime.columns)
    predicted = found.predicted(found.best_with_microbes)
    read = pandas_read(folder / "predictions.tsv")
    assert list(zip(read["id"], read["prediction"], strict=True)) == list(
        zip(found.sample_ids, predicted, strict=True)
    )
    assert pandas_read(folder / "class_probabilities.tsv").columns[1:].tolist() == list(found.target.classes)
    assert set(pandas_read(folder / "folds.tsv")["id"]) == set(found.sample_ids)


@pytest.mark.parametrize("lost", [*LOST, "#x"])
def test_tables_of_crossval_that_would_lose_ids_are_left_out_with_a_cause(
    result: Crossval, tmp_path: Path, lost: str
) -> None:
    found = named(result, [lost], [])
    samples, asvs = lost_ids(found.sample_ids, found.asv_ids)
    assert samples.startswith(
        "predictions.tsv, class_probabilities.tsv and folds.tsv are not written: the id"
    )
    assert asvs.startswith("importance.tsv is not written: the id")
    write_tables(found, tmp_path)
    assert not list(tmp_path.glob("*.tsv"))
    assert pd.read_parquet(tmp_path / "predictions.parquet")["sample_id"][0] == lost


def test_a_matrix_that_is_picked_up_by_its_name_is_announced(run: Programs, shards: Path) -> None:
    folder = shards.parent / "study"
    assert run("aammodel", "distances", shards, "--output", folder / "distances.tsv").code == 0
    command = ("aamprep", "shard", folder / "table.biom", "--output")
    for name, option, is_used in (("with", (), True), ("without", ("--no-distances",), False)):
        ran = run(*command, shards.parent / name, *option)
        assert ran.code == 0
        assert ("distances.tsv lies beside the table: used as precomputed distances" in ran.err) == is_used
        assert (shards.parent / name / "distances.npy").exists() == is_used
