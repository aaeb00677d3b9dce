"""Is a batch what the model takes it for? Every rule by itself, with the ASV or the sample that breaks it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aam_schemas import vocabulary
from aam_schemas.common.text import truncate_list
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.objectives.base import Objective
from aammodel.objectives.rules import BatchRule, asvs_where, samples_where


@dataclass(frozen=True)
class Check:
    """One rule, and what breaks it."""

    name: str
    rule: str
    broken: tuple[str, ...] = ()
    """Where it is broken; empty where it holds."""
    comes_first: bool = False
    """True for rules that must hold before the others can be checked, and before the model can be run."""

    @property
    def holds(self) -> bool:
        """True where nothing breaks the rule."""
        return not self.broken

    def __str__(self) -> str:
        """One line."""
        return f"{self.rule}: {truncate_list(self.broken)}" if self.broken else self.rule


@dataclass(frozen=True)
class Figures:
    """How large a batch is, and how much of it is padding."""

    num_samples: int
    num_slots: int
    """ASV slots of each sample."""
    num_asvs: int
    """Distinct ASVs."""
    num_tokens: int
    """Tokens of the longest ASV."""
    num_read: int
    """ASVs that the transformer over bases reads."""
    denominators: dict[str, float]
    """Number of things that each term of the objectives is a mean over, by the name of the term; empty
    where the model cannot read the batch."""
    num_zero_counts: int
    """Slots that hold an ASV with a count of 0."""
    sample_padding: tuple[float, ...]
    """Share of padded slots of each sample."""
    asv_padding: tuple[float, ...]
    """Share of padded tokens of each distinct ASV."""


@dataclass(frozen=True)
class Checked:
    """What was found in a batch."""

    checks: tuple[Check, ...]
    figures: Figures

    @property
    def failed(self) -> tuple[Check, ...]:
        """The rules that are broken."""
        return tuple(one for one in self.checks if not one.holds)

    @property
    def is_readable(self) -> bool:
        """False where the model cannot even look up what the batch points at."""
        return all(check.holds for check in self.checks if check.comes_first)


def check_batch(batch: Batch, config: ModelConfig, objectives: Sequence[Objective]) -> Checked:
    """Hold a batch against every rule, and count its padding.

    Parameters
    ----------
    batch : Batch
    config : ModelConfig
        Of the model that is to read it.
    objectives : sequence of Objective
        Those of the step, with rules of their own.
    """
    batch = batch.to("cpu").alone()
    checks: list[Check] = []
    for rule in _rules(objectives):
        # What points nowhere cannot be looked up by the rules that come after.
        if rule.comes_first or all(check.holds for check in checks if check.comes_first):
            broken = tuple(rule.find_violations(batch, config))
            checks.append(Check(rule.name, rule.statement, broken, rule.comes_first))
    is_readable = all(check.holds for check in checks if check.comes_first)
    # Of a batch that the model cannot read, an objective cannot count anything.
    return Checked(tuple(checks), _figures(batch, objectives if is_readable else ()))


def _figures(batch: Batch, objectives: Sequence[Objective]) -> Figures:
    is_padding = batch.tokens == vocabulary.PAD
    return Figures(
        num_samples=batch.num_samples,
        num_slots=batch.slot.shape[1],
        num_asvs=len(batch.tokens),
        num_tokens=batch.tokens.shape[1],
        num_read=int(batch.is_encoded.sum()),
        denominators={
            term: number
            for objective in objectives
            for term, number in zip(
                objective.terms, torch.atleast_1d(objective.denominator(batch)).tolist(), strict=True
            )
        },
        num_zero_counts=int((batch.is_real & (batch.count == 0)).sum()),
        sample_padding=tuple((~batch.is_real).double().mean(dim=1).tolist()),
        asv_padding=tuple(is_padding.double().mean(dim=1).tolist()),
    )


def _tokens(batch: Batch, config: ModelConfig) -> list[str]:
    tokens = batch.tokens
    is_token = (tokens >= 0) & (tokens < config.vocabulary_size) & (tokens != vocabulary.MASK)
    return asvs_where(batch, ~is_token.all(dim=1))


def _length(batch: Batch, config: ModelConfig) -> list[str]:
    length = batch.tokens.shape[1]
    if length <= config.sequence_length:
        return []
    return [f"{length} tokens for a model that reads {config.sequence_length}"]


def _nowhere(batch: Batch, config: ModelConfig) -> list[str]:
    return samples_where(batch, (batch.slot < 0) | (batch.slot >= len(batch.tokens)))


def _start(batch: Batch, config: ModelConfig) -> list[str]:
    is_start = batch.tokens == vocabulary.START
    return asvs_where(batch, ~is_start[:, 0] | is_start[:, 1:].any(dim=1))


def _holes(batch: Batch, config: ModelConfig) -> list[str]:
    is_real = batch.tokens != vocabulary.PAD
    has_hole = (is_real[:, 1:] & ~is_real[:, :-1]).any(dim=1)
    return asvs_where(batch, has_hole | ~is_real[:, 1:].any(dim=1))


def _repeated(batch: Batch, config: ModelConfig) -> list[str]:
    rows, number = batch.asv_row.unique(return_counts=True)
    is_used = torch.zeros(len(batch.tokens), dtype=torch.bool)
    is_used[batch.slot[batch.is_real]] = True
    return asvs_where(batch, torch.isin(batch.asv_row, rows[number > 1]) | ~is_used)


def _counts(batch: Batch, config: ModelConfig) -> list[str]:
    is_bad = batch.is_real & ~(batch.count.isfinite() & (batch.count >= 0))
    return [
        f"sample {batch.sample_ids[sample]}, ASV {batch.asv_row[batch.slot[sample, slot]]} "
        f"({batch.count[sample, slot]:g} reads)"
        for sample, slot in is_bad.nonzero().tolist()
    ]


def _reads(batch: Batch, config: ModelConfig) -> list[str]:
    return samples_where(batch, ~(batch.is_real & (batch.count > 0)).any(dim=1, keepdim=True))


def _padded_slots(batch: Batch, config: ModelConfig) -> list[str]:
    return samples_where(batch, ~batch.is_real & (batch.count != 0))


_FIRST = (
    BatchRule(
        "token range", "tokens are ids that the model knows, and none is MASK", _tokens, comes_first=True
    ),
    BatchRule("length", "ASVs are no longer than the model reads", _length, comes_first=True),
    BatchRule("slots", "every slot points at an ASV of the batch", _nowhere, comes_first=True),
)
_LATER = (
    BatchRule("START", "every ASV begins with START, and has no other", _start),
    BatchRule("padding at the end", "no base comes after padding, and every ASV has one", _holes),
    BatchRule("distinct ASVs", "every ASV is there once, and in a sample", _repeated),
    BatchRule("counts", "counts are finite and not negative", _counts),
    BatchRule("reads", "every sample has an ASV with a count above 0", _reads),
    BatchRule("padded slots", "padded slots have a count of 0", _padded_slots),
)
"""Rules for any batch. Those for what an objective needs are with the objective."""


def _rules(objectives: Sequence[Objective]) -> list[BatchRule]:
    """Return the rules in the order in which they are checked: those first that others build on."""
    asked = [rule for objective in objectives for rule in objective.rules]
    first = [rule for rule in asked if rule.comes_first]
    return [*_FIRST, *first, *_LATER, *(rule for rule in asked if not rule.comes_first)]
