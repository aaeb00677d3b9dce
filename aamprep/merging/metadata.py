"""Merge the metadata of several shard sets into one table."""

from dataclasses import dataclass

import pyarrow as pa

from aam_schemas.common.text import exact_number
from aam_schemas.manifest import InputFile
from aamprep.read.types import Metadata
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings


@dataclass(frozen=True)
class StoredMetadata:
    """Metadata of one shard set."""

    name: str
    """Name of the set."""
    ids: tuple[str, ...]
    """Sample ids in the merged set, one per row."""
    types: dict[str, str]
    """Type of each column: numeric or categorical."""
    table: pa.Table

    def cells(self, column: str) -> tuple[str | None, ...]:
        """Return the cells of a column as text. Missing cells and columns give None."""
        if column not in self.types:
            return (None,) * len(self.ids)
        values = self.table[column].to_pylist()
        if self.types[column] == "categorical":
            return tuple(values)
        return tuple(None if value is None else exact_number(value) for value in values)


def unite_metadata(parts: list[StoredMetadata], source: InputFile, findings: Findings) -> Metadata:
    """Merge rows and columns. A column that is categorical in one set becomes categorical in all."""
    types: dict[str, str] = {}
    for part in parts:
        for column, kind in part.types.items():
            types[column] = kind if types.get(column, kind) == kind else "categorical"
    for column in types:
        kinds = {part.name: part.types[column] for part in parts if column in part.types}
        if len(set(kinds.values())) > 1:
            words = ", ".join(f"{kind} in {name}" for name, kind in kinds.items())
            findings.add(rules.MERGE_COLUMN_TYPE, f"column {column}", words)
    return Metadata(
        source=source,
        ids=tuple(sample_id for part in parts for sample_id in part.ids),
        columns={column: tuple(cell for part in parts for cell in part.cells(column)) for column in types},
        types=types,
    )
