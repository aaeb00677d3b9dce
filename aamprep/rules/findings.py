"""Findings: the violations of rules that a validation reports."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from aam_schemas.common.text import shorten
from aamprep.rules.rule import Effect, Rule, Severity

KEPT_PER_RULE = 1000
"""Number of findings of a rule that are kept. A file can violate a rule millions of times: the others are
counted only."""

SHOWN_CHARACTERS = 500
"""Number of characters of a location or value that a finding keeps. Ids in files can be of any length."""


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
    """Findings of one validation, in the order in which they were added.

    As a sequence, it holds the first `KEPT_PER_RULE` findings of each rule. `counts` counts all of them.
    """

    found: list[Finding] = field(default_factory=list)
    """Findings that are kept."""
    not_checked: dict[str, str] = field(default_factory=dict)
    """Reason why a rule could not be checked, by code."""
    passed: list[Rule] = field(default_factory=list)
    """Rules that were checked without a finding. Empty if the command does not report them."""
    _numbers: dict[str, int] = field(default_factory=dict)
    """Number of findings of each rule, by code."""
    _rules: dict[str, Rule] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of findings that are kept."""
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        """Return one finding, or a list for a slice."""
        return self.found[index]

    def add(self, rule: Rule, where: str, value: object = "") -> None:
        """Add a violation of a rule. It is only counted if the rule has `KEPT_PER_RULE` findings already."""
        if self._count(rule, 1) <= KEPT_PER_RULE:
            where, value = shorten(where, SHOWN_CHARACTERS), shorten(value, SHOWN_CHARACTERS)
            self.found.append(Finding(rule, where, value))

    def add_each(self, rule: Rule, violations: Iterable[tuple[str, object]]) -> None:
        """Add several violations of a rule, each as a location and a value."""
        for where, value in violations:
            self.add(rule, where, value)

    def add_all(self, others: "Findings") -> None:
        """Add the findings of another validation."""
        self.add_json(others.as_json(), others._rules)

    def skip(self, rule: Rule, reason: str = "") -> None:
        """Record that a rule could not be checked. By default, the reason is its missing input."""
        self.not_checked[rule.code] = reason or (rule.needs.value if rule.needs else "")

    def counts(self) -> dict[Rule, int]:
        """Return the number of findings per rule, sorted by severity (errors first), then by code.

        Findings that are not kept are included.
        """
        order = list(Severity)
        rules = sorted(self._rules.values(), key=lambda rule: (order.index(rule.severity), rule.code))
        return {rule: self._numbers[rule.code] for rule in rules}

    def not_shown(self) -> dict[Rule, int]:
        """Return the number of findings that are counted, but not kept, for each rule that has any."""
        more = {rule: number - KEPT_PER_RULE for rule, number in self.counts().items()}
        return {rule: number for rule, number in more.items() if number > 0}

    def number(self, severity: Severity) -> int:
        """Return the number of findings of one severity, including those that are not kept."""
        return sum(self._numbers[code] for code, rule in self._rules.items() if rule.severity is severity)

    def of(self, severity: Severity) -> list[Finding]:
        """Return the kept findings of one severity."""
        return [finding for finding in self.found if finding.rule.severity is severity]

    @property
    def valid(self) -> bool:
        """Whether there are no errors: nothing would be rejected."""
        return not self.number(Severity.ERROR)

    @property
    def refused(self) -> bool:
        """Whether there is an error because of which nothing may be written."""
        return any(rule.effect is Effect.REFUSED for rule in self._rules.values())

    def as_json(self) -> dict[str, Any]:
        """Return the findings and their numbers as JSON values, for `add_json` in another process."""
        kept = [(finding.rule.code, finding.where, finding.value) for finding in self.found]
        return {"findings": kept, "numbers": self._numbers}

    def add_json(self, stored: Mapping[str, Any], catalogue: Mapping[str, Rule]) -> None:
        """Add findings that `as_json` has stored. The catalogue gives the rules by code."""
        kept = Counter(code for code, _, _ in stored["findings"])
        for code, where, value in stored["findings"]:
            self.add(catalogue[code], where, value)
        for code, number in stored["numbers"].items():
            self._count(catalogue[code], number - kept[code])

    def _count(self, rule: Rule, number: int) -> int:
        """Add to the number of findings of a rule, and return the sum."""
        self._rules[rule.code] = rule
        self._numbers[rule.code] = total = self._numbers.get(rule.code, 0) + number
        return total
