"""Stream shards into a padding-safe transformer, train it, and use it.

Every name below is imported when it is first used. Importing the package takes no time, and loads neither
torch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aam_schemas.common.errors import AamError, InvalidDataError, NonFiniteError, UsageError
    from aam_schemas.preparation import Preparation
    from aammodel.api import (
        Model,
        Run,
        distance_matrix,
        load,
        open_shards,
        plan,
        pretrain,
        resume,
    )
    from aammodel.config.model import ModelConfig
    from aammodel.config.train import TrainConfig
    from aammodel.evaluation.embed import Embeddings
    from aammodel.evaluation.evaluate import Evaluation
    from aammodel.objectives.base import Objective
    from aammodel.objectives.registry import register as register_objective
    from aammodel.reports.compare import compare

    __version__: str

__all__ = [
    "AamError",
    "Embeddings",
    "Evaluation",
    "InvalidDataError",
    "Model",
    "ModelConfig",
    "NonFiniteError",
    "Objective",
    "Preparation",
    "Run",
    "TrainConfig",
    "UsageError",
    "__version__",
    "compare",
    "distance_matrix",
    "load",
    "open_shards",
    "plan",
    "pretrain",
    "register_objective",
    "resume",
]

_ELSEWHERE = {
    "AamError": "aam_schemas.common.errors",
    "Embeddings": "aammodel.evaluation.embed",
    "Evaluation": "aammodel.evaluation.evaluate",
    "InvalidDataError": "aam_schemas.common.errors",
    "ModelConfig": "aammodel.config.model",
    "NonFiniteError": "aam_schemas.common.errors",
    "Objective": "aammodel.objectives.base",
    "Preparation": "aam_schemas.preparation",
    "TrainConfig": "aammodel.config.train",
    "compare": "aammodel.reports.compare",
    "UsageError": "aam_schemas.common.errors",
}
"""The module of each name that is not in `aammodel.api`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("aamprep")
    elif name == "register_objective":
        value = import_module("aammodel.objectives.registry").register
    else:
        value = getattr(import_module(_ELSEWHERE.get(name, "aammodel.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, too."""
    return sorted({*globals(), *__all__})
