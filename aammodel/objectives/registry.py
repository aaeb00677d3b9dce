"""Make the objectives of a run, and register objectives from outside of the package."""

from collections.abc import Iterable

from aam_schemas.common.errors import UsageError
from aammodel.config.train import TrainConfig
from aammodel.nn.model import AamModel
from aammodel.objectives.base import Label, Objective
from aammodel.objectives.distances import DistanceObjective
from aammodel.objectives.diversity import FaithPdObjective, RichnessObjective
from aammodel.objectives.embedding_distances import EmbeddingDistanceObjective
from aammodel.objectives.nucleotides import NucleotideObjective

_BUILTIN: tuple[type[Objective], ...] = (NucleotideObjective, DistanceObjective)
_OPTIONAL: tuple[type[Objective], ...] = (FaithPdObjective, RichnessObjective, EmbeddingDistanceObjective)
_registered: dict[str, type[Objective]] = {kind.name: kind for kind in _OPTIONAL}


def register(kind: type[Objective]) -> type[Objective]:
    """Register an objective under its name, for `[train.objectives]`. It can be used as a class decorator.

    Parameters
    ----------
    kind : subclass of Objective
        Its only parameter is the weight.

    Raises
    ------
    ValueError
        If another objective has the same name.
    """
    if kind.name in {builtin.name for builtin in _BUILTIN} or _registered.get(kind.name, kind) is not kind:
        raise ValueError(f"an objective {kind.name!r} already exists")
    _registered[kind.name] = kind
    return kind


def make_objectives(config: TrainConfig) -> tuple[Objective, ...]:
    """Make the objectives of a run.

    Raises
    ------
    UsageError
        If the configuration names an objective that is not registered.
    """
    # TOML and JSON also have whole numbers.
    further = tuple(_kind(name)(float(weight)) for name, weight in config.objectives.items())
    targets = {name: float(weight) for name, weight in config.targets.items()}
    return (
        NucleotideObjective(float(config.nucleotide_weight)),
        DistanceObjective(float(config.distance_weight), targets),
        *further,
    )


def labels_of(config: TrainConfig) -> tuple[str, ...]:
    """Return the labels of samples that the objectives of a run learn, by their names in `SAMPLE_LABELS`."""
    names = [name for objective in make_objectives(config) for name in objective.sample_labels]
    return tuple(dict.fromkeys(names))


def add_heads(model: AamModel, names: Iterable[str]) -> None:
    """Add the heads of objectives to a model, with new weights, unless it has them.

    Parameters
    ----------
    model : AamModel
    names : iterable of str
        Names of objectives. Objectives without a head, or that are not registered, are skipped.
    """
    for name in names:
        kind = _registered.get(name)
        if kind is None or name in model.objective_heads:
            continue
        head = kind.make_head(model.config)
        if head is not None:
            model.objective_heads[name] = head.to(model.device)


def loss_labels() -> dict[str, Label]:
    """Return the label of each known loss, by name in `metrics.jsonl`. The total loss comes first."""
    labels = {"loss": Label("loss", "")}
    for kind in (*_BUILTIN, *_registered.values()):
        labels |= {f"{term}_loss": label for term, label in kind.labels.items()}
    return labels


def loss_defining_keys() -> frozenset[str]:
    """Return the settings that define the loss. Losses before and after a change are not comparable."""
    keys = {"shards", "token_limit", "validation_samples", "objectives"}
    return frozenset(keys).union(*(kind.config_keys for kind in (*_BUILTIN, *_registered.values())))


def _kind(name: str) -> type[Objective]:
    if name not in _registered:
        registered = ", ".join(_registered) or "none"
        raise UsageError(
            f"no objective named {name!r} is registered (registered: {registered})",
            "[train.objectives]",
            "choose among these, or import the module that registers it before training",
        )
    return _registered[name]
