"""The result of a cross-validation: predictions and scores of all methods, and what they mean in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aammodel.cross_validation.fit import Predictions
from aammodel.cross_validation.folds import Folds
from aammodel.cross_validation.plots import draw_confusion, draw_methods, draw_numbers
from aammodel.cross_validation.scores import SCORE_WORDS, SCORES, Interval, confusion, interval_of
from aammodel.labels.target import Target
from aammodel.methods.registry import sees_microbes, uses_model, words_of
from aammodel.sample import Float64Array

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

REFERENCE = "no_microbes"
"""Method that the ratio of a score refers to."""


@dataclass(frozen=True)
class Crossval:
    """Predictions for all labelled samples by all methods, on the same folds."""

    target: Target
    folds: Folds
    sample_ids: tuple[str, ...]
    """Ids of the labelled samples."""
    asv_ids: tuple[str, ...]
    """Ids of all ASVs of the shards, for the importance."""
    predictions: Mapping[str, Predictions]
    """Predictions of each method, by its name in `METHODS`."""
    scores: Mapping[str, Mapping[str, Float64Array]]
    """Each score of each method, for all samples (first) and for each draw of the bootstrap."""
    warnings: tuple[str, ...] = ()
    ungrouped: "Crossval | None" = None
    """The same with random folds, if samples should have been grouped and were not."""
    p_value: float | None = None
    """Share of permutations of the labels that score at least as well as the best method."""

    @property
    def main_score(self) -> str:
        """Name of the score by which methods are compared."""
        return next(iter(SCORES[self.target.task]))

    def interval(self, method: str, score: str | None = None) -> Interval:
        """Return a score of a method with its 95 % interval."""
        return interval_of(self.scores[method][score or self.main_score])

    def difference(self, method: str, other: str, score: str | None = None) -> Interval:
        """Return how much larger the score of a method is than that of another, paired by sample."""
        name = score or self.main_score
        return interval_of(self.scores[method][name] - self.scores[other][name])

    @cached_property
    def ranking(self) -> list[str]:
        """Methods from the best to the worst by the main score."""
        return sorted(self.predictions, key=lambda name: -self.interval(name).value)

    @property
    def best(self) -> str:
        """Name of the best method."""
        return self.ranking[0]

    @property
    def best_with_microbes(self) -> str:
        """Name of the best method that looks at the ASVs. Files and plots of labels are of this method."""
        looking = [name for name in self.ranking if sees_microbes(name)]
        return looking[0] if looking else self.best

    def predicted(self, method: str) -> npt.NDArray[Any]:
        """Return the predicted numbers or names of classes, as the mean over the repeats."""
        mean = self.predictions[method].mean
        return np.array(self.target.classes)[mean.argmax(axis=1)] if self.target.is_classification else mean

    def true(self) -> npt.NDArray[Any]:
        """Return the true numbers or names of classes."""
        values = self.target.values
        return np.array(self.target.classes)[values] if self.target.is_classification else values

    def conclusion(self) -> list[str]:
        """Return what was found, in sentences: the best method, by how much, and how the model compares."""
        return [self._about_best(), *self._about_microbes(), *self._about_model()]

    def table(self) -> "pl.DataFrame":
        """Return a row per method and score: value, bounds of its 95 % interval, difference from the best."""
        import polars as pl

        rows = []
        for method in self.ranking:
            for score in SCORES[self.target.task]:
                found, behind = self.interval(method, score), self.difference(method, self.best, score)
                rows.append(
                    {
                        "method": method,
                        "score": score,
                        "value": found.value,
                        "low": found.low,
                        "high": found.high,
                        "difference_from_best": behind.value,
                        "difference_low": behind.low,
                        "difference_high": behind.high,
                    }
                )
        return pl.DataFrame(rows)

    def plot(self) -> "Figure":
        """Return a plot of the main score of each method with its interval."""
        return draw_methods({name: self.interval(name) for name in self.ranking}, self.main_score)

    def plot_labels(self) -> "Figure":
        """Return the confusion matrix of the best method with microbes, or a plot of its predictions."""
        best = self.best_with_microbes
        if self.target.is_classification:
            return draw_confusion(self.confusion(best), self.target.classes)
        return draw_numbers(self.true(), self.predicted(best), self.target.column)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as `metrics.json` holds it. Undefined figures are None."""
        return {
            "target": self.target.column,
            "task": self.target.task,
            "samples": len(self.target.values),
            "classes": list(self.target.classes),
            "folds": self.folds.words,
            "repeats": self.folds.num_repeats,
            "groups": None if self.folds.groups is None else len(set(self.folds.groups.tolist())),
            "best": self.best,
            "best_with_microbes": self.best_with_microbes,
            "conclusion": self.conclusion(),
            "warnings": list(self.warnings),
            "p_value": self.p_value,
            "methods": {name: self._scores_of(name) for name in self.ranking},
            "random_folds": None if self.ungrouped is None else self.ungrouped.as_dict(),
        }

    def _scores_of(self, method: str) -> dict[str, Any]:
        behind = self.difference(method, self.best)
        document: dict[str, Any] = {"words": words_of(method)}
        for score in SCORES[self.target.task]:
            found = self.interval(method, score)
            document[score] = {
                "value": _finite(found.value),
                "interval": [_finite(found.low), _finite(found.high)],
            }
        document["difference_from_best"] = {
            "value": _finite(behind.value),
            "interval": [_finite(behind.low), _finite(behind.high)],
        }
        if self.target.is_classification:
            document["confusion"] = self.confusion(method).tolist()
        document |= {f"ratio_{score}": value for score, value in self._ratios(method).items()}
        return document

    def confusion(self, method: str) -> npt.NDArray[np.int64]:
        """Return how many samples of each true class (row) were predicted as each class (column)."""
        return confusion(self.target.values, self.predictions[method].mean)

    def _ratios(self, method: str) -> dict[str, float | None]:
        """Return the score over that of the largest class or of the median."""
        if REFERENCE not in self.predictions:
            return {}
        score = "balanced_accuracy" if self.target.is_classification else "mean_absolute_error"
        reference = self.interval(REFERENCE, score).value
        return {score: _finite(self.interval(method, score).value / reference) if reference else None}

    def _about_best(self) -> str:
        best, found = self.best, self.interval(self.best)
        words, score = words_of(best), SCORE_WORDS[self.main_score]
        first = f"Best: {words}, with {score} {_shown(found)}."
        if len(self.ranking) == 1:
            return first
        second = self.ranking[1]
        lead = self.difference(best, second)
        verdict = "more than noise" if lead.low > 0 else "within noise"
        return f"{first} It is {_shown(lead)} ahead of {words_of(second)}, which is {verdict}."

    def _about_microbes(self) -> list[str]:
        """Return whether a method that looks at the ASVs is better than those that do not."""
        without = [name for name in self.ranking if not sees_microbes(name)]
        if not without or len(without) == len(self.ranking):
            return []
        if not sees_microbes(self.best):
            return ["No method that looks at microbes is better than one that does not."]
        if self.difference(self.best, without[0]).low <= 0:
            return [f"No method is better than {words_of(without[0])} by more than noise."]
        return []

    def _about_model(self) -> list[str]:
        """Return how the best method with a model compares with the best baseline."""
        models = [name for name in self.ranking if uses_model(name)]
        baselines = [name for name in self.ranking if not uses_model(name)]
        if not models or not baselines:
            return []
        lead = self.difference(models[0], baselines[0])
        pair = f"{words_of(models[0])} (the model) against {words_of(baselines[0])}, {_shown(lead)}."
        if lead.low > 0:
            return [f"The model beats every baseline: {pair}"]
        if lead.high < 0:
            return [f"The model is worse than the best baseline: {pair}"]
        return [f"The model does not beat the best baseline by more than noise: {pair}"]


def _shown(found: Interval) -> str:
    return f"{found.value:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
