"""Turn BIOM tables into validated, truncated Parquet shards.

Each public name is imported when it is first used, so importing the package takes almost no time.
"""

from typing import TYPE_CHECKING

from aam_schemas.common.lazy import lazy_exports

if TYPE_CHECKING:
    from aam_schemas.common.errors import AamError, InvalidDataError, UsageError
    from aamprep.api import (
        find_beside,
        inspect,
        limits,
        merge,
        open_shards,
        read_metadata,
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
    "read_metadata",
    "root",
    "shard",
    "simulate",
    "validate",
    "verify",
]

_MODULES = {
    "AamError": "aam_schemas.common.errors",
    "InvalidDataError": "aam_schemas.common.errors",
    "InvalidStudyError": "aamprep.report.report",
    "Report": "aamprep.report.report",
    "ShardSet": "aamprep.shards.shard_set",
    "ShardSummary": "aamprep.report.sharded",
    "UsageError": "aam_schemas.common.errors",
    "find_beside": "aamprep.api",
    "inspect": "aamprep.api",
    "limits": "aamprep.api",
    "merge": "aamprep.api",
    "open_shards": "aamprep.api",
    "read_metadata": "aamprep.api",
    "root": "aamprep.api",
    "shard": "aamprep.api",
    "simulate": "aamprep.api",
    "validate": "aamprep.api",
    "verify": "aamprep.api",
}
"""The module of each public name."""

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
