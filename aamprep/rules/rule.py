"""The type of a rule: a requirement on the data, with a stable code, a severity and a fix."""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Severity(StrEnum):
    """Consequence of violating a rule."""

    ERROR = "error"
    """The sample or file is rejected."""
    WARNING = "warning"
    """The data are kept, but you should look at them."""
    NOTE = "note"
    """The data are fine. This is for your information."""


SHARD, MERGE = "shard", "merge"


class Effect(StrEnum):
    """What `aamprep shard` does with an error. The value completes the sentence `aamprep shard ...`."""

    REFUSED = "writes nothing"
    SAMPLE = "leaves out the sample"
    FEATURE = "leaves out the feature and its reads"
    SEQUENCE = "leaves out the sequence, so the feature and its reads are left out, too"
    TEXT = "leaves out this text"
    TIP = "leaves out the tips of this name, so the ASV is missing from the tree"
    TAXON = "leaves out the row, so the feature has no taxon from it"
    ROW = "leaves out the row, so the sample has empty cells"
    CELL = "leaves the cell empty"


class Need(Enum):
    """Input that a rule needs. The value is the reason that is reported if the input is missing."""

    REP_SEQS = "no rep-seqs were given"
    TREE = "no tree was given"
    METADATA = "no metadata were given"
    TAXONOMY = "no taxonomy was given"
    DISTANCES = "no distances were given"
    ARTIFACT = "no QIIME 2 artifact was given"
    FILTER = "no such filter was given"
    SPLIT_BY = "no column to split by was given"
    SPLIT_IDS = "no lists of samples for each split were given"
    RAREFACTION = "no rarefaction depth was given"


@dataclass(frozen=True)
class Rule:
    """A requirement on the data."""

    code: str
    """Stable identifier: words joined by dashes. Scripts rely on it."""
    severity: Severity
    requirement: str
    """Statement that is true of valid data, without a final period: `counts are finite`."""
    fix: str
    """Action that resolves a violation, without a final period."""
    example: str = ""
    """Location and value of a violation, for the documentation."""
    needs: Need | None = None
    """Input without which the rule cannot be checked. None if a table is enough."""
    effect: Effect | None = None
    """What `aamprep shard` does with a violation. None for warnings and notes: the data are kept."""
    checked_by: tuple[str, ...] = (SHARD,)
    """Commands among shard and merge that check the rule."""


def error(
    code: str,
    requirement: str,
    fix: str,
    example: str,
    needs: Need | None = None,
    effect: Effect = Effect.REFUSED,
    checked_by: tuple[str, ...] = (SHARD,),
) -> Rule:
    """Return a rule whose violation causes a sample, a feature, a cell or all files to be left out."""
    return Rule(code, Severity.ERROR, requirement, fix, example, needs, effect, checked_by)


def warning(code: str, requirement: str, fix: str, example: str, needs: Need | None = None) -> Rule:
    """Return a rule whose violation is reported as a warning. The data are kept."""
    return Rule(code, Severity.WARNING, requirement, fix, example, needs)


def note(code: str, requirement: str, fix: str, example: str, needs: Need | None = None) -> Rule:
    """Return a rule whose violation is reported as a note. The data are kept."""
    return Rule(code, Severity.NOTE, requirement, fix, example, needs)
