"""List the rules that were checked and hold, and those that could not be checked."""

from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.rules.rule import Need, Rule
from aamprep.study.study import Study

_NEED_OF_ROLE = {
    "rep-seqs": Need.REP_SEQS,
    "tree": Need.TREE,
    "metadata": Need.METADATA,
    "distances": Need.DISTANCES,
    "taxonomy": Need.TAXONOMY,
}

_BAD_COUNTS = {
    one.code for one in (rules.COUNT_NAN, rules.COUNT_NEGATIVE, rules.COUNT_INFINITE, rules.COUNT_TOO_LARGE)
}
"""What a reader finds where `rules.BAD_COUNT` is the reason for which a sample is left out."""


def note_what_was_checked(study: Study | None, rarefied: bool, findings: Findings) -> None:
    """Sort the rules that found nothing into those that hold and those that could not be checked.

    Where no study came about, nobody knows how far the readers got, so nothing is said to hold.
    """
    found = {finding.rule.code for finding in findings.found}
    if found & _BAD_COUNTS:
        found.add(rules.BAD_COUNT.code)
    for code, rule in sorted(rules.catalogue().items()):
        if code in found or code in findings.not_checked:
            continue
        reason = _why_not(rule, study, rarefied)
        if reason:
            findings.skip(rule, reason)
        else:
            findings.passed.append(rule)


def _why_not(rule: Rule, study: Study | None, rarefied: bool) -> str:
    """Return why a rule could not be checked; empty where it was."""
    if study is None:
        return "the files could not be put together: see the errors"
    if rule.needs is None or rule.needs in _given(study, rarefied):
        return ""
    return rule.needs.value


def _given(study: Study, rarefied: bool) -> set[Need]:
    """Return what a validation was given; it takes neither filters nor a column to split by."""
    given = {_NEED_OF_ROLE[file.role] for file in study.inputs if file.role in _NEED_OF_ROLE}
    if any("QIIME 2" in file.kind for file in study.inputs):
        given.add(Need.ARTIFACT)
    if rarefied:
        given.add(Need.RAREFACTION)
    return given
