"""A shard set while it is being verified."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from aam_schemas.manifest import (
    MANIFEST_FILE,
    Manifest,
)
from aam_schemas.shards import open_parquet
from aam_schemas.tables import violations
from aamprep.arrays import Mask
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.shards.stored import batches


@dataclass
class ShardCheck:
    """A shard set whose manifest is sound, while its files are checked."""

    folder: Path
    manifest: Manifest
    findings: Findings
    whole: set[str]
    """Files whose content is worth reading: nothing is wrong with them yet."""

    def read(self, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
        """Read every page of a file; what cannot be read becomes a finding.

        Yields
        ------
        pyarrow.Table
            The columns of the schema, some rows at a time.
        """
        path = self.folder / name
        try:
            with open_parquet(path) as file:
                wrong = _wrong_columns(file.schema_arrow, schema)
            for column, found in wrong:
                self.add(rules.COLUMNS, name, f"column {column}", found)
            if not wrong:
                for table in batches(path):
                    yield table.select(schema.names)
                return
        except (OSError, pa.ArrowException) as error:
            self.add(rules.PAGES, name, "", error)
        self.whole.discard(name)

    def passes(self, schema: object, frame: pl.DataFrame, name: str, ids: list[str]) -> bool:
        """Hold rows against their pandera schema: a finding for each check that fails."""
        failures = violations(schema, frame)  # type: ignore[arg-type]
        for (column, check), rows in failures.group_by("column", "check", maintain_order=True):
            index = rows["index"].drop_nulls().to_list()
            place = ids[min(index)] if index else f"column {column}"
            self.add(rules.CONTRACT, name, place, f"{check}, in {len(rows):,} rows")
        return failures.is_empty()

    def add(self, rule: Rule, name: str, place: str = "", value: object = "") -> None:
        """Record what is wrong in a file."""
        where = f"{self.folder / name}"
        self.findings.add(rule, f"{where}: {place}" if place else where, value)

    def add_some(self, rule: Rule, name: str, ids: list[str], bad: Mask, noun: str) -> None:
        """Record the rows that are wrong (True is wrong) as one finding, which names the first."""
        if bad.any():
            first = ids[int(np.argmax(bad))]
            self.add(rule, name, f"{noun} {first}", f"{int(bad.sum()):,} of {len(bad):,} {noun}s")

    def number(self, name: str, listed: int, found: int) -> None:
        """Compare a number of the manifest with that of the files."""
        if listed != found:
            self.add(
                rules.NUMBERS, MANIFEST_FILE, name, f"{listed:,} in the manifest, {found:,} in the files"
            )


def _wrong_columns(found: pa.Schema, needed: pa.Schema) -> list[tuple[str, str]]:
    """List the columns that are missing, there twice, or of another type."""
    wrong = []
    for field in needed:
        types = [found.field(index).type for index in found.get_all_field_indices(field.name)]
        if types != [field.type]:
            words = ", ".join(map(str, types)) or "missing"
            wrong.append((field.name, f"{words}; {field.type} is needed"))
    return wrong
