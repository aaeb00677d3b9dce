"""The Python interface: one function for each task. The commands call the same functions.

Shards may be a folder, a URL, or what `aamprep.shard` and `aamprep.open_shards` return. A `Model` also takes
a table: the path of a BIOM file or QIIME 2 artifact, a `biom.Table`, a data frame with a row for each sample
and a column for each ASV, or an `AnnData`. It prepares the table as the samples were that the model was
trained on. Distances come out as `skbio.DistanceMatrix`.

Nothing is printed. Messages go to the logger `aammodel`. `pretrain` and `resume` show their progress in a
terminal and in a notebook.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.common.publish import OutputFolder, check_target
from aam_schemas.common.text import decimals
from aam_schemas.preparation import Preparation
from aam_schemas.shards import SPLITS
from aammodel.config.toml import check_key, read_config, with_options
from aammodel.config.train import TrainConfig
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import METRICS
from aammodel.evaluation.distances import predicted_matrix
from aammodel.evaluation.evaluate import Evaluation
from aammodel.evaluation.evaluate import evaluate as evaluate_model
from aammodel.labels.target import Task
from aammodel.nn.model import AamModel
from aammodel.planning.cost import Estimate, estimate
from aammodel.reports.run_report import REPORT_FILE, RESULTS_FILE
from aammodel.runs.config_file import read_config_of, read_results
from aammodel.runs.kinds import RUN
from aammodel.runs.load import check_fits, load_preparation, load_run, token_limit_of_training
from aammodel.runs.metrics_log import Row, read_metrics
from aammodel.runs.training_asvs import TrainingAsvs, read_training_asvs
from aammodel.training.device import pick_device
from aammodel.training.setup import Plan, make_plan, make_trainer
from aammodel.workflows import pretrain as pretraining
from aammodel.workflows.anndata_files import make_anndata
from aammodel.workflows.distance_matrix import all_pairs
from aammodel.workflows.embed import (
    EmbeddedAsvs,
    EmbeddedSamples,
    ToEmbed,
    embed_asvs,
    embed_samples,
    provenance_of,
)
from aammodel.workflows.fit import measure_fit
from aammodel.workflows.prepared import is_table, name_of, open_any_shards, open_data

if TYPE_CHECKING:
    from anndata import AnnData
    from skbio import DistanceMatrix

    from aammodel.cross_validation.result import Crossval

LOGGER = logging.getLogger("aammodel")


def open_shards(shards: Any) -> ShardSet:
    """Open a shard set, to read its samples, tokens and distances as the model does.

    Parameters
    ----------
    shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return

    Raises
    ------
    UsageError
        If there is no such folder, or it cannot be reached.
    InvalidDataError
        If the folder holds no shard set.
    """
    return open_any_shards(shards)


def pretrain(
    shards: Any,
    *,
    output: str | Path = "run",
    overwrite: bool = False,
    config: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    **settings: Any,
) -> "Run":
    """Pretrain a model on masked bases and on the distances of samples.

    Ctrl-C stops the run after the current step, with a checkpoint. `resume` continues it.

    Parameters
    ----------
    shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return
    output : path
        Folder of the run.
    overwrite : bool
        Replace a run in this folder.
    config : path, optional
        TOML file with the tables `[train]` and `[model]`.
    model : mapping, optional
        Keys of `[model]`, see `ModelConfig`. They come before those of the file.
    **settings
        Keys of `[train]`, see `TrainConfig`, such as `max_steps`, `batch_size` or `seed`. They come before
        those of the file. `targets` may be the name of a distance, several names, or a mapping of names to
        weights.

    Returns
    -------
    Run

    Raises
    ------
    UsageError
        If a key or value is invalid, or the folder exists and is not to be replaced.
    InvalidDataError
        If the shards are damaged, or have no training sample.
    NonFiniteError
        If a loss or gradient is NaN or infinite. The batch is kept in the run's folder.

    Examples
    --------
    >>> run = pretrain("shards/", max_steps=300, targets=["unweighted_unifrac", "braycurtis"])
    >>> run.results["targets"]["braycurtis"]["r"]
    0.91
    """
    planned, folder = _plan(shards, config, model, settings), Path(output)
    inputs = (planned.shards.folder, config) if config is not None else (planned.shards.folder,)
    check_target(OutputFolder(folder, RUN, overwrite, tuple(Path(str(each)) for each in inputs)))
    return Run(pretraining.pretrain(planned, folder, overwrite).run)


def resume(
    run: "str | Path | Run", *, shards: Any = None, allow_changes: bool = False, **settings: Any
) -> "Run":
    """Resume a run from its last checkpoint, as if it had never been stopped.

    Parameters
    ----------
    run : path or Run
    shards : optional
        Where the shards are now; by default where they were.
    allow_changes : bool
        Resume even if the shards or settings differ from those that the run began with.
    **settings
        Keys of `[train]`, as for `pretrain`.

    Raises
    ------
    UsageError, InvalidDataError, NonFiniteError
        As for `pretrain`, or if something differs and `allow_changes` is False.
    """
    location = None if shards is None else open_any_shards(shards).folder
    given = with_options({}, _settings(settings))
    return Run(pretraining.resume(_folder_of(run), location, given, allow_changes).run)


def load(run: "str | Path | Run", *, device: str = "auto") -> "Model":
    """Load the model of a run, with the weights that were best in validation.

    Parameters
    ----------
    run : path or Run
        Folder of a run, of one of its checkpoints, or a model file.
    device : str
        Such as "cpu" or "cuda". "auto" takes a GPU if there is one.

    Raises
    ------
    UsageError
        If there is no such run, or the device cannot be used.
    InvalidDataError
        If its file is damaged.
    """
    folder = _folder_of(run)
    return Model(
        network=load_run(folder, pick_device(device)),
        preparation=load_preparation(folder),
        token_limit=token_limit_of_training(folder),
        source=folder,
    )


def distance_matrix(
    shards: Any, metric: str = "unweighted_unifrac", *, split: str | None = None, device: str | None = None
) -> "DistanceMatrix":
    """Return the true distances of all pairs of samples, exact, as `aammodel distances` writes them.

    Parameters
    ----------
    shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return
    metric : str
        A name in `aammodel.distances.metrics.METRICS`.
    split : {"train", "validation", "test"}, optional
        By default the samples of all splits.
    device : str, optional
        Compute with torch on this device; by default with numpy.

    Returns
    -------
    skbio.DistanceMatrix
        Samples without a distance (for example without a read in the tree) are left out, and logged.

    Raises
    ------
    UsageError
        If there is no such metric or split, or the shards lack what the metric needs.
    InvalidDataError
        If there is no sample.
    """
    pairs = all_pairs(open_any_shards(shards), metric, split, device)
    ids, has_distance = pairs.samples()
    matrix = np.empty((len(ids), len(ids)))
    pairs.fill(matrix, has_distance, lambda fraction: None)
    return _distance_matrix(matrix, ids)


def crossval(
    shards: Any,
    target: str,
    *,
    model: "str | Path | Run | Model | None" = None,
    metadata: str | Path | None = None,
    task: Task | None = None,
    folds: int = 5,
    repeats: int = 1,
    group_by: str | None = None,
    leave_out: str | None = None,
    methods: Sequence[str] | None = None,
    permutations: int = 0,
    draws: int = 1000,
    seed: int = 0,
    token_limit: int | None = None,
    device: str = "auto",
) -> "Crossval":
    """Predict a metadata column for every sample, each by fits that did not see it, with every method.

    Parameters
    ----------
    shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return
    target : str
        Metadata column to predict.
    model : path, Run or Model, optional
        A pretrained model, whose embeddings are compared with the baselines.
    metadata : path, optional
        Metadata in QIIME 2's format. By default those of the shards.
    task : {"classification", "regression"}, optional
        By default, numbers are regressed, and text or two values are classified.
    folds, repeats : int
        Number of folds, and of times that samples are divided into folds.
    group_by : str, optional
        Column of subjects or plates. A fold does not divide their samples.
    leave_out : str, optional
        Column whose values are left out in turn, such as a study.
    methods : sequence of str, optional
        Names in `aammodel.methods.registry.METHODS`. By default all that can be fitted.
    permutations : int
        Number of permutations of the labels, for the p-value of the best method.
    draws : int
        Number of draws of the bootstrap.
    seed : int
        Seed of the folds and of the bootstrap.
    token_limit : int, optional
        Maximum number of ASVs per sample that the model sees.
    device : str
        Device of the model.

    Returns
    -------
    Crossval
        With `table()`, `plot()` and `conclusion()`.

    Raises
    ------
    UsageError
        If there is no such column or method, nothing can be predicted, or the folds cannot be made.
    InvalidDataError
        If the shards or the metadata are invalid.
    """
    # Scikit-learn takes a second to import. Training does not need it.
    from aammodel.workflows.crossval import CrossvalOptions
    from aammodel.workflows.crossval import crossval as cross_validate

    opened = open_any_shards(shards)
    options = CrossvalOptions(
        target=target,
        task=task,
        metadata=None if metadata is None else Path(metadata),
        num_folds=folds,
        repeats=repeats,
        group_by=group_by,
        leave_out=leave_out,
        methods=tuple(methods or ()),
        num_draws=draws,
        permutations=permutations,
        seed=seed,
    )
    loaded = model if isinstance(model, Model) or model is None else load(model, device=device)
    network = None if loaded is None else loaded.network
    if loaded is not None:
        token_limit = loaded.limit_for(opened) if token_limit is None else token_limit
        check_fits(loaded.network, opened, token_limit)
    return cross_validate(opened, options, network, token_limit, LOGGER.info)


def plan(
    shards: Any,
    *,
    config: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Estimate:
    """Estimate what a run would take here: parameters, memory, operations, steps and time.

    The parameters and errors are those of `pretrain`. Nothing is written.
    """
    return estimate(make_trainer(_plan(shards, config, model, settings), Path("run"), resume=False))


@dataclass(frozen=True)
class Run:
    """A run folder, finished or not.

    Parameters
    ----------
    path : path
        Folder of the run.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def model(self) -> "Model":
        """The model, with the weights that were best in validation."""
        return load(self.path)

    @property
    def config(self) -> dict[str, Any]:
        """Content of `config.json`: model, training, shards, preparation, versions."""
        return read_config_of(self.path)

    @property
    def results(self) -> dict[str, Any] | None:
        """Content of `results.json`: best losses, quality of distances. None until the run is finished."""
        return read_results(self.path / RESULTS_FILE)

    @property
    def is_finished(self) -> bool:
        """Whether the run reached its end. If it did not, `resume` continues it."""
        return (self.path / REPORT_FILE).is_file()

    def metrics(self) -> list[Row]:
        """Return the lines of `metrics.jsonl`: losses and speed by step."""
        return read_metrics(self.path)

    def __reduce__(self) -> tuple[type["Run"], tuple[Path]]:
        # Without the model: a copy loads it again.
        return Run, (self.path,)

    def __fspath__(self) -> str:
        """Return the folder, so that a run can be given where a path is expected."""
        return str(self.path)

    def __repr__(self) -> str:
        """Return folder and state."""
        return f"<Run {self.path}, {'finished' if self.is_finished else 'not finished'}>"

    def _repr_html_(self) -> str:
        """Return the results as a small table, for a notebook."""
        results, rows = self.results, [("run", str(self.path))]
        if results is None:
            rows.append(("state", "not finished"))
        else:
            rows += [(name, f"{loss:.4g}") for name, loss in results["best"].items()]
            for target, found in results["targets"].items():
                words = METRICS[target].words if target in METRICS else target
                rows.append((f"r of {words}", decimals(found["r"])))
            rows.append(("report", str(self.path / REPORT_FILE)))
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"


