"""Which rules were checked and found nothing, and which could not be: a clean report is proof, too."""

from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings, Rule
from aamprep.study.study import Study

_ROLES = {
    "fasta": "rep-seqs",
    "newick": "tree",
    "tree": "tree",
    "metadata": "metadata",
    "distances": "distances",
    "taxonomy": "taxonomy",
}
"""The file that rules need whose codes begin so."""

_FILTERS = (
    rules.BELOW_PREVALENCE,
    rules.BELOW_READS,
    rules.ASV_DROPPED_NOT_IN_TREE,
    rules.SAMPLE_NOT_IN_TREE,
    rules.NOT_ASKED_FOR,
)
_SPLIT_BY = (rules.SPLIT_BY_EMPTY, rules.NO_SAMPLE_IN_SPLIT)
_RAREFACTION = (rules.CANNOT_RAREFY, rules.BELOW_DEPTH)

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
            findings.held.append(rule)


def _why_not(rule: Rule, study: Study | None, rarefied: bool) -> str:
    """Say why a rule could not be checked; empty where it was."""
    if study is None:
        return "the files could not be put together: see the errors"
    role = _ROLES.get(rule.code.split("-")[0])
    if role is not None and role not in {one.role for one in study.inputs}:
        return f"no {role} {'was' if role in ('tree', 'taxonomy') else 'were'} given"
    if rule.code.startswith("artifact-") and not any("QIIME 2" in one.kind for one in study.inputs):
        return "no QIIME 2 artifact was given"
    if rule in _FILTERS:
        return "no such filter was asked for"
    if rule in _SPLIT_BY:
        return "no column was chosen to split by"
    if rule in _RAREFACTION and not rarefied:
        return "no rarefaction depth was given"
    return ""
