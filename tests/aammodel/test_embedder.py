"""Embeddings as a transformer of scikit-learn: rows, folds, refusals, and scikit-learn's own checks."""

import copy
import pickle
from pathlib import Path
from typing import Any

import biom
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import resample
from sklearn.utils.estimator_checks import check_estimator

import aammodel
import aamprep
from aammodel import AamEmbedder

TINY = {"width": 8, "attention_heads": 2, "asv_layers": 1, "sample_layers": 1, "soft_branches": 8}
TOLERANCE: Any = {"rtol": 1e-5, "atol": 1e-6}
"""Promised for samples that are embedded together or alone."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Return a folder with a study, a run, and a run whose samples were rarefied."""
    folder = tmp_path_factory.mktemp("study")
    aamprep.simulate(folder / "data", samples=30, asvs=50)
    for name, depth in (("run", None), ("rarefied", 400)):
        shards = aamprep.shard(
            folder / "data" / "table.biom",
            output=folder / f"{name}-shards",
            token_limit=32,
            rarefy_depth=depth,
        )
        aammodel.pretrain(
            shards, output=folder / name, model=TINY, max_steps=1, batch_size=8, targets="braycurtis"
        )
    return folder


@pytest.fixture(scope="module")
def table(study: Path) -> biom.Table:
    return biom.load_table(str(study / "data" / "table.biom"))


@pytest.fixture(scope="module")
def frame(table: biom.Table) -> pd.DataFrame:
    """Return the table with a row for each sample and a column for each sequence."""
    return table.to_dataframe(dense=True).T


@pytest.fixture(scope="module")
def whole(study: Path, frame: pd.DataFrame) -> np.ndarray:
    return AamEmbedder(study / "rarefied").transform(frame)


def test_rows_are_those_of_the_model_in_the_order_of_the_table(
    study: Path, frame: pd.DataFrame, whole: np.ndarray
) -> None:
    model = aammodel.load(study / "rarefied")
    found = model.embed(study / "data" / "table.biom")
    assert list(found.sample_ids) == list(frame.index)
    np.testing.assert_allclose(whole, found.embedding, **TOLERANCE)
    of_shards = model.embed(study / "rarefied-shards")
    assert of_shards.sample_ids != found.sample_ids
    assert whole.dtype == np.float32
    rows = AamEmbedder(study / "rarefied").transform(study / "rarefied-shards")
    np.testing.assert_allclose(rows, found.in_order(of_shards.sample_ids).embedding, **TOLERANCE)


@pytest.mark.parametrize("kind", ["biom", "path", "paths", "sparse", "int", "polars", "id column"])
def test_all_kinds_of_tables_give_the_same_rows(
    study: Path, table: biom.Table, frame: pd.DataFrame, whole: np.ndarray, kind: str
) -> None:
    path = study / "data" / "table.biom"
    X = {
        "biom": table,
        "path": str(path),
        "paths": [path],
        "sparse": frame.astype(pd.SparseDtype(float, 0)),
        "int": frame.astype("Int64"),
        "polars": pl.from_pandas(frame.reset_index(names="any name")),
        "id column": frame.reset_index(names="#OTU ID").rename(columns={"#OTU ID": "sample-id"}),
    }[kind]
    rows = AamEmbedder(study / "rarefied").fit_transform(X)
    np.testing.assert_allclose(rows, whole, **TOLERANCE)


def test_a_row_does_not_depend_on_the_others(study: Path, frame: pd.DataFrame, whole: np.ndarray) -> None:
    run, order = study / "rarefied", np.random.default_rng(0).permutation(len(frame))
    np.testing.assert_allclose(AamEmbedder(run).transform(frame.iloc[order]), whole[order], **TOLERANCE)
    for row in range(3):
        np.testing.assert_allclose(AamEmbedder(run).transform(frame.iloc[[row]])[0], whole[row], **TOLERANCE)
    # A bootstrap draws rows several times. Other tables have other columns.
    drawn = resample(np.arange(len(frame)), random_state=0)
    columns = np.random.default_rng(1).permutation(frame.columns)
    np.testing.assert_allclose(
        AamEmbedder(run).transform(frame[columns].iloc[drawn]), whole[drawn], **TOLERANCE
    )
    used = frame.iloc[:5].loc[:, (frame.iloc[:5] > 0).any()]
    assert used.shape[1] < frame.shape[1]
    np.testing.assert_allclose(AamEmbedder(run).transform(used), whole[:5], **TOLERANCE)


