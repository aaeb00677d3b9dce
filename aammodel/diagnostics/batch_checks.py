"""Is a batch what the model takes it for? Every rule by itself, with the ASV or the sample that breaks it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aam_schemas import vocabulary
from aammodel.batch import IGNORED, Batch
from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.objectives.losses import num_pairs

_MOST_NAMED = 3
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Check:
    """One rule, and what breaks it."""

    name: str
    rule: str
    broken: tuple[str, ...] = ()
    """Where it is broken; empty where it holds."""

    @property
    def holds(self) -> bool:
        """True where nothing breaks the rule."""
        return not self.broken

    def __str__(self) -> str:
        """One line."""
        more = len(self.broken) - _MOST_NAMED
        where = ", ".join(self.broken[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{self.rule}: {where}" if self.broken else self.rule


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
    num_masked: int
    """Hidden bases."""
    num_pairs: tuple[int, ...]
    """Pairs of samples with a true distance, by target."""
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
        return all(one.holds for one in self.checks[:_NUM_FIRST])


@dataclass(frozen=True)
class Rule:
    """One rule and how to find what breaks it."""

    name: str
    says: str
    broken: Callable[[Batch, ModelConfig], list[str]]
    comes_first: bool = False
    """True for the rules without which the others cannot be asked."""


def check_batch(batch: Batch, config: ModelConfig) -> Checked:
    """Hold a batch against every rule, and count its padding.

    Parameters
    ----------
    batch : Batch
    config : ModelConfig
        Of the model that is to read it.
    """
    batch = batch.to("cpu").alone()
    checks: list[Check] = []
    for rule in _RULES:
        # What points nowhere cannot be looked up by the rules that come after.
        if rule.comes_first or all(one.holds for one in checks[:_NUM_FIRST]):
            checks.append(Check(rule.name, rule.says, tuple(rule.broken(batch, config))))
    return Checked(tuple(checks), _figures(batch))


def _figures(batch: Batch) -> Figures:
    is_padding = batch.tokens == vocabulary.PAD
    return Figures(
        num_samples=batch.num_samples,
        num_slots=batch.slot.shape[1],
        num_asvs=len(batch.tokens),
        num_tokens=batch.tokens.shape[1],
        num_read=int(batch.is_encoded.sum()),
        num_masked=len(batch.masked),
        num_pairs=tuple(num_pairs(batch).tolist()),
        num_zero_counts=int((batch.is_real & (batch.count == 0)).sum()),
        sample_padding=tuple((~batch.is_real).double().mean(dim=1).tolist()),
        asv_padding=tuple(is_padding.double().mean(dim=1).tolist()),
    )


def _tokens(batch: Batch, config: ModelConfig) -> list[str]:
    tokens = batch.tokens
    is_token = (tokens >= 0) & (tokens < config.vocabulary_size) & (tokens != vocabulary.MASK)
    return _asvs(batch, ~is_token.all(dim=1))


def _length(batch: Batch, config: ModelConfig) -> list[str]:
    length = batch.tokens.shape[1]
    if length <= config.sequence_length:
        return []
    return [f"{length} tokens for a model that reads {config.sequence_length}"]


def _nowhere(batch: Batch, config: ModelConfig) -> list[str]:
    return _samples(batch, (batch.slot < 0) | (batch.slot >= len(batch.tokens)))


def _masked(batch: Batch, config: ModelConfig) -> list[str]:
    row, position = batch.masked.T
    outside = (row < 0) | (row >= len(batch.tokens)) | (position < 1) | (position >= batch.tokens.shape[1])
    if outside.any() or len(batch.masked_token) != len(row):
        return [f"{int(outside.sum())} of {len(row)} lie nowhere"]
    stands = batch.tokens[row, position].long()
    is_known = (stands == batch.masked_token) | (batch.masked_token == IGNORED)
    is_base = (stands != vocabulary.PAD) & (stands != vocabulary.START) & is_known
    is_bad = torch.zeros(len(batch.tokens), dtype=torch.bool)
    is_bad[row[~is_base | ~batch.is_encoded[row]]] = True
    return _asvs(batch, is_bad)


def _start(batch: Batch, config: ModelConfig) -> list[str]:
    is_start = batch.tokens == vocabulary.START
    return _asvs(batch, ~is_start[:, 0] | is_start[:, 1:].any(dim=1))


def _holes(batch: Batch, config: ModelConfig) -> list[str]:
    is_real = batch.tokens != vocabulary.PAD
    has_hole = (is_real[:, 1:] & ~is_real[:, :-1]).any(dim=1)
    return _asvs(batch, has_hole | ~is_real[:, 1:].any(dim=1))


def _repeated(batch: Batch, config: ModelConfig) -> list[str]:
    rows, number = batch.asv_row.unique(return_counts=True)
    is_used = torch.zeros(len(batch.tokens), dtype=torch.bool)
    is_used[batch.slot[batch.is_real]] = True
    return _asvs(batch, torch.isin(batch.asv_row, rows[number > 1]) | ~is_used)


def _counts(batch: Batch, config: ModelConfig) -> list[str]:
    is_bad = batch.is_real & ~(batch.count.isfinite() & (batch.count >= 0))
    return [
        f"sample {batch.sample_ids[sample]}, ASV {batch.asv_row[batch.slot[sample, slot]]} "
        f"({batch.count[sample, slot]:g} reads)"
        for sample, slot in is_bad.nonzero().tolist()
    ]


def _reads(batch: Batch, config: ModelConfig) -> list[str]:
    return _samples(batch, ~(batch.is_real & (batch.count > 0)).any(dim=1, keepdim=True))


def _padded_slots(batch: Batch, config: ModelConfig) -> list[str]:
    return _samples(batch, ~batch.is_real & (batch.count != 0))


def _kinds(batch: Batch, config: ModelConfig) -> list[str]:
    if len(batch.distance) == len(config.targets):
        return []
    return [f"{len(batch.distance)} kinds of distance for {', '.join(config.targets)}"]


def _distances(batch: Batch, config: ModelConfig) -> list[str]:
    found = []
    for name, one in zip(config.targets, batch.distance, strict=True):
        # Unknown are all pairs of a sample of which nothing is in the tree, and no others.
        is_out = one.diagonal().isnan()
        is_bad = one.isnan() != (is_out[:, None] | is_out)
        is_bad |= (one < 0) | one.isinf() | (one > METRICS[name].largest + _ROUNDING)
        found += [f"{name} of {pair}" for pair in _pairs(batch, is_bad)]
    return found


def _symmetry(batch: Batch, config: ModelConfig) -> list[str]:
    found = []
    for name, one in zip(config.targets, batch.distance.nan_to_num(0.0), strict=True):
        is_bad = (one - one.T).abs() > _ROUNDING * one.abs().clamp_min(1.0)
        is_bad |= (one.diagonal() != 0).diag()
        found += [f"{name} of {pair}" for pair in _pairs(batch, is_bad)]
    return found


def _pairs(batch: Batch, is_bad: Tensor) -> list[str]:
    both = (is_bad | is_bad.T).triu()
    return [f"{batch.sample_ids[a]} and {batch.sample_ids[b]}" for a, b in both.nonzero().tolist()]


def _asvs(batch: Batch, is_bad: Tensor) -> list[str]:
    return [f"ASV {row}" for row in batch.asv_row[is_bad].tolist()]


def _samples(batch: Batch, is_bad: Tensor) -> list[str]:
    return [f"sample {batch.sample_ids[row]}" for row in is_bad.any(dim=1).nonzero()[:, 0].tolist()]


_RULES = (
    Rule("token range", "tokens are ids that the model knows, and none is MASK", _tokens, comes_first=True),
    Rule("length", "ASVs are no longer than the model reads", _length, comes_first=True),
    Rule("slots", "every slot points at an ASV of the batch", _nowhere, comes_first=True),
    Rule("hidden bases", "hidden bases are known, and of ASVs that are read", _masked, comes_first=True),
    Rule("kinds of distance", "the model has a target for each kind of distance", _kinds, comes_first=True),
    Rule("START", "every ASV begins with START, and has no other", _start),
    Rule("padding at the end", "no base comes after padding, and every ASV has one", _holes),
    Rule("distinct ASVs", "every ASV is there once, and in a sample", _repeated),
    Rule("counts", "counts are finite and not negative", _counts),
    Rule("reads", "every sample has an ASV with a count above 0", _reads),
    Rule("padded slots", "padded slots have a count of 0", _padded_slots),
    Rule(
        "distances", "distances are finite and in their range, or the sample is not in the tree", _distances
    ),
    Rule("symmetry", "distances are symmetric, and 0 to the sample itself", _symmetry),
)
_NUM_FIRST = sum(rule.comes_first for rule in _RULES)
