"""The objective of masked bases: the model predicts each of them from the other bases of its ASV."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from aam_schemas import vocabulary
from aammodel.batch import IGNORED, Batch
from aammodel.config.model import ModelConfig
from aammodel.nn.transformer import at_least_float32
from aammodel.objectives.base import ForwardPass, Label, Objective
from aammodel.objectives.rules import BatchRule, asvs_where


def _invalid_masked_bases(batch: Batch, config: ModelConfig) -> list[str]:
    row, position = batch.masked.T
    outside = (row < 0) | (row >= len(batch.tokens)) | (position < 1) | (position >= batch.tokens.shape[1])
    if outside.any() or len(batch.masked_token) != len(row):
        return [f"{int(outside.sum())} of {len(row)} are outside of the ASVs"]
    token = batch.tokens[row, position].long()
    # IGNORED counts on another rank, so its token is not checked here.
    is_known = (token == batch.masked_token) | (batch.masked_token == IGNORED)
    is_base = (token != vocabulary.PAD) & (token != vocabulary.START) & is_known
    is_bad = torch.zeros(len(batch.tokens), dtype=torch.bool)
    is_bad[row[~is_base | ~batch.is_encoded[row]]] = True
    return asvs_where(batch, is_bad)


class NucleotideObjective(Objective):
    """Cross-entropy of masked bases, in nats.

    This is masked language modeling (Devlin et al., "BERT", NAACL 2019), with bases instead of words.
    """

    name = "nucleotide"
    labels: ClassVar = {"nucleotide": Label("masked bases", "cross-entropy (nats)")}
    config_keys = frozenset({"nucleotide_weight", "mask_fraction", "mask_span"})
    rules = (
        BatchRule(
            "masked bases",
            "masked bases are bases of encoded ASVs, and their tokens are known",
            _invalid_masked_bases,
            comes_first=True,
        ),
    )

    def denominator(self, batch: Batch) -> Tensor:
        """Return the number of masked bases that count on this rank. Shape ()."""
        return (batch.masked_token != IGNORED).sum()

    def loss_sum(self, forward: ForwardPass) -> Tensor:
        """Return the sum of the cross-entropy over the masked bases. Shape ()."""
        return F.cross_entropy(
            at_least_float32(forward.output.nucleotide_logits),
            forward.batch.masked_token.long(),
            reduction="sum",
            ignore_index=IGNORED,
        )
