"""The result of a validation, and the error that carries one."""

from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.publish import replace_file
from aamprep.report.documents import Prepared, as_fragment, as_json, as_parquet, tally, verdict
from aamprep.rules.findings import Findings

if TYPE_CHECKING:
    import polars as pl

TEXT_WIDTH = 100
"""Characters per line of a report as text."""


@dataclass(frozen=True, repr=False)
class Report:
    """What was found in a table, a study or a shard set.

    Print it to read it; a notebook shows it as a table.
    """

    title: str
    """What was checked."""
    findings: Findings
    """Every finding: a sequence, whose items have `code`, `severity`, `where`, `value` and `rule`."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures, as in `to_dict()["facts"]`."""
    task: str = "Validation"
    """What was done."""
    prepared: Prepared | None = None

    @property
    def is_valid(self) -> bool:
        """Whether nothing would be rejected: there is no error, though there may be warnings and notes."""
        return self.findings.valid

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by code, errors first."""
        return {rule.code: number for rule, number in self.findings.counts().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        return as_json(self.findings, self.facts)

    def findings_frame(self) -> "pl.DataFrame":
        """Return the findings as a data frame with a row for each and the columns of `findings.parquet`."""
        import polars as pl

        from aamprep.report.documents import FINDINGS

        rows = [finding.as_dict() for finding in self.findings]
        return pl.DataFrame(rows, schema=dict.fromkeys(FINDINGS.names, pl.String()))

    def to_html(self, path: str | Path) -> Path:
        """Write the report with its plots as one HTML page, which needs no network, and return its path."""
        from aamprep.report.html import as_html

        page = as_html(self.title, self.task, self.findings, self.facts, self.prepared)
        replace_file(Path(path), page)
        return Path(path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the findings as a Parquet file, and return its path."""
        replace_file(Path(path), as_parquet(self.findings))
        return Path(path)

    def __str__(self) -> str:
        """Return the text that the command prints, without colours."""
        from rich.console import Console

        from aamprep.report.terminal import print_report

        text = StringIO()
        print_report(self.findings, self.facts, Console(file=text, width=TEXT_WIDTH, no_color=True))
        return text.getvalue().rstrip()

    def __repr__(self) -> str:
        """Return the outcome on one line."""
        return f"<{self.task} of {self.title}: {verdict(self.findings)}, {tally(self.findings)}>"

    def _repr_html_(self) -> str:
        """Return a table of the findings for a notebook."""
        return as_fragment(f"{self.task} of {self.title}", self.findings)


class InvalidStudyError(InvalidDataError):
    """Nothing was written, because of the data.

    Attributes
    ----------
    report : Report
        Every finding; its errors say why.
    is_strict : bool
        Whether samples were left, but `strict` forbids to leave any out.
    """

    def __init__(self, what: str, report: Report, is_strict: bool = False) -> None:
        super().__init__(what, report.title, "see the errors of `report`: each says what to do")
        self.report = report
        self.is_strict = is_strict
