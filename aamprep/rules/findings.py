"""Findings: the violations of rules that a validation reports."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

from aamprep.rules.rule import Rule, Severity


@dataclass(frozen=True)
class Finding:
    """A violation of a rule."""

    rule: Rule
    where: str
    """Location in the user's terms: file, sample, ASV, row, column."""
    value: str = ""
    """Value at this location."""

    @property
    def code(self) -> str:
        """Code of the rule."""
        return self.rule.code

    @property
    def severity(self) -> Severity:
        """Severity of the rule."""
        return self.rule.severity

    def __str__(self) -> str:
        """Return severity, code, location and value on one line."""
        parts = (f"{self.severity.value} {self.code}", self.where, self.value)
        return ": ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as printed by `--json`."""
        return {
            "code": self.rule.code,
            "severity": self.rule.severity.value,
            "where": self.where,
            "value": self.value,
            "rule": self.rule.requirement,
            "remedy": self.rule.fix,
        }


@dataclass
class Findings(Sequence[Finding]):
    """All findings of one validation, in the order in which they were added."""

    found: list[Finding] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    """Reason why a rule could not be checked, by code."""
    passed: list[Rule] = field(default_factory=list)
    """Rules that were checked without a finding. Empty if the command does not report them."""

    def __len__(self) -> int:
        """Return the number of findings."""
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        """Return one finding, or a list for a slice."""
        return self.found[index]

    def add(self, rule: Rule, where: str, value: object = "") -> None:
        """Add a violation of a rule."""
        self.found.append(Finding(rule, where, str(value)))

    def add_each(self, rule: Rule, violations: Iterable[tuple[str, object]]) -> None:
        """Add several violations of a rule, each as a location and a value."""
        for where, value in violations:
            self.add(rule, where, value)

    def skip(self, rule: Rule, reason: str = "") -> None:
        """Record that a rule could not be checked. By default, the reason is its missing input."""
        self.not_checked[rule.code] = reason or (rule.needs.value if rule.needs else "")

    def counts(self) -> dict[Rule, int]:
        """Return the number of findings per rule, sorted by severity (errors first), then by code."""
        counts = Counter(finding.rule for finding in self.found)
        order = list(Severity)
        return dict(sorted(counts.items(), key=lambda item: (order.index(item[0].severity), item[0].code)))

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.found if finding.rule.severity is severity]

    @property
    def valid(self) -> bool:
        """Whether there are no errors: nothing would be rejected."""
        return not self.of(Severity.ERROR)
