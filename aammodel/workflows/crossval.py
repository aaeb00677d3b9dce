"""Cross-validate methods on a labelled shard set: labels, folds, fits, scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aam_schemas.common.errors import UsageError
from aam_schemas.common.text import as_argument, shorten, truncate_list
from aam_schemas.shards import ASVS_FILE
from aammodel.cross_validation.files import lost_ids
from aammodel.cross_validation.fit import Predictions, predict_all, predict_method
from aammodel.cross_validation.folds import Folds, grouped_folds, left_out_folds, random_folds
from aammodel.cross_validation.result import Crossval
from aammodel.cross_validation.scores import SCORES, score_methods
from aammodel.data.samples import SampleReader
from aammodel.data.shards import ShardSet
from aammodel.labels.groups import groups_of, suspected_groups
from aammodel.labels.metadata import Metadata
from aammodel.labels.target import Target, Task, make_target, restates
from aammodel.methods.inputs import INPUTS, Inputs, columns_of_samples
from aammodel.methods.registry import METHODS, Method, choose_methods
from aammodel.nn.model import AamModel
from aammodel.sample import Sample
from aammodel.workflows.labels import metadata_of

_FEW_UNITS = 20
"""With fewer samples or groups, the intervals of the bootstrap are said to be too narrow."""


@dataclass(frozen=True, kw_only=True)
class CrossvalOptions:
    """What to predict, and how samples are divided."""

    target: str
    task: Task | None = None
    metadata: Path | None = None
    num_folds: int = 5
    repeats: int = 1
    group_by: str | None = None
    leave_out: str | None = None
    methods: tuple[str, ...] = ()
    num_draws: int = 1000
    permutations: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.group_by and self.leave_out:
            raise UsageError(
                "samples cannot be grouped by one column and left out by another",
                "--group-by and --leave-out",
                "choose one of them; --leave-out keeps the samples of each value together, too",
            )
        for value, least, option in (
            (self.num_folds, 2, "--folds"),
            (self.repeats, 1, "--repeats"),
            (self.num_draws, 1, "--draws"),
            (self.permutations, 0, "--permutations"),
        ):
            if value < least:
                raise UsageError(f"{value} is too small", option, f"set {least} or more")


@dataclass(frozen=True)
class LabelledStudy:
    """The labelled samples of a shard set."""

    shards: ShardSet
    samples: list[Sample]
    metadata: Metadata
    """Of these samples, with the target."""
    target: Target
    groups: npt.NDArray[np.object_] | None


def crossval(
    shards: ShardSet,
    options: CrossvalOptions,
    model: AamModel | None = None,
    token_limit: int | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Crossval:
    """Predict the labels of all samples, each by fits that did not see it, with every method.

    Parameters
    ----------
    shards : ShardSet
    options : CrossvalOptions
    model : AamModel, optional
        A pretrained model, whose embeddings are compared with the baselines.
    token_limit : int, optional
        Maximum number of ASVs per sample that the model sees.
    on_progress : callable
        Called with a line of text before each method is fitted.

    Raises
    ------
    UsageError
        If there is no such column or method, nothing can be predicted, or the folds cannot be made.
    InvalidDataError
        If the shards are damaged.
    """
    methods = choose_methods(options.methods)
    study = open_study(shards, options)
    suspects = [] if study.groups is not None else suspected_groups(study.metadata, options.target)
    if not suspects:
        inputs = inputs_of(study, study.groups, model, token_limit)
        return _run(study, methods, inputs, _folds(study, options), options, on_progress)
    column = suspects[0]
    groups = study.metadata.columns[column].as_text()
    inputs = inputs_of(study, groups, model, token_limit)
    plain = replace(options, permutations=0)
    random = _run(study, methods, inputs, _folds(study, options), plain, on_progress)
    name = shorten(column, 80)
    warning = (
        f"column {name} has {len(set(groups.tolist())):,} values for {len(groups):,} samples, so samples "
        "look grouped, but no grouping was asked for. With random folds, a method can recognize the group "
        "instead of the target. Both figures are shown. "
        f"Set --group-by {as_argument(column)}, or another column, to settle it."
    )
    number = min(options.num_folds, len(set(groups.tolist())))
    folds = grouped_folds(study.target, groups, column, number, options.repeats, options.seed)
    grouped = _run(study, methods, inputs, folds, options, on_progress)
    return replace(grouped, warnings=(warning, *grouped.warnings), ungrouped=random)


def open_study(shards: ShardSet, options: CrossvalOptions) -> LabelledStudy:
    """Return the labelled samples of a shard set, with target and groups.

    Raises
    ------
    UsageError
        If there is no such column, or nothing can be predicted.
    InvalidDataError
        If the shards are damaged.
    """
    shards.check_split(None)
    reader = SampleReader(shards, columns_of_samples(shards))
    samples = reader.read(shards.row_groups)
    metadata = metadata_of(shards, [sample.sample_id for sample in samples], options.metadata)
    column = metadata.column(options.target, "--target")
    groups = None
    for name, option in ((options.group_by, "--group-by"), (options.leave_out, "--leave-out")):
        if name is not None:
            groups = groups_of(metadata.column(name, option), option, ~column.is_missing)
    target = make_target(column, options.task, groups)
    kept = [samples[row] for row in target.rows]
    ids = [sample.sample_id for sample in kept]
    return LabelledStudy(
        shards, kept, metadata.in_order(ids), target, None if groups is None else groups[target.rows]
    )


def _folds(study: LabelledStudy, options: CrossvalOptions) -> Folds:
    target, groups = study.target, study.groups
    if options.leave_out is not None and groups is not None:
        return left_out_folds(groups, options.leave_out)
    if groups is not None:
        column = options.group_by or ""
        return grouped_folds(target, groups, column, options.num_folds, options.repeats, options.seed)
    return random_folds(target, options.num_folds, options.repeats, options.seed)


def inputs_of(
    study: LabelledStudy,
    groups: npt.NDArray[np.object_] | None,
    model: AamModel | None,
    token_limit: int | None,
) -> Inputs:
    """Return the inputs of methods for the samples of a study. Columns that tell the target are left out."""
    others = {
        name: column
        for name, column in study.metadata.columns.items()
        if name != study.target.column and not restates(column, study.target)
    }
    return Inputs(
        study.shards,
        study.samples,
        replace(study.metadata, columns=others),
        groups,
        model,
        None if model is None else _untrained(model),
        token_limit,
    )


def _few_units_note(folds: Folds) -> list[str]:
    """Return a warning if there are too few samples, or groups, for intervals."""
    number = len(set(folds.units.tolist()))
    if number >= _FEW_UNITS:
        return []
    what = "samples" if folds.groups is None else "groups"
    return [f"{number} {what} are few: the intervals, which come from drawing {what} again, are too narrow"]


def _restated_note(study: LabelledStudy) -> list[str]:
    columns = study.metadata.columns
    names = [
        shorten(name, 80)
        for name in columns
        if name != study.target.column and restates(columns[name], study.target)
    ]
    if not names:
        return []
    return [
        f"columns that tell {shorten(study.target.column, 80)} in other words were not given to the forest "
        f"on metadata: {truncate_list(names)}"
    ]


def _untrained(model: AamModel) -> AamModel:
    """Return a model of the same shape whose weights are random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AamModel(model.config).to(model.device).eval()


