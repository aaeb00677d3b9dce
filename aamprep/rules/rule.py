"""A rule: one thing that is checked, with a stable code, a severity and a remedy."""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Severity(StrEnum):
    """How serious it is that a rule does not hold."""

    ERROR = "error"
    """The sample or file is rejected."""
    WARNING = "warning"
    """The data are kept, but you should know."""
    NOTE = "note"
    """The data are fine, and you may want to know."""


class Need(Enum):
    """What a rule needs before it can be checked. The value is the reason given where that is missing."""

    REP_SEQS = "no rep-seqs were given"
    TREE = "no tree was given"
    METADATA = "no metadata were given"
    TAXONOMY = "no taxonomy was given"
    DISTANCES = "no distances were given"
    ARTIFACT = "no QIIME 2 artifact was given"
    FILTER = "no such filter was asked for"
    SPLIT_BY = "no column was chosen to split by"
    RAREFACTION = "no rarefaction depth was given"


@dataclass(frozen=True)
class Rule:
    """One thing that is checked."""

    code: str
    """Stable, in words joined by dashes; scripts rely on it."""
    severity: Severity
    rule: str
    """What holds for valid data, as a sentence."""
    remedy: str
    """What to do where it does not hold."""
    example: str = ""
    """A location and value that break it, for the documentation."""
    needs: Need | None = None
    """What must be given before the rule can be checked; None where a table is enough."""


def error(code: str, rule: str, remedy: str, example: str, needs: Need | None = None) -> Rule:
    """Return a rule whose violation rejects a sample or a file."""
    return Rule(code, Severity.ERROR, rule, remedy, example, needs)


def warning(code: str, rule: str, remedy: str, example: str, needs: Need | None = None) -> Rule:
    """Return a rule whose violation is kept but reported as a warning."""
    return Rule(code, Severity.WARNING, rule, remedy, example, needs)


def note(code: str, rule: str, remedy: str, example: str, needs: Need | None = None) -> Rule:
    """Return a rule whose violation is reported as a note."""
    return Rule(code, Severity.NOTE, rule, remedy, example, needs)
