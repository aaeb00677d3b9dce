"""Read the files of a shard set while it is verified, and record problems."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.footer import ColumnsError
from aam_schemas.manifest import MANIFEST_FILE, Manifest
from aamprep.arrays import BoolArray
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Rule
from aamprep.shards.stored import BYTES_AT_ONCE, open_listed


@dataclass
class ShardCheck:
    """A shard set with a valid manifest, whose files are being checked."""

    folder: Path
    manifest: Manifest
    findings: Findings
    intact: set[str]
    """Names of the files without a problem so far. The content of other files is not checked."""

    def read(self, name: str) -> Iterator[pa.Table]:
        """Read every page of a file, and record damage and invalid columns as findings.

        Yields
        ------
        pyarrow.Table
            Rows in pieces, with the columns of the contract.
        """
        try:
            with open_listed(self.folder, self.manifest, name) as file:
                yield from file.batches(BYTES_AT_ONCE)
                return
        except ColumnsError as error:
            self.add(rules.COLUMNS, name, "", error.what)
        except InvalidDataError as error:
            self.add(rules.PAGES, name, "", error.what)
        self.intact.discard(name)

    def passes(self, failures: pl.DataFrame, name: str, ids: list[str]) -> bool:
        """Return whether no row violates its pandera schema. Each failed check becomes one finding.

        Parameters
        ----------
        failures : polars.DataFrame
            What `aam_schemas.tables.violations` or `metadata_violations` returned.
        name : str
            Name of the file.
        ids : list of str
            What to call each row.
        """
        for (column, check), rows in failures.group_by("column", "check", maintain_order=True):
            index = rows["index"].drop_nulls().to_list()
            location = ids[min(index)] if index else f"column {column}"
            self.add(rules.CONTRACT, name, location, f"{check}, in {len(rows):,} rows")
        return failures.is_empty()

    def add(self, rule: Rule, name: str, location: str = "", value: object = "") -> None:
        """Record a problem at a location in a file, or of the whole file."""
        path = str(self.folder / name)
        self.findings.add(rule, f"{path}: {location}" if location else path, value)

    def add_some(self, rule: Rule, name: str, ids: list[str], bad: BoolArray, noun: str) -> None:
        """Record the rows where `bad` is True as one finding, which names the first of them."""
        if bad.any():
            first = ids[int(np.argmax(bad))]
            self.add(rule, name, f"{noun} {first}", f"{int(bad.sum()):,} of {len(bad):,} {noun}s")

    def compare_number(self, name: str, listed: int, counted: int) -> None:
        """Compare a number in the manifest with the one counted in the files."""
        if listed != counted:
            self.add(
                rules.NUMBERS, MANIFEST_FILE, name, f"{listed:,} in the manifest, {counted:,} in the files"
            )
