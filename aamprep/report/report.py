"""The result of a validation, and the error that carries one."""

from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aam_schemas.common.errors import InvalidDataError
from aam_schemas.common.publish import replace_file
from aamprep.report.documents import Prepared, as_fragment, as_json, as_parquet, tally, verdict
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Severity

if TYPE_CHECKING:
    import polars as pl

TEXT_WIDTH = 100
"""Number of characters per line of a report as text."""


@dataclass(frozen=True, repr=False)
class Report:
    """Result of checking a table, a study or a shard set.

    Print it to read it. A notebook shows it as a table.
    """

    title: str
    """Name of the checked data, such as the path of a table."""
    findings: Findings
    """Sequence of findings, at most 1,000 per rule. Each has `code`, `severity`, `where`, `value` and `rule`.
    `findings.not_shown()` counts the others."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts about the data, such as numbers of samples and ASVs, as in `to_dict()["facts"]`."""
    task: str = "Validation"
    """Name of the check: Validation or Verification."""
    prepared: Prepared | None = None
    """Statistics of the prepared samples, for plots. None if no sample could be prepared."""

    @property
    def is_valid(self) -> bool:
        """Whether there are no errors. There may be warnings and notes."""
        return self.findings.valid

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by code, errors first."""
        return {rule.code: number for rule, number in self.findings.counts().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command prints with `--json`."""
        return as_json(self.findings, self.facts)

    def findings_frame(self) -> "pl.DataFrame":
        """Return the findings as a data frame, one row each, with the columns of `findings.parquet`.

        If a rule has more than 1,000 findings, the first 1,000 have rows, and a last row counts the others.
        """
        import polars as pl

        from aamprep.report.documents import FINDINGS, as_rows

        return pl.DataFrame(as_rows(self.findings), schema=dict.fromkeys(FINDINGS.names, pl.String()))

    def to_html(self, path: str | Path) -> Path:
        """Write the report with plots as one HTML page, and return its path."""
        from aamprep.report.html import as_html

        page = as_html(self.title, self.task, self.findings, self.facts, self.prepared)
        replace_file(Path(path), page)
        return Path(path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the findings as a Parquet file, and return its path."""
        replace_file(Path(path), as_parquet(self.findings))
        return Path(path)

    def __str__(self) -> str:
        """Return the text that the command prints, without colors."""
        from aam_schemas.common.terminal import plain_console
        from aamprep.report.terminal import print_report

        text = StringIO()
        print_report(self.findings, self.facts, plain_console(file=text, width=TEXT_WIDTH, no_color=True))
        return text.getvalue().rstrip()

    def __repr__(self) -> str:
        """Return the outcome on one line."""
        return f"<{self.task} of {self.title}: {verdict(self.findings)}, {tally(self.findings)}>"

    def _repr_html_(self) -> str:
        """Return a table of the findings for a notebook."""
        return as_fragment(f"{self.task} of {self.title}", self.findings)


class InvalidStudyError(InvalidDataError):
    """Invalid data, because of which nothing was written or returned.

    Attributes
    ----------
    report : Report
        All findings. Its errors give the reasons.
    is_strict : bool
        Whether valid samples were left, but `strict` was set and others were rejected.
    """

    def __init__(self, what: str, report: Report, is_strict: bool = False) -> None:
        errors = report.findings.of(Severity.ERROR)
        fix = "see the errors in `report`, which give a fix for each"
        if errors:
            more = report.findings.number(Severity.ERROR) - 1
            what += f": {errors[0]}: violates: {errors[0].rule.requirement}"
            what += f" ({more:,} more in `report`)" if more else ""
            fix = errors[0].rule.fix
        super().__init__(what, report.title, fix)
        self.report = report
        self.is_strict = is_strict