def test_arrays_take_their_sequences_from_the_embedder(study: Path, frame: pd.DataFrame) -> None:
    embedder = AamEmbedder(study / "run", rep_seqs=list(frame.columns))
    expected = AamEmbedder(study / "run").transform(frame)
    for X in (frame.to_numpy(), sp.csr_array(frame.to_numpy()), sp.csc_matrix(frame.to_numpy(dtype=int))):
        np.testing.assert_allclose(embedder.transform(X), expected, **TOLERANCE)
        np.testing.assert_allclose(clone(embedder).transform(X[:3]), expected[:3], **TOLERANCE)
    with pytest.raises(aammodel.UsageError, match="49 columns, and there are 50"):
        embedder.transform(frame.to_numpy()[:, 1:])
    # Without ids, rarefaction draws by content, so that a row is the same in every subset.
    rarefied = AamEmbedder(study / "rarefied", rep_seqs=list(frame.columns))
    rows, X = rarefied.transform(frame.to_numpy()), frame.to_numpy()[3:9]
    np.testing.assert_allclose(
        AamEmbedder(study / "rarefied", rep_seqs=list(frame.columns)).transform(X), rows[3:9], **TOLERANCE
    )


@pytest.mark.parametrize("kind", ["dict", "series", "fasta"])
def test_names_of_columns_get_their_sequences(
    study: Path, frame: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    names = [f"asv{number}" for number in range(frame.shape[1])]
    sequences = dict(zip(names, frame.columns, strict=True))
    (tmp_path / "rep-seqs.fasta").write_text("".join(f">{name}\n{seq}\n" for name, seq in sequences.items()))
    given = {"dict": sequences, "series": pd.Series(sequences), "fasta": tmp_path / "rep-seqs.fasta"}[kind]
    embedder = AamEmbedder(study / "run", rep_seqs=given)
    rows = clone(embedder).fit(frame).transform(frame.set_axis(names, axis=1))
    np.testing.assert_allclose(rows, AamEmbedder(study / "run").transform(frame), **TOLERANCE)


def test_cross_validation_equals_a_loop(study: Path, frame: pd.DataFrame) -> None:
    y, subjects = np.arange(len(frame)) % 2, np.arange(len(frame)) // 3
    pipeline = make_pipeline(AamEmbedder(study / "rarefied"), StandardScaler(), LogisticRegression())
    scores = cross_val_score(pipeline, frame, y, groups=subjects, cv=GroupKFold(3))
    predicted = cross_val_predict(
        pipeline, frame, y, groups=subjects, cv=GroupKFold(3), method="predict_proba"
    )
    model = aammodel.load(study / "rarefied")
    for fold, (train, test) in enumerate(GroupKFold(3).split(frame, y, subjects)):
        parts = []
        for rows in (train, test):
            part = biom.Table(frame.iloc[rows].T.to_numpy(), frame.columns, frame.index[rows])
            found = model.embed(part)
            assert list(found.sample_ids) == list(frame.index[rows])
            parts.append(found.embedding)
        scaler = StandardScaler().fit(parts[0])
        classifier = LogisticRegression().fit(scaler.transform(parts[0]), y[train])
        probability = classifier.predict_proba(scaler.transform(parts[1]))
        np.testing.assert_allclose(predicted[test], probability, atol=1e-4)
        assert scores[fold] == accuracy_score(y[test], probability.argmax(axis=1))


def test_folds_embed_each_sample_once(
    study: Path, frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make_pipeline(AamEmbedder(study / "run"), LogisticRegression())
    with caplog.at_level("INFO", logger="aamprep"):
        cross_val_score(pipeline, frame, np.arange(len(frame)) % 2, cv=3)
    # The first fold prepares its training and its test samples. The others prepare none.
    assert sum("reading <pandas.DataFrame>" in record.message for record in caplog.records) == 2


@pytest.mark.parametrize("rejected", ["error", "nan"])
def test_a_sample_that_cannot_be_embedded_is_named_or_nan(
    study: Path, frame: pd.DataFrame, whole: np.ndarray, rejected: str
) -> None:
    bad = frame.copy()
    bad.iloc[3] = 0
    bad.iloc[5] = (frame.iloc[5] > 0).astype(int)  # Fewer reads than the depth of rarefaction.
    embedder = AamEmbedder(study / "rarefied", rejected=rejected)
    if rejected == "nan":
        rows = embedder.transform(bad)
        assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == [3, 5]
        good = np.delete(np.arange(len(bad)), [3, 5])
        np.testing.assert_allclose(rows[good], whole[good], **TOLERANCE)
        assert np.isnan(AamEmbedder(study / "rarefied", rejected="nan").transform(bad.iloc[[3, 5]])).all()
        return
    for X in (bad, bad.iloc[[5, 3]]):
        with pytest.raises(aammodel.InvalidDataError) as raised:
            embedder.transform(X)
        assert f"2 of {len(X)} samples cannot be embedded" in raised.value.what
        assert all(name in raised.value.what for name in bad.index[[3, 5]])
        assert "rejected='nan'" in raised.value.fix


def test_clones_and_pickles_have_the_path_alone(study: Path, frame: pd.DataFrame, whole: np.ndarray) -> None:
    run = aammodel.Run(study / "rarefied")
    assert run.model.token_limit == 32
    embedder = AamEmbedder(run, device="cpu").fit(frame)
    np.testing.assert_array_equal(embedder.transform(frame), embedder.transform(frame))
    for copied in (pickle.loads(pickle.dumps(embedder)), copy.deepcopy(embedder), clone(embedder)):
        assert copied.get_params() == embedder.get_params()
        np.testing.assert_allclose(copied.transform(frame.iloc[:4]), whole[:4], **TOLERANCE)
    assert len(pickle.dumps(embedder)) < 1000
    assert set(embedder.get_params()) == {"run", "rep_seqs", "rejected", "device"}


def test_another_run_at_the_same_path_is_loaded(study: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(study / "run")
    embedder = AamEmbedder(tmp_path / "run")
    first = embedder.transform(frame.iloc[:2])
    (tmp_path / "run").unlink()
    (tmp_path / "run").symlink_to(study / "rarefied")
    assert np.abs(embedder.transform(frame.iloc[:2]) - first).max() > 1e-3
    np.testing.assert_array_equal(embedder.set_params(run=study / "run").transform(frame.iloc[:2]), first)


def test_columns_have_names(study: Path, frame: pd.DataFrame) -> None:
    embedder = AamEmbedder(study / "run")
    names = [f"aamembedder{column}" for column in range(TINY["width"])]
    assert embedder.get_feature_names_out().tolist() == names
    rows = clone(embedder).set_output(transform="pandas").fit_transform(frame)
    assert list(rows.columns) == names
    assert list(rows.index) == list(frame.index)
    rows = clone(embedder).set_output(transform="polars").transform(pl.from_pandas(frame))
    assert rows.columns == names
    assert embedder.transform(frame.iloc[:0]).shape == (0, TINY["width"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X: X.to_numpy(), "no names of columns, and so no sequences"),
        (lambda X: X.assign(site="gut"), "column site is of type .* not numbers"),
        (
            lambda X: X.set_axis([f"g__{n}" for n in range(50)], axis=1),
            "feature ids are nucleotide sequences",
        ),
        (lambda X: X.set_axis([X.columns[0] * 3, *X.columns[1:]], axis=1), "300 bases"),
        (lambda X: X.set_axis(["a"] * len(X)), "different counts have the same name 'a'"),
        (lambda X: {"a": 1}, "no names of columns"),
        (lambda X: "nothing.biom", "nothing.biom"),
    ],
)
def test_tables_that_cannot_be_embedded_say_why(
    study: Path, frame: pd.DataFrame, change: Any, match: str
) -> None:
    with pytest.raises(aammodel.AamError, match=match) as raised:
        AamEmbedder(study / "run").transform(change(frame))
    assert raised.value.fix


def test_invalid_parameters_are_named(study: Path, frame: pd.DataFrame) -> None:
    for embedder, match in (
        (AamEmbedder(study / "nothing"), "no trained model"),
        (AamEmbedder(study / "run", rejected="skip"), "no choice 'skip'"),
        (AamEmbedder(aammodel.load(study / "run")), "Model is not a run"),  # type: ignore[arg-type]
        (AamEmbedder(study / "run", device="tpu9"), "device"),
    ):
        with pytest.raises(aammodel.UsageError, match=match):
            embedder.fit(frame)


class OfArrays(AamEmbedder):
    """Takes the arrays that scikit-learn's checks make, and names their columns."""

    def transform(self, X: Any) -> Any:
        X = X.toarray() if sp.issparse(X) else np.asarray(X, dtype=float)
        sequences = ["".join(np.random.default_rng(n).choice(list("ACGT"), 40)) for n in range(X.shape[1])]
        return super().transform(pd.DataFrame(X, columns=sequences))


NOT_APPLICABLE = {
    "check_fit_non_negative": "fit does not read X; transform refuses negative counts",
    "check_positive_only_tag_during_fit": "fit does not read X; transform refuses negative counts",
}


def test_checks_of_scikit_learn_pass(study: Path) -> None:
    # Samples without reads are rows of NaN, since the checks draw such samples.
    results = check_estimator(
        OfArrays(study / "run", rejected="nan"), expected_failed_checks=NOT_APPLICABLE, on_skip=None
    )
    status = {result["check_name"]: result["status"] for result in results}
    assert {name for name, each in status.items() if each == "xfail"} == set(NOT_APPLICABLE)
    assert "check_methods_subset_invariance" in {name for name, each in status.items() if each == "passed"}