def _unfitted(methods: dict[str, Method], inputs: Inputs) -> list[str]:
    """Return a sentence for each method that was asked for and lacks its input."""
    return [
        f"method {name} needs {INPUTS[method.input].needs}"
        for name, method in methods.items()
        if not INPUTS[method.input].is_available(inputs)
    ]


def _run(
    study: LabelledStudy,
    methods: dict[str, Method],
    inputs: Inputs,
    folds: Folds,
    options: CrossvalOptions,
    on_progress: Callable[[str], None],
) -> Crossval:
    unfitted = _unfitted(methods, inputs) if options.methods else []
    if len(unfitted) == len(methods):
        raise UsageError("; ".join(unfitted), "--method", "give that, or leave --method out")
    predictions = predict_all(methods, inputs, study.target, folds, on_progress)
    scores = score_methods(study.target, predictions, folds.units, options.num_draws, options.seed)
    sample_ids, asv_ids = tuple(sample.sample_id for sample in study.samples), _asv_ids(study.shards)
    found = Crossval(
        target=study.target,
        folds=folds,
        sample_ids=sample_ids,
        asv_ids=asv_ids,
        predictions=predictions,
        scores=scores,
        warnings=(
            *study.target.notes,
            *unfitted,
            *_few_units_note(folds),
            *_restated_note(study),
            *lost_ids(sample_ids, asv_ids),
        ),
    )
    if not options.permutations:
        return found
    return replace(found, p_value=_p_value(found, inputs, options))


def _p_value(found: Crossval, inputs: Inputs, options: CrossvalOptions) -> float:
    """Return the share of permuted labels that score as well as the true ones (Ojala and Garriga 2010)."""
    score = SCORES[found.target.task][found.main_score]
    random = np.random.default_rng(options.seed)
    as_good = 0
    for _ in range(options.permutations):
        target = replace(found.target, values=_permuted(found.target, found.folds.units, random))
        permuted: Predictions = predict_method(METHODS[found.best], inputs, target, found.folds)
        mean = np.mean([score(target.values, values) for values in permuted.values])
        as_good += bool(mean >= found.interval(found.best).value)
    return (1 + as_good) / (1 + options.permutations)


def _permuted(
    target: Target, units: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
    """Return the labels in another order. Labels that are the same in a whole group move with the group."""
    values = target.values
    first = np.unique(units, return_index=True)[1]
    if (values == values[first][units]).all():
        return np.asarray(values[first][random.permutation(len(first))][units])
    return np.asarray(random.permutation(values))


def _asv_ids(shards: ShardSet) -> tuple[str, ...]:
    with shards.open(ASVS_FILE) as file:
        return tuple(file.read(["asv_id"])["asv_id"].to_pylist())
