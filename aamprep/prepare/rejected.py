"""What did not pass, and why: on record in `rejected.parquet`, and a finding for each sample."""

from dataclasses import dataclass, field

import pyarrow as pa

from aam_schemas.shards import REJECTED
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule


@dataclass
class Rejected:
    """Samples and ASVs that are left out, gathered as a study is prepared."""

    findings: Findings
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def sample(self, study: str, sample_id: str, rule: Rule, value: object = "", tell: bool = True) -> None:
        """Leave out a sample, and tell the user, unless a reader did when it met the value."""
        if tell:
            self.findings.add(rule, f"{study}: sample {sample_id}", value)
        self.rows.append(("sample", sample_id, study, rule.code, _reason(rule, value)))

    def asvs(self, asv_ids: list[str], rule: Rule, value: str = "") -> None:
        """Leave out ASVs that a choice filters, and tell the user how many."""
        if asv_ids:
            self.findings.add(rule, f"{len(asv_ids):,} ASVs, such as {asv_ids[0]}", value)
        self.rows.extend(("asv", asv_id, "", rule.code, _reason(rule, value)) for asv_id in asv_ids)

    def feature(self, study: str, feature_id: str, finding: Finding) -> None:
        """Leave out a feature that has no valid sequence (its finding was made when it was read)."""
        self.rows.append(("asv", feature_id, study, finding.rule.code, _reason(finding.rule, finding.value)))

    def num(self, kind: str) -> int:
        """Count what was left out: kind is sample or asv."""
        return sum(row[0] == kind for row in self.rows)

    def table(self) -> pa.Table:
        """Give all rows, sorted, as `rejected.parquet` holds them."""
        columns = zip(*sorted(self.rows), strict=True) if self.rows else [()] * len(REJECTED)
        return pa.table([pa.array(column, pa.string()) for column in columns], schema=REJECTED)


def _reason(rule: Rule, value: object) -> str:
    return f"not so: {rule.requirement}" + (f" ({value})" if value != "" else "")