@dataclass(frozen=True)
class Model:
    """A trained model, and how its samples were prepared. `load` makes one."""

    network: AamModel
    """The torch module."""
    preparation: Preparation | None
    """How its samples were prepared. None for a model written before this was stored."""
    token_limit: int | None
    """Largest number of ASVs per sample that it was trained with; None if not known."""
    source: Path
    """Where it was loaded from."""

    @cached_property
    def training_asvs(self) -> TrainingAsvs | None:
        """Which ASVs the training samples had; None if the run did not keep this."""
        return read_training_asvs(self.source)

    def embed(
        self,
        data: Any,
        *,
        split: str | None = None,
        token_limit: int | None = None,
        with_features: bool = True,
        **files: Any,
    ) -> EmbeddedSamples:
        """Embed samples.

        The rows are in the order of the table, or of the shards. Samples of a table that cannot be prepared,
        such as those without reads, have no row, and are logged.

        Parameters
        ----------
        data : shards or table
            As described at the top of `aammodel.api`.
        split : {"train", "validation", "test"}, optional
            By default the samples of all splits.
        token_limit : int, optional
            Largest number of ASVs per sample; by default as the model was trained, or as the shards have.
        with_features : bool
            Whether to keep the distance features, which take 50 times as much memory as the embedding.
        **files
            What goes with a table, as for `aamprep.shard`: `rep_seqs`, `metadata`, `taxonomy`. Shards take
            `metadata` alone, the path of metadata that came later.

        Returns
        -------
        EmbeddedSamples
            `sample_ids`, `embedding` (one row per sample, as wide as the model) and `distance_features`, with
            `frame()`, `plot()` and `write()`. `fit` tells how the samples differ from those of training.

        Raises
        ------
        UsageError
            If the model cannot read the samples (longer ASVs, for example), or it is given a table and does
            not know how its samples were prepared.
        InvalidDataError
            If the shards are damaged, or the table is invalid.
        """
        later = None if is_table(data) else files.pop("metadata", None)
        with self.prepared(data, split, token_limit, files) as todo:
            return embed_samples(todo, later, with_features)

    def embed_asvs(self, data: Any, *, split: str | None = None, **files: Any) -> EmbeddedAsvs:
        """Embed ASVs, each on its own. The embedding of an ASV is the same in every sample.

        Parameters
        ----------
        data, split, **files
            As for `embed`. With a split, only the ASVs of its samples are embedded.

        Returns
        -------
        EmbeddedAsvs
            `asv_ids`, `sequences` and `embedding`, with `frame()` and `write()`.

        Raises
        ------
        UsageError, InvalidDataError
            As `embed`.
        """
        with self.prepared(data, split, None, files) as todo:
            return embed_asvs(todo)

    def to_anndata(
        self, data: Any, *, split: str | None = None, token_limit: int | None = None, **files: Any
    ) -> "AnnData":
        """Return samples, ASVs and their embeddings as AnnData. This needs the package anndata.

        Parameters
        ----------
        data, split, token_limit, **files
            As for `embed`. With a `tree`, true UniFrac distances are included.

        Returns
        -------
        anndata.AnnData
            `X`: counts. `obs`: split and metadata. `var`: sequence and taxon. `obsm["X_aam"]`, `varm["aam"]`:
            embeddings of samples and ASVs. `obsp`: distances, predicted ones as `predicted_NAME`.
            `uns["aam"]`: origin.

        Raises
        ------
        UsageError
            If anndata is not installed; otherwise as `embed`.
        InvalidDataError
            As `embed`.
        """
        later = None if is_table(data) else files.pop("metadata", None)
        with self.prepared(data, split, token_limit, files) as todo:
            return make_anndata(todo, embed_samples(todo, later), self.preparation)

    @contextmanager
    def prepared(
        self, data: Any, split: str | None, token_limit: int | None, files: Mapping[str, Any]
    ) -> Iterator[ToEmbed]:
        """Prepare samples for this model, and log how they differ from those that it was trained on.

        Parameters
        ----------
        data, split, token_limit
            As for `embed`.
        files : mapping
            What goes with a table.

        Yields
        ------
        ToEmbed
            The shards of a table exist as long as the block lasts.

        Raises
        ------
        UsageError, InvalidDataError
            As `embed`.
        """
        _check_split(split)
        preparation, name = self.preparation, name_of(data)
        if token_limit is not None and preparation is not None and is_table(data):
            preparation = replace(preparation, token_limit=token_limit)
        with open_data(data, preparation, files) as opened:
            shards = opened.shards
            limit = self.limit_for(shards) if token_limit is None else shards.resolve_token_limit(token_limit)
            check_fits(self.network, shards, limit, name)
            fit = measure_fit(shards, self.preparation, self.training_asvs, split, limit)
            for sentence in fit.sentences():
                LOGGER.warning("%s: %s", name, sentence)
            provenance = provenance_of(self.source, name)
            yield ToEmbed(self.network, shards, split, limit, fit, provenance, opened.table_ids)

    def distances(
        self, data: Any, *, target: str | None = None, split: str | None = None, **files: Any
    ) -> "DistanceMatrix":
        """Predict the distances of all pairs of samples. No tree is needed.

        Parameters
        ----------
        data, split, **files
            As for `embed`.
        target : str, optional
            One of the distances that the model was trained on; by default the first.

        Returns
        -------
        skbio.DistanceMatrix

        Raises
        ------
        UsageError
            If the model has no such target; otherwise as `embed`.
        InvalidDataError
            As `embed`.
        """
        targets = self.network.config.targets
        chosen = targets[0] if target is None else target
        if chosen not in targets:
            raise UsageError(
                f"this model was not trained on {chosen!r}", "target", f"choose among: {', '.join(targets)}"
            )
        self._log_never_learned((chosen,))
        embeddings = self.embed(data, split=split, **files)
        return _distance_matrix(predicted_matrix(self.network, embeddings, chosen), embeddings.sample_ids)

    def evaluate(
        self,
        shards: Any,
        *,
        split: str = "test",
        max_samples: int = 1000,
        token_limit: int | None = None,
        seed: int = 0,
    ) -> Evaluation:
        """Measure the model: predicted distances beside the true ones and baselines, and masked bases.

        Parameters
        ----------
        shards : path, URL, or what `aamprep.shard` and `aamprep.open_shards` return
        split : {"test", "validation", "train"}
            The model never saw the test samples. The validation samples chose its weights.
        max_samples : int
            A larger split is subsampled.
        token_limit : int, optional
            Largest number of ASVs per sample; by default as the model was trained, or as the shards have.
        seed : int
            Seed of the subsample and of the masked bases.

        Raises
        ------
        UsageError
            If the model cannot read the samples.
        InvalidDataError
            If there is no such sample, or a file is damaged.
        """
        _check_split(split)
        opened = open_any_shards(shards)
        self._log_mismatches(opened)
        self._log_never_learned(self.network.config.targets)
        limit = self.limit_for(opened) if token_limit is None else token_limit
        return evaluate_model(self.network, opened, split, max_samples, limit, seed)

    def limit_for(self, shards: ShardSet) -> int:
        """Return the token limit that suits the model and the shards: the smaller of both."""
        kept = shards.manifest.choices.token_limit
        return kept if self.token_limit is None else min(self.token_limit, kept)

    def __repr__(self) -> str:
        """Return size, targets and source."""
        number = sum(parameter.numel() for parameter in self.network.parameters())
        targets = ", ".join(self.network.config.targets)
        return f"<Model {self.source}: {number:,} parameters, trained on {targets}>"

    def _log_never_learned(self, targets: Sequence[str]) -> None:
        """Warn of distances that need a tree, if the model was trained without one."""
        if self.preparation is None or self.preparation.has_tree is not False:
            return
        for target in targets:
            if METRICS[target].over == "branches":
                words = METRICS[target].words
                LOGGER.warning(
                    "%s: trained on shards without a tree, so it never learned %s", self.source, words
                )

    def _log_mismatches(self, shards: ShardSet) -> None:
        if self.preparation is not None:
            for sentence in self.preparation.mismatches(shards.manifest, shards.tokens):
                LOGGER.warning("%s: %s", shards.folder, sentence)


