"""From the configuration to the objectives of a run; and objectives from outside the package."""

from collections.abc import Iterable

from aam_schemas.common.errors import UsageError
from aammodel.config.train import TrainConfig
from aammodel.nn.model import AamModel
from aammodel.objectives.base import Label, Objective
from aammodel.objectives.distances import DistanceObjective
from aammodel.objectives.nucleotides import NucleotideObjective

_ALWAYS: tuple[type[Objective], ...] = (NucleotideObjective, DistanceObjective)
_registered: dict[str, type[Objective]] = {}


def register(kind: type[Objective]) -> type[Objective]:
    """Make an objective known by its name, for `[train.objectives]`; also a decorator of its class.

    Parameters
    ----------
    kind : subclass of Objective
        It is made with its weight alone.

    Raises
    ------
    ValueError
        If another objective has the name.
    """
    if kind.name in {each.name for each in _ALWAYS} or _registered.get(kind.name, kind) is not kind:
        raise ValueError(f"there is an objective {kind.name!r} already")
    _registered[kind.name] = kind
    return kind


def make_objectives(config: TrainConfig) -> tuple[Objective, ...]:
    """Make the objectives of a run.

    Raises
    ------
    UsageError
        If the configuration names an objective that is not registered.
    """
    further = tuple(_kind(name)(weight) for name, weight in config.objectives.items())
    return (
        NucleotideObjective(config.nucleotide_weight),
        DistanceObjective(config.distance_weight, config.targets),
        *further,
    )


def add_heads(model: AamModel, names: Iterable[str]) -> None:
    """Give a model the heads of objectives, with new weights, where it has none of that name.

    Parameters
    ----------
    model : AamModel
    names : iterable of str
        Names of objectives; one that has no head, or is not registered, adds nothing.
    """
    for name in names:
        kind = _registered.get(name)
        if kind is None or name in model.objective_heads:
            continue
        head = kind.make_head(model.config)
        if head is not None:
            model.objective_heads[name] = head.to(model.device)


def loss_labels() -> dict[str, Label]:
    """Return how each known loss is shown, by its name in `metrics.jsonl`: the whole loss first."""
    labels = {"loss": Label("loss", "")}
    for kind in (*_ALWAYS, *_registered.values()):
        labels |= {f"{term}_loss": label for term, label in kind.labels.items()}
    return labels


def loss_defining_keys() -> frozenset[str]:
    """Return the settings that define the loss. Losses from before and after a change do not compare."""
    keys = {"shards", "token_limit", "validation_samples", "objectives"}
    return frozenset(keys).union(*(kind.config_keys for kind in (*_ALWAYS, *_registered.values())))


def _kind(name: str) -> type[Objective]:
    if name not in _registered:
        known = ", ".join(_registered) or "none is registered"
        raise UsageError(
            f"no objective of the name {name!r} is registered ({known})",
            "[train.objectives]",
            "import the module that registers it before training, or leave it out",
        )
    return _registered[name]
