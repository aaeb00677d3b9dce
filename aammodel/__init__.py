"""Stream shards into a padding-safe transformer, train it, and use it.

Every name below is imported when it is first used. Importing the package takes no time, and loads neither
torch nor matplotlib.
"""

from typing import TYPE_CHECKING

from aam_schemas.common.lazy import lazy_exports

if TYPE_CHECKING:
    from aam_schemas.common.errors import AamError, InvalidDataError, NonFiniteError, UsageError
    from aam_schemas.preparation import Preparation
    from aammodel.api import (
        Model,
        Run,
        crossval,
        distance_matrix,
        load,
        open_shards,
        plan,
        pretrain,
        resume,
    )
    from aammodel.config.model import ModelConfig
    from aammodel.config.train import TrainConfig
    from aammodel.cross_validation.result import Crossval
    from aammodel.embedder import AamEmbedder
    from aammodel.evaluation.embed import Embeddings
    from aammodel.evaluation.evaluate import Evaluation
    from aammodel.methods.registry import Method, register_method
    from aammodel.objectives.base import Objective
    from aammodel.objectives.registry import register as register_objective
    from aammodel.reports.compare import compare
    from aammodel.workflows.embed import EmbeddedAsvs, EmbeddedSamples

    __version__: str

__all__ = [
    "AamEmbedder",
    "AamError",
    "Crossval",
    "EmbeddedAsvs",
    "EmbeddedSamples",
    "Embeddings",
    "Evaluation",
    "InvalidDataError",
    "Method",
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
    "crossval",
    "distance_matrix",
    "load",
    "open_shards",
    "plan",
    "pretrain",
    "register_method",
    "register_objective",
    "resume",
]

_MODULES = {
    "AamEmbedder": "aammodel.embedder",
    "AamError": "aam_schemas.common.errors",
    "Crossval": "aammodel.cross_validation.result",
    "EmbeddedAsvs": "aammodel.workflows.embed",
    "EmbeddedSamples": "aammodel.workflows.embed",
    "Embeddings": "aammodel.evaluation.embed",
    "Evaluation": "aammodel.evaluation.evaluate",
    "InvalidDataError": "aam_schemas.common.errors",
    "Method": "aammodel.methods.registry",
    "Model": "aammodel.api",
    "ModelConfig": "aammodel.config.model",
    "NonFiniteError": "aam_schemas.common.errors",
    "Objective": "aammodel.objectives.base",
    "Preparation": "aam_schemas.preparation",
    "Run": "aammodel.api",
    "TrainConfig": "aammodel.config.train",
    "UsageError": "aam_schemas.common.errors",
    "compare": "aammodel.reports.compare",
    "crossval": "aammodel.api",
    "distance_matrix": "aammodel.api",
    "load": "aammodel.api",
    "open_shards": "aammodel.api",
    "plan": "aammodel.api",
    "pretrain": "aammodel.api",
    "register_method": "aammodel.methods.registry",
    "register_objective": "aammodel.objectives.registry:register",
    "resume": "aammodel.api",
}
"""The module of each public name."""

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
