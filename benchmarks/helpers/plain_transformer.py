"""The model as PyTorch users would write it, with the same weights, to compare the speed of ours with.

`nn.TransformerEncoder` with norms first and dropout everywhere; every real ASV of every sample encoded again,
in chunks of 256, with a key-padding mask; nucleotide logits at every position; samples padded to the largest;
activation checkpointing over each stack. Empty slots are not encoded.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.nn.encoders import mask_tokens
from aammodel.nn.heads.base import Contents
from aammodel.nn.model import AamModel
from aammodel.nn.transformer import Transformer

ASVS_AT_ONCE = 256
THEIRS = {
    "attention_norm": "norm1",
    "qkv": "self_attn.in_proj",
    "attention_out": "self_attn.out_proj",
    "feed_forward_norm": "norm2",
    "expand": "linear1",
    "contract": "linear2",
}
"""Parts of our block, and their names in `nn.TransformerEncoderLayer`."""


@dataclass(frozen=True)
class PlainBatch:
    """Samples with their padding; B samples, S slots, L tokens."""

    tokens: Tensor
    """Shape (B, S, L): masked bases are masked wherever their ASV occurs."""
    whole: Tensor
    """The same without masks."""
    count: Tensor
    """Shape (B, S)."""
    distance: Tensor
    """Shape (T, B, B)."""

    @property
    def is_real(self) -> Tensor:
        """True where a slot holds an ASV, shape (B, S)."""
        return (self.whole != vocabulary.PAD).any(dim=-1)


@dataclass(frozen=True)
class PlainOutput:
    """R is the number of real slots, one sample after the other."""

    asv_embedding: Tensor
    """Shape (R, D)."""
    sample_embedding: Tensor
    """Shape (B, K)."""
    distance: Tensor
    """Shape (T, B, B)."""
    nucleotide_logits: Tensor
    """Shape (R, L, V)."""


class PlainModel(nn.Module):
    """The model with the same weights, computed by `nn.TransformerEncoder`.

    Parameters
    ----------
    model : AamModel
        With one position per base and no network over bases.
    dropout : float
        Of `nn.TransformerEncoderLayer`.
    """

    def __init__(self, model: AamModel, dropout: float = 0.1) -> None:
        super().__init__()
        if model.config.bases_per_position != 1 or model.config.bases_by_position:
            raise ValueError("the plain transformer needs one position per base and no network over bases")
        self.rest = deepcopy(model)
        encoders = (self.rest.asv_encoder, self.rest.sample_encoder)
        self.over_bases, self.over_asvs = (_plain_stack(encoder.transformer, dropout) for encoder in encoders)
        for encoder in encoders:
            encoder.transformer = nn.Identity()

    def forward(self, batch: PlainBatch) -> PlainOutput:
        """Encode every real slot, then every sample."""
        is_real = batch.is_real
        embedding, hidden = self.encode_asvs(batch.tokens[is_real])
        x = embedding.new_zeros(*is_real.shape, embedding.shape[1])
        x[is_real] = embedding
        sample_embedding = self.encode_samples(x, batch.tokens, batch.count, is_real)
        return PlainOutput(
            asv_embedding=embedding,
            sample_embedding=sample_embedding,
            distance=self.rest.distance(sample_embedding, sample_embedding),
            nucleotide_logits=self.rest.nucleotide_head(hidden),
        )

    def encode_asvs(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Embed ASVs [R, L] in chunks: embeddings [R, D], and hidden states [R, L, D]."""
        parts = [self._saving(self._encode_chunk, chunk) for chunk in tokens.split(ASVS_AT_ONCE)]
        embedding, hidden = (torch.cat(part) for part in zip(*parts, strict=True))
        return embedding, hidden

    def encode_samples(self, x: Tensor, tokens: Tensor, count: Tensor, is_real: Tensor) -> Tensor:
        """Embed samples of ASV embeddings [B, S, D] and tokens [B, S, L] with padding: [B, K]."""
        x = self.rest.sample_encoder.count_embedding(x, count)
        features = self._saving(self.over_asvs, x, None, ~is_real)
        return self.rest.pool(Contents(features, self.rest.kmers(tokens[is_real]), count, is_real))

    def _encode_chunk(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        encoder, is_real = self.rest.asv_encoder, tokens != vocabulary.PAD
        hidden = self.over_bases(encoder.stem(tokens, is_real), src_key_padding_mask=~is_real)
        return encoder.pooling(hidden, is_real), hidden

    def _saving(self, function: Callable[..., Any], *inputs: Tensor | None) -> Any:
        """Keep no activations of a stack if there is a backward pass."""
        if not torch.is_grad_enabled():
            return function(*inputs)
        return checkpoint(function, *inputs, use_reentrant=False)


def pad(batch: Batch) -> PlainBatch:
    """Write out every slot of every sample."""
    hidden = mask_tokens(batch.tokens, batch.masked)
    tokens = torch.zeros(*batch.slot.shape, batch.tokens.shape[1], dtype=torch.long)
    whole = tokens.clone()
    tokens[batch.is_real] = hidden[batch.slot[batch.is_real]].long()
    whole[batch.is_real] = batch.tokens[batch.slot[batch.is_real]].long()
    return PlainBatch(tokens, whole, batch.count, batch.distance)


def loss(output: PlainOutput, batch: PlainBatch, distance_weight: float) -> Tensor:
    """Compute our loss: the mean over masked bases plus the weighted mean over pairs."""
    is_real = batch.is_real
    is_masked = (batch.tokens == vocabulary.MASK)[is_real]
    nucleotide = F.cross_entropy(output.nucleotide_logits[is_masked], batch.whole[is_real][is_masked])
    chosen = batch.distance.isfinite().triu(diagonal=1)
    error = torch.where(chosen, output.distance - batch.distance, 0.0)
    return nucleotide + distance_weight * error.square().sum() / chosen.sum().clamp_min(1)


def theirs(name: str) -> str:
    """Return the name in `nn.TransformerEncoder` of a parameter of our stack."""
    if not name.startswith("blocks."):
        return name
    _, number, part, kind = name.split(".")
    joint = "_" if part == "qkv" else "."
    return f"layers.{number}.{THEIRS[part]}{joint}{kind}"


def _plain_stack(transformer: Transformer, dropout: float) -> nn.TransformerEncoder:
    block = transformer.blocks[0]
    layer = nn.TransformerEncoderLayer(
        block.qkv.in_features,
        block.heads,
        block.expand.out_features,
        dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    norm = nn.LayerNorm(block.qkv.in_features, eps=transformer.norm.eps)
    stack = nn.TransformerEncoder(layer, len(transformer.blocks), norm, enable_nested_tensor=False)
    stack.load_state_dict({theirs(name): value for name, value in transformer.state_dict().items()})
    return stack.to(block.qkv.weight.dtype)
