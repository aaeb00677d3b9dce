"""Rejected samples and ASVs with their reasons, for `rejected.parquet` and for the findings."""

from dataclasses import dataclass, field

import pyarrow as pa

from aam_schemas.common.text import shorten
from aam_schemas.shards import REJECTED
from aamprep.rules.findings import SHOWN_CHARACTERS, Findings
from aamprep.rules.rule import Rule
from aamprep.study.feature_sequences import NoSequence


@dataclass
class Rejected:
    """Samples and ASVs that are left out, collected while a study is prepared."""

    findings: Findings
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    """Rows of `rejected.parquet`: kind (sample or asv), id, study, code of the rule, reason."""

    def add_sample(
        self, study: str, sample_id: str, rule: Rule, value: object = "", report: bool = True
    ) -> None:
        """Record a rejected sample. Set `report` to False if a reader has already added the finding."""
        if report:
            self.findings.add(rule, f"{study}: sample {sample_id}", value)
        self.rows.append(("sample", sample_id, study, rule.code, _reason(rule, value)))

    def add_asvs(self, asv_ids: list[str], rule: Rule, value: str = "") -> None:
        """Record ASVs that a filter removes, and report their number as one finding."""
        if asv_ids:
            self.findings.add(rule, f"{len(asv_ids):,} ASVs, such as {asv_ids[0]}", value)
        self.rows.extend(("asv", asv_id, "", rule.code, _reason(rule, value)) for asv_id in asv_ids)

    def add_feature(self, study: str, feature_id: str, why: NoSequence) -> None:
        """Record a feature without a valid sequence. Its finding was added when the table was read."""
        self.rows.append(("asv", feature_id, study, why.rule.code, _reason(why.rule, why.value)))

    def count(self, kind: str) -> int:
        """Return the number of rejected samples (kind `sample`) or ASVs (kind `asv`)."""
        return sum(row[0] == kind for row in self.rows)

    def table(self) -> pa.Table:
        """Return the sorted rows of `rejected.parquet`."""
        columns = zip(*sorted(self.rows), strict=True) if self.rows else [()] * len(REJECTED)
        return pa.table([pa.array(column, pa.string()) for column in columns], schema=REJECTED)


def _reason(rule: Rule, value: object) -> str:
    # This text is stored in shards. Changing it would change the bytes of rejected.parquet.
    return f"violates: {rule.requirement}" + (f" ({shorten(value, SHOWN_CHARACTERS)})" if value != "" else "")
