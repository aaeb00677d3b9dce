"""Refuse choices that keep nothing, or that no sample can meet."""

import math
from enum import StrEnum

from aam_schemas.manifest import LARGEST_TOKEN_LIMIT, Choices
from aamprep.choices import MissingFromTree, Select
from aamprep.errors import ParameterError
from aamprep.prepare.rarefy import MOST_READS


def check_choices(choices: Choices) -> Choices:
    """Return the choices, if samples can be prepared with them.

    Raises
    ------
    ParameterError
    """
    check_token_limit(choices.token_limit)
    _check_name(choices.select, Select, "select")
    _check_name(choices.missing_from_tree, MissingFromTree, "missing_from_tree")
    if not math.isfinite(choices.min_reads):
        raise ParameterError(
            f"{choices.min_reads} is not a number of reads", "min_reads", "give a finite number"
        )
    if choices.rarefy_depth is not None:
        _check_depth(choices.rarefy_depth)
    return choices


def check_token_limit(token_limit: int) -> None:
    """Refuse a token limit that keeps nothing, or that no sample can reach.

    Raises
    ------
    ParameterError
    """
    if token_limit < 1:
        raise ParameterError(f"a token limit of {token_limit} keeps no ASV", "token_limit", "give 1 or more")
    if token_limit > LARGEST_TOKEN_LIMIT:
        what = f"a token limit of {token_limit} is beyond what the shards' lists can hold"
        raise ParameterError(what, "token_limit", f"give {LARGEST_TOKEN_LIMIT:,} at most")


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ParameterError(f"a depth of {depth} keeps no read", "rarefy_depth", "give 1 or more")
    if depth > MOST_READS:
        what = f"a depth of {depth} is beyond what a sample can be rarefied to"
        raise ParameterError(what, "rarefy_depth", f"give {MOST_READS:,} at most")


def _check_name(name: str, kind: type[StrEnum], parameter: str) -> None:
    known = [choice.value for choice in kind]
    if name not in known:
        raise ParameterError(f"there is no choice {name!r}", parameter, f"give one of: {', '.join(known)}")
