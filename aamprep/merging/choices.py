"""What the manifest of a merged set says about how its samples were made."""

from dataclasses import replace

from aam_schemas.manifest import Choices
from aamprep.rules import shards as rules
from aamprep.rules.findings import Findings

MIXED = "mixed"
"""Selection of a set whose samples were selected in several ways: each sample's order still holds."""


def common_choices(
    choices: dict[str, Choices], token_limit: int | None, all_in_tree: bool, findings: Findings
) -> Choices:
    """Find what holds for all sets, and say where they differ.

    Parameters
    ----------
    choices : dict of str to Choices
        By the name of the set.
    token_limit : int, optional
        Of the merged set; by default the smallest.
    all_in_tree : bool
        Whether the merged set has a tree, with every ASV in it.
    findings : Findings
    """
    every = list(choices.values())
    first = every[0]
    depths = {name: one.rarefy_depth for name, one in choices.items()}
    if len(set(depths.values())) > 1:
        words = "; ".join(f"{name}: {depth or 'not rarefied'}" for name, depth in depths.items())
        findings.add(rules.MERGE_DEPTHS, words)
    for field in ("select", "split_by", "seed", "min_prevalence", "min_reads"):
        values = {name: getattr(one, field) for name, one in choices.items()}
        if len(set(values.values())) > 1:
            words = ", ".join(f"{value} in {name}" for name, value in values.items())
            findings.add(rules.MERGE_CHOICES, f"{field}: {words}")
    missing = {one.missing_from_tree for one in every}
    return replace(
        first,
        token_limit=token_limit or min(one.token_limit for one in every),
        select=first.select if len({one.select for one in every}) == 1 else MIXED,
        rarefy_depth=first.rarefy_depth if len(set(depths.values())) == 1 else None,
        split_by=first.split_by if len({one.split_by for one in every}) == 1 else None,
        missing_from_tree=first.missing_from_tree if all_in_tree and len(missing) == 1 else "keep",
        min_prevalence=min(one.min_prevalence for one in every),
        min_reads=min(one.min_reads for one in every),
    )
