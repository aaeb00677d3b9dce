"""What was written: a shard set, and the report of the data that it was made from."""

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
    """A shard set that was written."""

    path: Path
    """Its folder."""
    manifest: Manifest
    report: Report
    """What was found in the data, and what was left out."""

    def open(self) -> ShardSet:
        """Open the shard set."""
        return ShardSet(self.path, self.manifest)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        return self.report.to_dict()

    def __str__(self) -> str:
        """Return what was written, and what was left out."""
        manifest = self.manifest
        splits = ", ".join(f"{manifest.num_rows(split):,} {split}" for split in SPLITS)
        text = (
            f"{self.path}: {manifest.num_samples:,} samples ({splits}), {manifest.num_asvs:,} ASVs, "
            f"{manifest.num_branches:,} branches, token limit {manifest.choices.token_limit:,}"
        )
        if manifest.num_rejected_samples or manifest.num_rejected_asvs:
            rejected = f"samples: {manifest.num_rejected_samples:,}, ASVs: {manifest.num_rejected_asvs:,}"
            text += f"\nrejected {rejected}; their reasons are in {self.path / REJECTED_FILE}"
        return text

    def __repr__(self) -> str:
        """Return what was written on one line."""
        return f"<ShardSummary {str(self).splitlines()[0]}>"

    def _repr_html_(self) -> str:
        """Return what was written, and the findings, for a notebook."""
        lines = "".join(f"<p>{escape(line)}</p>" for line in str(self).splitlines())
        return lines + self.report._repr_html_()
