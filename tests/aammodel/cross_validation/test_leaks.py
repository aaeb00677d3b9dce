"""Nothing of a fold's test samples reaches its fits. The same test catches planted leaks of each kind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aamprep
from aammodel.cross_validation.fit import predict_method
from aammodel.cross_validation.folds import Folds, random_folds
from aammodel.cross_validation.scores import balanced_accuracy
from aammodel.data.samples import SampleReader
from aammodel.data.shards import open_shards
from aammodel.labels.metadata import read_metadata
from aammodel.labels.target import Target, make_target
from aammodel.methods import registry
from aammodel.methods.estimators import GroupMedian, KernelClassifier
from aammodel.methods.inputs import INPUTS, Inputs, columns_of_samples
from aammodel.methods.registry import METHODS, Method
from aammodel.methods.transformers import Clr, DistanceKernel

TABLE_METHODS = [
    name for name, method in METHODS.items() if method.is_baseline and name != "untrained_linear"
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inputs, dict[str, Target]]:
    folder = tmp_path_factory.mktemp("leaks")
    aamprep.simulate(folder / "data", samples=36, asvs=60)
    beside = {name: folder / "data" / name for name in ("tree.nwk", "metadata.tsv")}
    aamprep.shard(
        folder / "data" / "table.biom",
        tree=beside["tree.nwk"],
        metadata=beside["metadata.tsv"],
        output=folder / "shards",
        token_limit=32,
        rarefy_depth=300,
    )
    shards = open_shards(folder / "shards")
    samples = SampleReader(shards, columns_of_samples(shards)).read(shards.row_groups)
    metadata = read_metadata(shards, [sample.sample_id for sample in samples])
    targets = {name: make_target(metadata.columns[name], None) for name in ("habitat", "age")}
    groups = np.array([f"p{number % 9}" for number in range(len(samples))], dtype=object)
    return Inputs(shards, samples, metadata, groups), targets


MethodOf = Callable[[Inputs, Target], Method]


def leaks(method_of: MethodOf, inputs: Inputs, target: Target) -> bool:
    """Return whether the predictions of a fold depend on its test labels, or on its other test samples."""
    method = method_of(inputs, target)
    folds = random_folds(target, 3, 1, seed=0)
    first = Folds(np.where(folds.fold == 0, 0, 1), None, "two folds")
    train, test = next(first.splits(0))
    before = predict_method(method, inputs, target, first).values[0, test]

    shuffled = target.values.copy()
    shuffled[test] = (shuffled[test] + 1) % 4 if target.is_classification else shuffled[test] * 3 + 40
    relabelled = replace(target, values=shuffled)
    labels = predict_method(method_of(inputs, relabelled), inputs, relabelled, first).values[0, test]

    # All test samples but the first become copies of training samples, smaller where that is possible.
    x = inputs.get(method.input)
    other = x.toarray() if sparse.issparse(x) else x.copy()
    replaced, copies = test[1:], np.resize(train, len(test) - 1)
    other[replaced] = other[copies]
    if INPUTS[method.input].is_pairwise:
        other[:, replaced] = other[:, copies]
    elif other.dtype == np.float64:
        other[replaced] *= 0.01
    other = sparse.csr_array(other) if sparse.issparse(x) else other
    if sparse.issparse(other):
        other.indices, other.indptr = other.indices.astype(np.int32), other.indptr.astype(np.int32)
    changed = replace(inputs, _made={method.input: other})
    samples = predict_method(method_of(changed, target), changed, target, first).values[0, test]
    return bool((labels != before).any() or (samples[0] != before[0]).any())


@pytest.mark.parametrize("target", ["habitat", "age"])
@pytest.mark.parametrize("name", TABLE_METHODS)
def test_no_method_leaks(
    study: tuple[Inputs, dict[str, Target]], name: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "NUM_TREES", 5)
    inputs, targets = study
    assert not leaks(lambda inputs, target: METHODS[name], inputs, targets[target])


@pytest.mark.parametrize("target", ["habitat", "age"])
@pytest.mark.parametrize("name", ["embedding_linear", "embedding_kernel", "embedding_forest"])
def test_no_method_of_an_embedding_leaks(
    study: tuple[Inputs, dict[str, Target]], name: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "NUM_TREES", 5)
    inputs, targets = study
    embedding = np.random.default_rng(0).normal(size=(len(inputs.samples), 20)) + 1
    with_embedding = replace(inputs, _made={"embedding": embedding})
    assert not leaks(lambda inputs, target: METHODS[name], with_embedding, targets[target])


class Fitted(BaseEstimator):
    """Wraps a step that was fitted to all samples, and is not fitted again in a fold."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def fit(self, X: Any, y: Any = None) -> "Fitted":
        return self

    def transform(self, X: Any) -> Any:
        return self.step.transform(X)

    def predict(self, X: Any) -> Any:
        return self.step.predict(X)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def leaky(kind: str, inputs: Inputs, target: Target) -> Method:
    """Return a method of which one step was fitted to all samples, before they were divided."""
    y, x = target.values, inputs.get("abundance")
    dense = x.toarray() if sparse.issparse(x) else x
    if kind == "filter by label":
        step = SelectKBest(k=5).fit(dense, y)
        return _method("abundance", lambda: make_pipeline(Fitted(step), KernelClassifier("linear")))
    if kind == "pseudocount":
        clr = Clr().fit(dense)
        return _method("abundance", lambda: make_pipeline(_Dense(), Fitted(clr), KernelClassifier("linear")))
    if kind == "scale":
        scaler = StandardScaler().fit(dense)
        return _method(
            "abundance", lambda: make_pipeline(_Dense(), Fitted(scaler), KernelClassifier("linear"))
        )
    if kind == "scale of a kernel":
        kernel = DistanceKernel().fit(inputs.get("jaccard"))
        return _method("jaccard", lambda: _Kernel(kernel))
    if kind == "categories":
        medians = GroupMedian().fit(inputs.get("group"), y)
        return _method("group", lambda: Fitted(medians))
    if kind == "class weights":
        weights = dict(enumerate(1 / np.bincount(y, minlength=len(target.classes)) ** 3))
        return _method("abundance", lambda: LogisticRegression(class_weight=weights))
    assert kind == "hyperparameter"
    folds = random_folds(target, 3, 1, seed=0)
    tried = {}
    for alpha in (1e-6, 10.0):
        method = _method(
            "jaccard", lambda alpha=alpha: make_pipeline(DistanceKernel(), KernelClassifier(alpha=alpha))
        )
        tried[alpha] = balanced_accuracy(y, predict_method(method, inputs, target, folds).values[0])
    best = max(tried, key=lambda alpha: tried[alpha])
    return _method(
        "jaccard", lambda: make_pipeline(DistanceKernel(), KernelClassifier(alpha=best * tried[best]))
    )


def _method(name: str, make: Callable[[], Any]) -> Method:
    return Method("leaky", name, lambda task, inner: make())


class _Dense(Fitted):
    def __init__(self) -> None:
        super().__init__(None)

    def transform(self, X: Any) -> Any:
        return X.toarray() if sparse.issparse(X) else X


class _Kernel(KernelClassifier):
    """A kernel machine whose kernel was scaled by all samples."""

    def __init__(self, scaled: Any) -> None:
        super().__init__()
        self.scaled = scaled

    def fit(self, X: Any, y: Any) -> Any:
        return super().fit(self.scaled.transform(X), y)

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(self.scaled.transform(X))


KINDS = [
    ("filter by label", "habitat"),
    ("pseudocount", "habitat"),
    ("scale", "habitat"),
    ("scale of a kernel", "habitat"),
    ("categories", "age"),
    ("class weights", "habitat"),
    ("hyperparameter", "habitat"),
]


@pytest.mark.parametrize(("kind", "target"), KINDS)
def test_a_planted_leak_is_caught(study: tuple[Inputs, dict[str, Target]], kind: str, target: str) -> None:
    inputs, targets = study
    assert leaks(lambda inputs, target: leaky(kind, inputs, target), inputs, targets[target])
