"""Refuse choices that are invalid or would keep no data."""

import math
from enum import StrEnum

from aam_schemas.common.json_files import LARGEST_INTEGER
from aam_schemas.manifest import LARGEST_TOKEN_LIMIT, MOST_READS, MOST_SAMPLES, Choices
from aamprep.choices import MissingFromTree, Select
from aamprep.errors import ParameterError


def check_choices(choices: Choices) -> Choices:
    """Return the choices unchanged if they are valid.

    Raises
    ------
    ParameterError
        If a choice is invalid.
    """
    check_token_limit(choices.token_limit)
    _check_name(choices.select, Select, "select")
    _check_name(choices.missing_from_tree, MissingFromTree, "missing_from_tree")
    # The manifest records these numbers, and readers refuse others.
    if not 0 <= choices.min_reads < math.inf:
        what = f"the number of reads is {choices.min_reads}"
        raise ParameterError(what, "min_reads", "give a finite number, 0 or more")
    if not 0 <= choices.min_prevalence <= MOST_SAMPLES:
        what = f"a prevalence of {choices.min_prevalence} samples is impossible"
        raise ParameterError(what, "min_prevalence", f"give 0 to {MOST_SAMPLES:,}")
    if abs(choices.seed) > LARGEST_INTEGER:
        raise ParameterError(f"the seed {choices.seed} is too large", "seed", "give fewer than 19 digits")
    if choices.split_by is not None and choices.split_ids:
        what = "samples cannot be divided by a column and by lists"
        raise ParameterError(what, "split_ids", "leave one of them out")
    if choices.rarefy_depth is not None:
        _check_depth(choices.rarefy_depth)
    return choices


def check_token_limit(token_limit: int) -> None:
    """Raise if a token limit is below 1 or too large for the lists in the shards.

    Raises
    ------
    ParameterError
        If the token limit is invalid.
    """
    if token_limit < 1:
        raise ParameterError(f"a token limit of {token_limit} keeps no ASV", "token_limit", "give at least 1")
    if token_limit > LARGEST_TOKEN_LIMIT:
        what = f"a token limit of {token_limit:,} is too large for the lists in the shards"
        raise ParameterError(what, "token_limit", f"give at most {LARGEST_TOKEN_LIMIT:,}")


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ParameterError(f"a depth of {depth} keeps no reads", "rarefy_depth", "give at least 1")
    if depth > MOST_READS:
        what = f"samples cannot be rarefied to a depth of {depth:,}"
        raise ParameterError(what, "rarefy_depth", f"give at most {MOST_READS:,}")


def _check_name(name: str, kind: type[StrEnum], parameter: str) -> None:
    known = [choice.value for choice in kind]
    if name not in known:
        raise ParameterError(f"{name!r} is not a valid choice", parameter, f"give one of: {', '.join(known)}")
