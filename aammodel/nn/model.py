"""The whole model: a `Batch` goes in, one typed `Output` comes out. For the shape letters, see `batch.py`.

    tokens [U, L]: distinct ASVs (START, then bases), some bases masked
     |-- Stem: three tokens become one position -> Transformer over positions (encoded ASVs only)
     |    |-- nucleotide_head -> logits of the masked bases [M, V]
     |    '-- AttentionPooling --.
     '-- BasesByPosition: a small network over the base at each position, none masked
          '----------------------+-> asv_embedding [U, D]
    slot, count [B, S]: the ASVs of each sample and their reads
     '-- asv_embedding of each slot, with CountEmbedding of log(1 + count)
          '-- Transformer over the ASVs of a sample -> asv_in_sample [B, S, D]
               |-- mean over the ASVs of a sample -> embedding [B, D]
               |-- `pool` of each target's distance head -> distance_features [B, K]
               |    '-- `distance` of each target's distance head -> distance of any two samples
               '-- objective_heads: heads that objectives add (`objectives/base.py`)

Neither padding nor the other samples of a batch change an output. The model does not know about ranks. An
objective that compares samples of several ranks gathers their features, and sharding is applied from outside
(`distributed/fsdp.py`).

Initial weights depend on the configuration and `torch.manual_seed` only:

    linear layers                    truncated normal, std fan_in ** -0.5 (LeCun et al. 1998); bias 0
    last layers of residual branches, ASV transformer: also times (2 * asv_layers) ** -0.5, as in GPT-2
                                     (Radford et al. 2019), since 2 * asv_layers branches add up
                                     sample transformer: 0, so that at first each ASV is encoded on its own
    nucleotide_head                  also times 0.1, so that at first all bases are nearly equally likely
    Stem                             truncated normal; std 0.5 * (tokens per position) ** -0.5 for tokens,
                                     0.5 for positions
    BasesByPosition                  normal, std L ** -0.5, so that a sum over L bases has a spread of 1
    CountEmbedding                   truncated normal, std 0.02 as in BERT; at first counts hardly matter
    scale of AttentionPooling's norm 0 beside BasesByPosition, so that the transformer has no effect at first;
                                     1 without it
    layer norms, affine maps         scale 1, shift 0
    weights of soft branches, k-mers equal

`init_from_batch` then sets some of them from a first batch of training samples:

    centers of both parts of an ASV embedding: mean over the ASVs of the batch
    soft branches                    logits with a spread of 5 over ASVs; biases for a mean occupancy of 1/2
    k-mers                           the same total weight as the soft branches
    affine maps of distances         mean and spread of the true distances
    spread (a buffer)                standard deviation of the true distances

The measurements behind these choices are in `docs/experiments.md`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from aam_schemas import vocabulary
from aam_schemas.common.errors import UsageError
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.nn.encoders import AsvEncoder, SampleEncoder, mask_tokens
from aammodel.nn.heads.base import Contents, DistanceHead, spread
from aammodel.nn.heads.registry import make_distance_head
from aammodel.nn.kmers import kmer_columns
from aammodel.nn.transformer import at_least_float32, init_linear, zero_padding


@dataclass(frozen=True)
class Output:
    """Everything that the model computes for a batch."""

    asv_embedding: Float[Tensor, "U D"]
    """One vector per distinct ASV."""
    asv_in_sample: Float[Tensor, "B S D"]
    """One vector per slot, after the sample transformer. Exactly zero in slots without an ASV."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""
    distance_features: Float[Tensor, "B K"]
    """Vectors that distances compare: the features for each target, concatenated."""
    nucleotide_logits: Float[Tensor, "M V"]
    """Logits of all token ids at each masked base."""

    @cached_property
    def embedding(self) -> Float[Tensor, "B D"]:
        """One vector per sample (`mean_of_asvs`), computed on first use."""
        return mean_of_asvs(self.asv_in_sample, self.is_real)


@dataclass(frozen=True)
class SampleEmbeddings:
    """The two vectors of each sample."""

    distance_features: Float[Tensor, "B K"]
    """Vectors that distances compare: the features for each target, concatenated."""
    embedding: Float[Tensor, "B D"]
    """Mean of the vectors of a sample's ASVs (`mean_of_asvs`)."""


