"""List the rules that were checked without a finding, and those that could not be checked."""

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
    rule.code for rule in (rules.COUNT_NAN, rules.COUNT_NEGATIVE, rules.COUNT_INFINITE, rules.COUNT_TOO_LARGE)
}
"""Codes that a reader reports for invalid counts. The sample is later rejected by `rules.BAD_COUNT`."""


def note_what_was_checked(study: Study | None, rarefied: bool, findings: Findings) -> None:
    """Record for each rule without a finding whether it holds or why it could not be checked.

    If no study could be read, it is unknown which checks were reached. Then no rule is recorded as holding.
    """
    violated = {rule.code for rule in findings.counts()}
    if violated & _BAD_COUNTS:
        violated.add(rules.BAD_COUNT.code)
    for code, rule in sorted(rules.catalogue().items()):
        if code in violated or code in findings.not_checked:
            continue
        reason = _why_not(rule, study, rarefied)
        if reason:
            findings.skip(rule, reason)
        else:
            findings.passed.append(rule)


def _why_not(rule: Rule, study: Study | None, rarefied: bool) -> str:
    """Return the reason why a rule could not be checked, or an empty text if it was checked."""
    if study is None:
        return "the files could not be used together"
    if rule.needs is None or rule.needs in _given(study, rarefied):
        return ""
    return rule.needs.value


def _given(study: Study, rarefied: bool) -> set[Need]:
    """Return the needs that a validation fulfills. It has no filters and no column to split by."""
    given = {_NEED_OF_ROLE[file.role] for file in study.inputs if file.role in _NEED_OF_ROLE}
    if any("QIIME 2" in file.kind for file in study.inputs):
        given.add(Need.ARTIFACT)
    if rarefied:
        given.add(Need.RAREFACTION)
    return given
