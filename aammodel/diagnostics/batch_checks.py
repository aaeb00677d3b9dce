"""Check a batch against the rules of the model, and name the ASV or sample that breaks one."""

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
    """Result of checking one rule."""

    name: str
    rule: str
    """The rule in words."""
    broken: tuple[str, ...] = ()
    """ASVs or samples that break the rule. Empty if it holds."""
    comes_first: bool = False
    """Whether the rule must hold before the other rules are checked and before the model is run."""

    @property
    def holds(self) -> bool:
        """Whether the rule holds."""
        return not self.broken

    def __str__(self) -> str:
        """Return the rule and the first few violations in one line."""
        return f"{self.rule}: {truncate_list(self.broken)}" if self.broken else self.rule


@dataclass(frozen=True)
class BatchFigures:
    """Size of a batch, and its padding."""

    num_samples: int
    num_slots: int
    """Number of ASV slots per sample."""
    num_asvs: int
    """Number of distinct ASVs."""
    num_tokens: int
    """Number of tokens per ASV, padding included."""
    num_read: int
    """Number of encoded ASVs: those that the transformer over bases processes."""
    denominators: dict[str, float]
    """Number of values that each loss is averaged over, by the name of its term. Empty if the model cannot
    read the batch."""
    num_zero_counts: int
    """Number of slots with an ASV whose count is 0."""
    sample_padding: tuple[float, ...]
    """Fraction of each sample's slots that is padding."""
    asv_padding: tuple[float, ...]
    """Fraction of each distinct ASV's tokens that is padding."""


@dataclass(frozen=True)
class BatchReport:
    """Results of all checks of a batch, and its figures."""

    checks: tuple[Check, ...]
    figures: BatchFigures

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks whose rule is broken."""
        return tuple(check for check in self.checks if not check.holds)

    @property
    def is_readable(self) -> bool:
        """Whether the model can run on the batch at all: every index of the batch is valid."""
        return all(check.holds for check in self.checks if check.comes_first)


def check_batch(batch: Batch, config: ModelConfig, objectives: Sequence[Objective]) -> BatchReport:
    """Check a batch against every rule, and count its padding.

    Parameters
    ----------
    batch : Batch
    config : ModelConfig
        Configuration of the model that the batch is for.
    objectives : sequence of Objective
        Objectives of the step. They have rules of their own.

    Returns
    -------
    BatchReport
    """
    batch = batch.to("cpu").alone()
    checks: list[Check] = []
    for rule in _rules(objectives):
        # Later rules look up ASVs by index, and would fail on an invalid one.
        if rule.comes_first or all(check.holds for check in checks if check.comes_first):
            broken = tuple(rule.find_violations(batch, config))
            checks.append(Check(rule.name, rule.statement, broken, rule.comes_first))
    is_readable = all(check.holds for check in checks if check.comes_first)
    # An objective can only count the values of a batch whose indices are valid.
    return BatchReport(tuple(checks), _figures(batch, objectives if is_readable else ()))


def _figures(batch: Batch, objectives: Sequence[Objective]) -> BatchFigures:
    is_padding = batch.tokens == vocabulary.PAD
    return BatchFigures(
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
    return [f"{length} tokens, but the model takes at most {config.sequence_length}"]


def _slots(batch: Batch, config: ModelConfig) -> list[str]:
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
    is_invalid = batch.is_real & ~(batch.count.isfinite() & (batch.count >= 0))
    return [
        f"sample {batch.sample_ids[sample]}, ASV {batch.asv_row[batch.slot[sample, slot]]} "
        f"({batch.count[sample, slot]:g} reads)"
        for sample, slot in is_invalid.nonzero().tolist()
    ]


def _reads(batch: Batch, config: ModelConfig) -> list[str]:
    return samples_where(batch, ~(batch.is_real & (batch.count > 0)).any(dim=1, keepdim=True))


def _padded_slots(batch: Batch, config: ModelConfig) -> list[str]:
    return samples_where(batch, ~batch.is_real & (batch.count != 0))


_FIRST = (
    BatchRule(
        "token range", "every token is in the model's vocabulary, and none is MASK", _tokens, comes_first=True
    ),
    BatchRule("length", "no ASV is longer than the model allows", _length, comes_first=True),
    BatchRule("slots", "every slot points to an ASV of the batch", _slots, comes_first=True),
)
_LATER = (
    BatchRule("START", "every ASV begins with START, and has no other START", _start),
    BatchRule("padding at the end", "every ASV has a base, and no base follows padding", _holes),
    BatchRule("distinct ASVs", "every ASV occurs once in the batch, and in at least one sample", _repeated),
    BatchRule("counts", "counts are finite and not negative", _counts),
    BatchRule("reads", "every sample has an ASV with a count above 0", _reads),
    BatchRule("padded slots", "padded slots have a count of 0", _padded_slots),
)
"""Rules for every batch. Rules that only one objective needs are defined with that objective."""


def _rules(objectives: Sequence[Objective]) -> list[BatchRule]:
    """Return the rules in the order in which they are checked, prerequisites first."""
    added = [rule for objective in objectives for rule in objective.rules]
    first = [rule for rule in added if rule.comes_first]
    return [*_FIRST, *first, *_LATER, *(rule for rule in added if not rule.comes_first)]