def _plan(
    shards: Any, config: str | Path | None, model: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> Plan:
    """Settle the configuration of a run: given settings come before those of the file."""
    tables = read_config(Path(config)) if config is not None else {"train": {}, "model": {}}
    for key in model or {}:
        check_key("model", key, "model")
    train = TrainConfig(**with_options(tables["train"], _settings(settings)))
    return make_plan(open_any_shards(shards).folder, tables["model"] | dict(model or {}), train)


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    for key in settings:
        check_key("train", key, key)
    targets = settings.get("targets")
    if isinstance(targets, str):
        return {**settings, "targets": {targets: 1.0}}
    if targets is not None and not isinstance(targets, Mapping):
        return {**settings, "targets": dict.fromkeys(targets, 1.0)}
    return dict(settings)


def _check_split(split: str | None) -> None:
    if split not in (None, *SPLITS):
        raise UsageError(f"there is no split {split!r}", "split", f"choose among: {', '.join(SPLITS)}")


def _folder_of(run: "str | Path | Run") -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _distance_matrix(matrix: Any, sample_ids: Sequence[str]) -> "DistanceMatrix":
    from skbio import DistanceMatrix

    if not len(sample_ids):
        raise InvalidDataError("there is no sample", "shards", "choose another split")
    return DistanceMatrix(matrix, list(sample_ids))
