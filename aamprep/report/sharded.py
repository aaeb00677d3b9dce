"""The result of writing a shard set: its folder and manifest, and the report of its data."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from aam_schemas.manifest import Manifest
from aam_schemas.shards import REJECTED_FILE, SPLITS
from aamprep.report.report import Report
from aamprep.shards.shard_set import ShardSet


@dataclass(frozen=True, repr=False)
class ShardSummary:
    """Result of `aamprep.shard` and `aamprep.merge`."""

    path: Path
    """Folder of the shard set."""
    manifest: Manifest
    report: Report
    """Findings about the data, including the rejected samples."""
    sample_ids: tuple[str, ...] = ()
    """Ids of all samples of the tables in their order, including rejected ones. Empty after `merge`."""

    def open(self) -> ShardSet:
        """Open the shard set."""
        return ShardSet(self.path, self.manifest)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        return self.report.to_dict()

    def __str__(self) -> str:
        """Return the size of the shard set and the number of rejected samples and ASVs in words."""
        manifest = self.manifest
        splits = ", ".join(f"{manifest.num_rows(split):,} {split}" for split in SPLITS)
        text = (
            f"{self.path}: {manifest.num_samples:,} samples ({splits}), {manifest.num_asvs:,} ASVs, "
            f"{manifest.num_branches:,} branches, token limit {manifest.choices.token_limit:,}"
        )
        if manifest.num_rejected_samples or manifest.num_rejected_asvs:
            rejected = f"{manifest.num_rejected_samples:,} samples and {manifest.num_rejected_asvs:,} ASVs"
            text += f"\nrejected: {rejected}; {self.path / REJECTED_FILE} lists them with reasons"
        return text

    def __repr__(self) -> str:
        """Return the folder and size on one line."""
        return f"<ShardSummary {str(self).partition(chr(10))[0]}>"

    def _repr_html_(self) -> str:
        """Return the size of the shard set and the findings as HTML for a notebook."""
        lines = "".join(f"<p>{escape(line)}</p>" for line in str(self).split("\n"))
        return lines + self.report._repr_html_()
