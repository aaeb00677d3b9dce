"""Choices of preparation in the manifest of a merged set."""

from dataclasses import replace

from aam_schemas.manifest import Choices
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings

MIXED = "mixed"
"""Selection of a merged set whose sets differ in it. Each sample keeps its own order of ASVs."""


def common_choices(
    choices: dict[str, Choices], token_limit: int | None, all_in_tree: bool, findings: Findings
) -> Choices:
    """Return the choices that hold for all sets, and report those that differ.

    Parameters
    ----------
    choices : dict of str to Choices
        Choices of each set, by its name.
    token_limit : int, optional
        Token limit of the merged set. By default, the smallest limit of the sets is used.
    all_in_tree : bool
        Whether the merged set has a tree with every ASV in it.
    findings : Findings
        Differences are added here.

    Returns
    -------
    Choices
        Where sets differ, the weakest choice that is true of all samples.
    """
    all_choices = list(choices.values())
    first = all_choices[0]
    depths = {name: each.rarefy_depth for name, each in choices.items()}
    if len(set(depths.values())) > 1:
        words = "; ".join(f"{name}: {depth or 'not rarefied'}" for name, depth in depths.items())
        findings.add(rules.MERGE_DEPTHS, words)
    for field in ("select", "split_by", "split_ids", "seed", "min_prevalence", "min_reads"):
        values = {name: getattr(each, field) for name, each in choices.items()}
        if len(set(values.values())) > 1:
            words = ", ".join(f"{value} in {name}" for name, value in values.items())
            findings.add(rules.MERGE_CHOICES, f"{field}: {words}")
    missing = {each.missing_from_tree for each in all_choices}
    return replace(
        first,
        token_limit=token_limit or min(each.token_limit for each in all_choices),
        select=first.select if len({each.select for each in all_choices}) == 1 else MIXED,
        rarefy_depth=first.rarefy_depth if len(set(depths.values())) == 1 else None,
        split_by=first.split_by if len({each.split_by for each in all_choices}) == 1 else None,
        split_ids=all(each.split_ids for each in all_choices),
        missing_from_tree=first.missing_from_tree if all_in_tree and len(missing) == 1 else "keep",
        min_prevalence=min(each.min_prevalence for each in all_choices),
        min_reads=min(each.min_reads for each in all_choices),
    )