@dataclass(frozen=True)
class DenseOutput:
    """Everything that the model computes for samples in padded tensors."""

    asv_embedding: Float[Tensor, "B S D"]
    """One vector per slot. Exactly zero in slots without an ASV."""
    asv_in_sample: Float[Tensor, "B S D"]
    """One vector per slot, after the sample transformer. Exactly zero in slots without an ASV."""
    embedding: Float[Tensor, "B D"]
    """One vector per sample (`mean_of_asvs`)."""
    distance_features: Float[Tensor, "B K"]
    """Vectors that distances compare: the features for each target, concatenated."""
    distance: Float[Tensor, "T B B"]
    """Predicted distance of each pair of samples, for each target."""
    nucleotide_logits: Float[Tensor, "B S L V"]
    """Logits of all token ids at every position. At padding they are finite, but meaningless."""


def mean_of_asvs(asv_in_sample: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Average the vectors of each sample's ASVs.

    All ASVs have the same weight. The logarithm of their counts is already in their vectors. A mean weighted
    by reads would be dominated by the few most abundant ASVs. It would lose the rare ones, which matter for
    unweighted UniFrac and richness. A sum would grow with the number of ASVs.

    The mean has no parameters, so every model has an embedding, including published ones.

    Parameters
    ----------
    asv_in_sample : Tensor, shape (B, S, D)
        Vectors after the sample transformer. Padded slots may contain anything.
    is_real : Tensor of bool, shape (B, S)
        True where a slot holds an ASV.

    Returns
    -------
    Tensor, shape (B, D)
        Zero for a sample without ASVs. At least float32.
    """
    total = at_least_float32(zero_padding(asv_in_sample, is_real)).sum(dim=1)
    return total / is_real.sum(dim=1, keepdim=True).clamp_min(1)


class AamModel(nn.Module):
    """Encoders of ASVs and of samples, with heads for masked bases and for distances.

    Initial weights depend on the configuration and `torch.manual_seed` only. The docstring of this module
    lists them.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.asv_encoder = AsvEncoder(config)
        self.sample_encoder = SampleEncoder(config)
        # A position of the stem predicts each of its bases separately.
        num_logits = config.bases_per_position * config.vocabulary_size
        self.nucleotide_head = nn.Linear(config.width, num_logits)
        self.distance_heads = nn.ModuleDict(
            {name: make_distance_head(config, name) for name in config.targets}
        )
        self.objective_heads = nn.ModuleDict()
        """Heads that objectives added, by name of the objective."""
        # With small weights, all bases are nearly equally likely at first. The loss then starts near log V.
        init_linear(self.nucleotide_head, scale=0.1)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.nucleotide_head.weight.device

    def forward(self, batch: Batch) -> Output:
        """Compute the output for a batch.

        Each distinct ASV is encoded once, nearly no padding is computed, and logits are computed for masked
        bases only.

        Parameters
        ----------
        batch : Batch

        Raises
        ------
        UsageError
            If bases are masked, and the vocabulary of the model has no MASK token.
        """
        self._check_masked(batch)
        embedding, hidden = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        kmers = self.kmers(batch.tokens)[batch.slot[batch.is_real]]
        return Output(
            asv_embedding=embedding,
            asv_in_sample=features,
            is_real=batch.is_real,
            distance_features=self.pool(Contents(features, kmers, batch.count, batch.is_real)),
            nucleotide_logits=self.asv_encoder.stem.logits_of_tokens(
                self.nucleotide_head(hidden), batch.masked[:, 1]
            ),
        )

    def forward_dense(self, tokens: Integer[Tensor, "B S L"], count: Float[Tensor, "B S"]) -> DenseOutput:
        """Compute the same values for padded tensors: every slot of every sample, with padding masked.

        Tests compare this straightforward computation with `forward`.

        Parameters
        ----------
        tokens : Tensor of int, shape (B, S, L)
            Token ids. A slot without an ASV is all padding.
        count : Tensor, shape (B, S)
            Number of reads of the ASV in each slot.
        """
        is_token = tokens != vocabulary.PAD
        is_real = is_token.any(dim=-1)
        hidden, embedding = self.asv_encoder(tokens.flatten(0, 1), is_token.flatten(0, 1))
        embedding = embedding.unflatten(0, is_real.shape)
        slot = torch.arange(is_real.shape[1], device=tokens.device).expand(is_real.shape)
        features = self.sample_encoder(embedding, count, is_real, slot)
        distance_features = self.pool(Contents(features, self.kmers(tokens[is_real]), count, is_real))
        # Each position has logits for all of its tokens, one token after another.
        logits = self.nucleotide_head(hidden).flatten(1).unflatten(1, (-1, self.config.vocabulary_size))
        return DenseOutput(
            asv_embedding=embedding,
            asv_in_sample=features,
            embedding=mean_of_asvs(features, is_real),
            distance_features=distance_features,
            distance=self.distance(distance_features, distance_features),
            nucleotide_logits=logits.unflatten(0, is_real.shape)[:, :, : tokens.shape[2]],
        )

    def encode_asvs(self, tokens: Integer[Tensor, "U L"]) -> Float[Tensor, "U D"]:
        """Embed distinct ASVs, without masking any base."""
        return self.asv_encoder.encode(tokens, tokens.new_zeros((0, 2), dtype=torch.long))[0]

    def embed_samples(
        self,
        asv_embedding: Float[Tensor, "U D"],
        tokens: Integer[Tensor, "U L"],
        slot: Int[Tensor, "B S"],
        count: Float[Tensor, "B S"],
        is_real: Bool[Tensor, "B S"],
    ) -> SampleEmbeddings:
        """Embed samples whose distinct ASVs have already been embedded.

        Parameters
        ----------
        asv_embedding : Tensor, shape (U, D)
            Embeddings of the distinct ASVs, from `encode_asvs`.
        tokens : Tensor of int, shape (U, L)
            Token ids of these ASVs.
        slot, count, is_real : Tensors, shape (B, S)
            As in `Batch`.
        """
        features = self.sample_encoder.encode(asv_embedding, slot, count, is_real)
        contents = Contents(features, self.kmers(tokens)[slot[is_real]], count, is_real)
        return SampleEmbeddings(self.pool(contents), mean_of_asvs(features, is_real))

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Return the features that distances compare, those of all targets concatenated."""
        return torch.cat([head.pool(contents) for head in self._heads()], dim=1)

    @property
    def num_features(self) -> int:
        """Number of distance features of a sample, K."""
        return sum(head.num_features for head in self._heads())

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "T B C"]:
        """Predict the distance from each sample of `a` to each sample of `b`, for each target.

        Parameters
        ----------
        a : Tensor, shape (B, K)
        b : Tensor, shape (C, K)
            Distance features of samples.

        Returns
        -------
        Tensor, shape (T, B, C)
        """
        heads = self._heads()
        sizes = [head.num_features for head in heads]
        parts = zip(heads, a.split(sizes, dim=1), b.split(sizes, dim=1), strict=True)
        return torch.stack([head.distance(part_a, part_b) for head, part_a, part_b in parts])

    @torch.no_grad()
    def init_from_batch(self, batch: Batch) -> None:
        """Set some initial weights from a first batch of training samples, with its bases masked.

        Only weights and the buffer `spread` are set, once. Later outputs do not depend on the other samples
        of a batch.

        Parameters
        ----------
        batch : Batch
            Samples with their true distances.
        """
        self._check_masked(batch)
        self.asv_encoder.init_from_batch(mask_tokens(batch.tokens, batch.masked))
        embedding, _ = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        kmers = self.kmers(batch.tokens)[batch.slot[batch.is_real]]
        contents = Contents(features, kmers, batch.count, batch.is_real)
        for head, distance in zip(self._heads(), batch.distance, strict=True):
            head.init_from_batch(contents, distance)
            head.spread.copy_(spread(distance))

    @property
    def spread(self) -> Float[Tensor, " T"]:
        """Standard deviation of each target's true distances, the unit of its errors in the loss."""
        return torch.stack([head.spread for head in self._heads()])

    def kmers(self, tokens: Integer[Tensor, "N L"]) -> Int[Tensor, "N P"]:
        """Return the columns of the k-mers of ASVs, with P = 0 if no head compares k-mers."""
        is_needed = self.config.kmers and self.config.distance_head == "soft-branch"
        # A single token holds no k-mer.
        return kmer_columns(tokens if is_needed else tokens[:, :1])

    def _check_masked(self, batch: Batch) -> None:
        if len(batch.masked) and not self.config.can_mask_bases:
            raise UsageError(
                f"a vocabulary of {self.config.vocabulary_size} has no token for a masked base",
                "this model",
                "use it for embeddings and distances, without masking bases",
            )

    def _heads(self) -> list[DistanceHead]:
        return [cast(DistanceHead, head) for head in self.distance_heads.values()]
