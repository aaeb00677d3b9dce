"""What validation says: rules with stable codes, and findings that name the place and the remedy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

from aamprep.rules.rule import Rule, Severity


@dataclass(frozen=True)
class Finding:
    """One place where a rule does not hold."""

    rule: Rule
    where: str
    """The place as the user sees it: file, sample, ASV, row, column."""
    value: str = ""
    """What was found there."""

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
        """Return the form that `--json` prints."""
        return {
            "code": self.rule.code,
            "severity": self.rule.severity.value,
            "where": self.where,
            "value": self.value,
            "rule": self.rule.rule,
            "remedy": self.rule.remedy,
        }


@dataclass
class Findings(Sequence[Finding]):
    """All findings of one validation, in the order in which they were made."""

    found: list[Finding] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    """Rules that could not run: code, and why."""
    held: list[Rule] = field(default_factory=list)
    """Rules that were checked and found nothing, where the command tells."""

    def __len__(self) -> int:
        """Return the number of findings."""
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        """Return one finding or some of them."""
        return self.found[index]

    def add(self, rule: Rule, where: str, value: object = "") -> None:
        """Record one place where a rule does not hold."""
        self.found.append(Finding(rule, where, str(value)))

    def add_each(self, rule: Rule, places: Iterable[tuple[str, object]]) -> None:
        """Record several places where a rule does not hold."""
        for where, value in places:
            self.add(rule, where, value)

    def skip(self, rule: Rule, reason: str = "") -> None:
        """Record that a rule could not be checked, by default because the rule's need was not given."""
        self.not_checked[rule.code] = reason or (rule.needs.value if rule.needs else "")

    def counts(self) -> dict[Rule, int]:
        """Count the findings of each rule, errors first, in order of the rules' codes."""
        counts = Counter(finding.rule for finding in self.found)
        order = list(Severity)
        return dict(sorted(counts.items(), key=lambda item: (order.index(item[0].severity), item[0].code)))

    def of(self, severity: Severity) -> list[Finding]:
        """List the findings of one severity."""
        return [finding for finding in self.found if finding.rule.severity is severity]

    @property
    def valid(self) -> bool:
        """True where nothing would be rejected."""
        return not self.of(Severity.ERROR)
