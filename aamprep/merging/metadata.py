"""Metadata of several shard sets made into one table."""

from dataclasses import dataclass

import pyarrow as pa

from aam_schemas.common.text import exact_number
from aam_schemas.manifest import InputFile
from aamprep.read.types import Metadata
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings


@dataclass(frozen=True)
class StoredMetadata:
    """Metadata of one set."""

    name: str
    """Of the set."""
    ids: tuple[str, ...]
    """Sample ids in the merged set, a row each."""
    types: dict[str, str]
    table: pa.Table

    def cells(self, column: str) -> tuple[str | None, ...]:
        """Give a column as text; None where a cell is missing, or the whole column."""
        if column not in self.types:
            return (None,) * len(self.ids)
        values = self.table[column].to_pylist()
        if self.types[column] == "categorical":
            return tuple(values)
        return tuple(None if value is None else exact_number(value) for value in values)


def unite_metadata(parts: list[StoredMetadata], source: InputFile, findings: Findings) -> Metadata:
    """Unite rows and columns; a column that is categorical in one set is categorical in all."""
    types: dict[str, str] = {}
    for one in parts:
        for column, kind in one.types.items():
            types[column] = kind if types.get(column, kind) == kind else "categorical"
    for column in types:
        kinds = {one.name: one.types[column] for one in parts if column in one.types}
        if len(set(kinds.values())) > 1:
            words = ", ".join(f"{kind} in {name}" for name, kind in kinds.items())
            findings.add(rules.MERGE_COLUMN_TYPE, f"column {column}", words)
    return Metadata(
        source=source,
        ids=tuple(sample_id for one in parts for sample_id in one.ids),
        columns={column: tuple(cell for one in parts for cell in one.cells(column)) for column in types},
        types=types,
    )
