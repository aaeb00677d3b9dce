"""All methods, on one list: a name, an input, and a function that makes the estimator.

To add your own: `register_method("name", Method(...))`. It is then fitted on the same folds as all others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import ElasticNetCV, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import truncate_list
from aammodel.labels.target import Task
from aammodel.methods.estimators import (
    BalancedNeighbors,
    GroupFrequency,
    GroupMedian,
    KernelClassifier,
    KernelRegressor,
)
from aammodel.methods.inputs import INPUTS
from aammodel.methods.transformers import (
    Categories,
    Clr,
    DistanceKernel,
    FilledDistances,
    PrevalenceFilter,
)

Splits = Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
"""Training and test rows of the inner folds, in which hyperparameters are chosen."""

NUM_TREES = 300
_PENALTIES = [0.01, 0.1, 1.0, 10.0]
_INVERSE_PENALTIES = [1e-4, 1e-3, 1e-2, 1e-1]
_WEAKER_PENALTIES = [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0]
_NEIGHBORS = [1, 3, 5, 9, 15]


@dataclass(frozen=True)
class Method:
    """A way to predict labels.

    Parameters
    ----------
    words : str
        Name for people.
    input : str
        What it learns from: a name in `INPUTS`.
    make : callable
        Takes the task and the inner folds, and returns an estimator that was not fitted. A classifier has
        `predict_proba`. The input of a pairwise estimator has a column for each training sample.
    is_baseline : bool
        Whether it does without a model of this package.
    sees_microbes : bool
        Whether it looks at the ASVs at all.
    """

    words: str
    input: str
    make: Callable[[Task, Splits], Any]
    is_baseline: bool = True
    sees_microbes: bool = True


def _balanced_accuracy(estimator: Any, x: Any, y: npt.NDArray[np.int64]) -> float:
    """Return the balanced accuracy. That of scikit-learn warns if the test samples of a fold lack a class."""
    is_correct = estimator.predict(x) == y
    return float(np.mean([is_correct[y == label].mean() for label in np.unique(y)]))


def _search(estimator: Any, grid: dict[str, list[Any]], task: Task, inner: Splits) -> Any:
    scoring = _balanced_accuracy if task == "classification" else "neg_mean_squared_error"
    return GridSearchCV(estimator, grid, scoring=scoring, cv=list(inner), error_score="raise")


def _nothing(task: Task, _: Splits) -> Any:
    return (
        DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor(strategy="median")
    )


def _group(task: Task, _: Splits) -> Any:
    return GroupFrequency() if task == "classification" else GroupMedian()


def _forest(task: Task) -> Any:
    if task == "classification":
        return RandomForestClassifier(NUM_TREES, class_weight="balanced_subsample", random_state=0)
    return RandomForestRegressor(NUM_TREES, max_features=0.3, random_state=0)


def _metadata(task: Task, _: Splits) -> Any:
    return make_pipeline(Categories(), _forest(task))


def _plain_forest(task: Task, _: Splits) -> Any:
    return _forest(task)


def _linear(task: Task, inner: Splits, *before: Any, penalties: Sequence[float] = _INVERSE_PENALTIES) -> Any:
    if task == "regression":
        # Each step down the path costs a fit, and the best penalties are found well above its end.
        model = ElasticNetCV(l1_ratio=0.5, alphas=12, eps=0.02, cv=list(inner), max_iter=500, tol=1e-3)
        return make_pipeline(*before, StandardScaler(), model)
    logistic = LogisticRegression(class_weight="balanced", max_iter=2000)
    grid: dict[str, list[Any]] = {"logisticregression__C": list(penalties)}
    return _search(make_pipeline(*before, StandardScaler(), logistic), grid, task, inner)


def _clr(task: Task, inner: Splits) -> Any:
    return _linear(task, inner, PrevalenceFilter(), Clr())


def _linear_embedding(task: Task, inner: Splits) -> Any:
    # The columns are strongly correlated. Strong penalties keep only the first few directions.
    return _linear(task, inner, penalties=_WEAKER_PENALTIES)


def _kernel_ridge(kernel: str, *before: Any) -> Callable[[Task, Splits], Any]:
    def make(task: Task, inner: Splits) -> Any:
        is_classification = task == "classification"
        last = KernelClassifier(kernel) if is_classification else KernelRegressor(kernel)
        # A linear kernel of standardized columns grows with their number, here to thousands.
        scale = 1e3 if kernel == "linear" else 1.0
        name = f"{type(last).__name__.lower()}__alpha"
        grid = {name: [scale * penalty for penalty in _PENALTIES]}
        return _search(make_pipeline(*before, last), grid, task, inner)

    return make


def _neighbors(task: Task, inner: Splits) -> Any:
    smallest = min(len(train) for train, _ in inner)
    grid = [number for number in _NEIGHBORS if number <= smallest]
    if task == "classification":
        last = BalancedNeighbors(metric="precomputed")
        return _search(
            make_pipeline(FilledDistances(), last), {"balancedneighbors__n_neighbors": grid}, task, inner
        )
    regressor = KNeighborsRegressor(metric="precomputed")
    name = "kneighborsregressor__n_neighbors"
    return _search(make_pipeline(FilledDistances(), regressor), {name: grid}, task, inner)


_DISTANCES = {
    "jaccard": "Jaccard",
    "braycurtis": "Bray-Curtis",
    "unweighted_unifrac": "unweighted UniFrac",
    "weighted_unifrac": "weighted UniFrac",
}
_KERNEL = _kernel_ridge("precomputed", DistanceKernel())

METHODS: dict[str, Method] = {
    "no_microbes": Method("no microbes: largest class or median", "abundance", _nothing, sees_microbes=False),
    "group_mean": Method("no microbes: class or median of the group", "group", _group, sees_microbes=False),
    "metadata": Method("no microbes: forest on metadata", "metadata", _metadata, sees_microbes=False),
    "forest": Method("random forest on relative abundances", "abundance", _plain_forest),
    "linear_clr": Method("logistic regression or elastic net on CLR", "abundance", _clr),
    **{
        f"kernel_{name}": Method(f"kernel ridge on {words}", name, _KERNEL)
        for name, words in _DISTANCES.items()
    },
    **{
        f"neighbors_{name}": Method(f"nearest neighbors by {words}", name, _neighbors)
        for name, words in _DISTANCES.items()
    },
    "kmer_ridge": Method("ridge on 6-mers", "kmers", _kernel_ridge("linear", StandardScaler())),
    "embedding_linear": Method("linear on the embedding", "embedding", _linear_embedding, is_baseline=False),
    "embedding_kernel": Method(
        "kernel ridge on the embedding",
        "embedding",
        _kernel_ridge("rbf", StandardScaler()),
        is_baseline=False,
    ),
    "embedding_forest": Method(
        "random forest on the embedding", "embedding", _plain_forest, is_baseline=False
    ),
    "kernel_predicted": Method(
        "kernel ridge on predicted distances", "predicted_distance", _KERNEL, is_baseline=False
    ),
    "kernel_jaccard_and_predicted": Method(
        "kernel ridge on Jaccard and predicted distances", "jaccard_and_predicted", _KERNEL, is_baseline=False
    ),
    "untrained_linear": Method(
        "linear on the embedding of an untrained model", "untrained_embedding", _linear_embedding
    ),
}
"""All methods, by name, in the order of tables."""


def register_method(name: str, method: Method) -> None:
    """Add a method, so that `crossval` fits it on the same folds as all others.

    Parameters
    ----------
    name : str
    method : Method

    Raises
    ------
    UsageError
        If the name is taken, or there is no such input.
    """
    if name in METHODS:
        raise UsageError(f"there is a method {name!r} already", "register_method", "choose another name")
    if method.input not in INPUTS:
        raise UsageError(
            f"there is no input {method.input!r}", "register_method", f"choose among: {', '.join(INPUTS)}"
        )
    METHODS[name] = method


def words_of(name: str) -> str:
    """Return the name of a method for people."""
    return METHODS[name].words if name in METHODS else name


def sees_microbes(name: str) -> bool:
    """Return whether a method looks at the ASVs."""
    return name not in METHODS or METHODS[name].sees_microbes


def uses_model(name: str) -> bool:
    """Return whether a method needs a trained model."""
    return name in METHODS and not METHODS[name].is_baseline


def choose_methods(names: Sequence[str] | None) -> dict[str, Method]:
    """Return the methods of these names, or all.

    Raises
    ------
    UsageError
        If there is no such method.
    """
    unknown = [name for name in names or () if name not in METHODS]
    if unknown:
        raise UsageError(
            f"there is no method {unknown[0]!r}", "--method", f"choose among: {truncate_list(METHODS, 40)}"
        )
    return {name: method for name, method in METHODS.items() if not names or name in names}
