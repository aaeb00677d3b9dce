"""BIOM tables in, validated and truncated Parquet shards out.

Every name below is imported when it is first used, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
    from aamprep.api import (
        find_beside,
        inspect,
        limits,
        merge,
        open_shards,
        root,
        shard,
        simulate,
        validate,
        verify,
    )
    from aamprep.report.report import InvalidStudyError, Report
    from aamprep.report.sharded import ShardSummary
    from aamprep.shards.shard_set import ShardSet

    __version__: str

__all__ = [
    "AamError",
    "InvalidDataError",
    "InvalidStudyError",
    "Report",
    "ShardSet",
    "ShardSummary",
    "UsageError",
    "__version__",
    "find_beside",
    "inspect",
    "limits",
    "merge",
    "open_shards",
    "root",
    "shard",
    "simulate",
    "validate",
    "verify",
]

_MODULES = {
    "AamError": "aam_schemas.common.errors",
    "InvalidDataError": "aam_schemas.common.errors",
    "UsageError": "aam_schemas.common.errors",
    "InvalidStudyError": "aamprep.report.report",
    "Report": "aamprep.report.report",
    "ShardSet": "aamprep.shards.shard_set",
    "ShardSummary": "aamprep.report.sharded",
}
"""Where a name is defined that is not in `aamprep.api`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("aamprep")
    else:
        value = getattr(import_module(_MODULES.get(name, "aamprep.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, too."""
    return sorted({*globals(), *__all__})
