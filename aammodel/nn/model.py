"""The whole model: a batch in, one typed output out. Shape letters: see `batch.py`.

    tokens [U, L]: distinct ASVs, START and bases, some of them masked
     |-- Stem, 3 tokens a position -> Transformer over positions (of some of the ASVs)
     |    |-- nucleotide_head -> logits of the masked bases [M, V]
     |    '-- AttentionPooling --.
     '-- BasesByPosition, a small network over which base stands where, unmasked
          '----------------------+-> asv_embedding [U, D]
    slot, count [B, S]: the ASVs of each sample and their reads
     '-- asv_embedding of each slot + CountEmbedding of log(1 + count)
          '-- Transformer over the ASVs of a sample -> asv_in_sample [B, S, D]
               |-- mean over the ASVs of a sample -> embedding [B, D]
               |-- distance head of each target, pool -> distance_features [B, K]
               |    '-- distance head of each target, distance of any two rows
               '-- objective_heads: whatever objectives add (`objectives/base.py`)

Padding and batch mates change no output. The model knows nothing of processes: an objective that compares
samples of several ranks gathers their features, and sharding is applied from outside (`distributed/fsdp.py`).

Initial weights follow from the configuration and `torch.manual_seed`:

    linear layers                    truncated normal, std fan_in ** -0.5; bias 0 (`init_linear`)
    last layers of residual branches of ASVs: that times (2 * asv_layers) ** -0.5, as in GPT-2;
                                     of samples: 0, so that each ASV is encoded on its own at first
    nucleotide_head                  that times 0.1: every base is nearly as likely as any other
    Stem                             truncated normal; tokens 0.5 * (tokens a position) ** -0.5, positions 0.5
    BasesByPosition                  normal, std L ** -0.5, so that a sum over L bases has a spread of 1
    CountEmbedding                   truncated normal, std 0.02: counts come in as training uses them
    scale of AttentionPooling        0 beside BasesByPosition: the transformer comes in likewise; else 1
    layer norms, affine maps         scale 1, shift 0
    weights of soft branches and of windows: all alike

and then, if `init_from_batch` is called, from a first batch of training samples:

    centres of both parts of an ASV's embedding: the mean over the ASVs of the batch
    soft branches                    logits with a spread of 5 over ASVs, biases for a mean occupancy of 1/2
    windows of bases                 all of them together weigh as much as all soft branches
    affine maps of distances         mean and spread of the true distances
    spread (a buffer)                standard deviation of the true distances
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
from aammodel.nn.heads.registry import distance_head
from aammodel.nn.kmers import window_columns
from aammodel.nn.transformer import at_least_float32, init_linear, zero_padding


@dataclass(frozen=True)
class Output:
    """What the model says about a batch."""

    asv_embedding: Float[Tensor, "U D"]
    """One vector per distinct ASV."""
    asv_in_sample: Float[Tensor, "B S D"]
    """One vector per slot after the sample transformer, exactly zero where it holds no ASV."""
    is_real: Bool[Tensor, "B S"]
    """True where a slot holds an ASV."""
    distance_features: Float[Tensor, "B K"]
    """What distances compare: the features of a sample for each target, one after the other."""
    nucleotide_logits: Float[Tensor, "M V"]
    """Logits of each token id at each masked base."""

    @cached_property
    def embedding(self) -> Float[Tensor, "B D"]:
        """One vector per sample (`mean_of_asvs`), computed only where it is asked for."""
        return mean_of_asvs(self.asv_in_sample, self.is_real)


@dataclass(frozen=True)
class SampleEmbeddings:
    """The two vectors of each sample."""

    distance_features: Float[Tensor, "B K"]
    """What distances compare: the features of a sample for each target, one after the other."""
    embedding: Float[Tensor, "B D"]
    """Mean of the states of a sample's ASVs (`mean_of_asvs`)."""


@dataclass(frozen=True)
class DenseOutput:
    """What the model says about samples whose padding is really there."""

    asv_embedding: Float[Tensor, "B S D"]
    """One vector per slot, exactly zero where it holds no ASV."""
    asv_in_sample: Float[Tensor, "B S D"]
    """One vector per slot after the sample transformer, exactly zero where it holds no ASV."""
    embedding: Float[Tensor, "B D"]
    """One vector per sample (`mean_of_asvs`)."""
    distance_features: Float[Tensor, "B K"]
    """What distances compare: the features of a sample for each target, one after the other."""
    distance: Float[Tensor, "T B B"]
    """Predicted distance of each pair of samples by each target."""
    nucleotide_logits: Float[Tensor, "B S L V"]
    """Logits of each token id at every position; finite where there is padding, and without meaning."""


def mean_of_asvs(asv_in_sample: Float[Tensor, "B S D"], is_real: Bool[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """Average the states of each sample's ASVs; zero for a sample that has none.

    Every ASV counts alike. Its count is in its state already, as the logarithm. Weighted by reads, the mean
    would be that of the few most abundant ASVs, and rare ones, by which unweighted UniFrac and richness tell
    samples apart, would be lost. A mean, not a sum, so that samples of any number of ASVs lie on one scale.
    It has no parameters, so every model has an embedding, published ones too.

    Parameters
    ----------
    asv_in_sample : Tensor, shape (B, S, D)
        States after the sample transformer. Padded slots may hold anything.
    is_real : Tensor of bool, shape (B, S)
        True where a slot holds an ASV.
    """
    total = at_least_float32(zero_padding(asv_in_sample, is_real)).sum(dim=1)
    return total / is_real.sum(dim=1, keepdim=True).clamp_min(1)


class AamModel(nn.Module):
    """Encoders of ASVs and of samples, and the heads for masked bases and for distances.

    Initial weights depend on nothing but the configuration and `torch.manual_seed`.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.asv_encoder = AsvEncoder(config)
        self.sample_encoder = SampleEncoder(config)
        # A position of the stem guesses each of its bases.
        num_logits = config.bases_per_position * config.vocabulary_size
        self.nucleotide_head = nn.Linear(config.width, num_logits)
        self.distance_heads = nn.ModuleDict({name: distance_head(config, name) for name in config.targets})
        self.objective_heads = nn.ModuleDict()
        """Heads that objectives added, by the name of the objective."""
        # Small, so that at first every base is nearly as likely as any other.
        init_linear(self.nucleotide_head, scale=0.1)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.nucleotide_head.weight.device

    def forward(self, batch: Batch) -> Output:
        """Compute each distinct ASV once, no padding, and logits only where a base is masked."""
        self._check_masked(batch)
        embedding, hidden = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        windows = self.windows(batch.tokens)[batch.slot[batch.is_real]]
        return Output(
            asv_embedding=embedding,
            asv_in_sample=features,
            is_real=batch.is_real,
            distance_features=self.pool(Contents(features, windows, batch.count, batch.is_real)),
            nucleotide_logits=self.asv_encoder.stem.logits_of_tokens(
                self.nucleotide_head(hidden), batch.masked[:, 1]
            ),
        )

    def forward_dense(self, tokens: Integer[Tensor, "B S L"], count: Float[Tensor, "B S"]) -> DenseOutput:
        """Compute the same the plain way: every slot of every sample, with padding masked.

        Parameters
        ----------
        tokens : Tensor of int, shape (B, S, L)
            Token ids; a slot without an ASV is all padding.
        count : Tensor, shape (B, S)
            Reads of the ASV in each slot.
        """
        is_token = tokens != vocabulary.PAD
        is_real = is_token.any(dim=-1)
        hidden, embedding = self.asv_encoder(tokens.flatten(0, 1), is_token.flatten(0, 1))
        embedding = embedding.unflatten(0, is_real.shape)
        slot = torch.arange(is_real.shape[1], device=tokens.device).expand(is_real.shape)
        features = self.sample_encoder(embedding, count, is_real, slot)
        distance_features = self.pool(Contents(features, self.windows(tokens[is_real]), count, is_real))
        # What a position says of each of its tokens, one token after the other.
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
        """Embed distinct ASVs, none of whose bases is hidden."""
        return self.asv_encoder.encode(tokens, tokens.new_zeros((0, 2), dtype=torch.long))[0]

    def embed_samples(
        self,
        asv_embedding: Float[Tensor, "U D"],
        tokens: Integer[Tensor, "U L"],
        slot: Int[Tensor, "B S"],
        count: Float[Tensor, "B S"],
        is_real: Bool[Tensor, "B S"],
    ) -> SampleEmbeddings:
        """Embed samples whose distinct ASVs are embedded already.

        Parameters
        ----------
        asv_embedding : Tensor, shape (U, D)
            What `encode_asvs` gave.
        tokens : Tensor of int, shape (U, L)
            What it was given.
        slot, count, is_real : Tensors, shape (B, S)
            As in `Batch`.
        """
        features = self.sample_encoder.encode(asv_embedding, slot, count, is_real)
        contents = Contents(features, self.windows(tokens)[slot[is_real]], count, is_real)
        return SampleEmbeddings(self.pool(contents), mean_of_asvs(features, is_real))

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Make the features that distances compare, those of all targets one after the other."""
        return torch.cat([head.pool(contents) for head in self._heads()], dim=1)

    @property
    def num_features(self) -> int:
        """Numbers of a sample's distance features, K."""
        return sum(head.num_features for head in self._heads())

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "T B C"]:
        """Predict the distance of each sample of `a` to each of `b` by each target."""
        heads = self._heads()
        sizes = [head.num_features for head in heads]
        parts = zip(heads, a.split(sizes, dim=1), b.split(sizes, dim=1), strict=True)
        return torch.stack([head.distance(part_a, part_b) for head, part_a, part_b in parts])

    @torch.no_grad()
    def init_from_batch(self, batch: Batch) -> None:
        """Choose initial weights that suit a first batch, its bases hidden.

        Only weights are set: nothing that the model computes later depends on batch mates.
        """
        self._check_masked(batch)
        self.asv_encoder.init_from_batch(mask_tokens(batch.tokens, batch.masked))
        embedding, _ = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        windows = self.windows(batch.tokens)[batch.slot[batch.is_real]]
        contents = Contents(features, windows, batch.count, batch.is_real)
        for head, distance in zip(self._heads(), batch.distance, strict=True):
            head.init_from_batch(contents, distance)
            head.spread.copy_(spread(distance))

    @property
    def spread(self) -> Float[Tensor, " T"]:
        """The unit in which errors of each target count."""
        return torch.stack([head.spread for head in self._heads()])

    def _check_masked(self, batch: Batch) -> None:
        if len(batch.masked) and not self.config.can_mask_bases:
            raise UsageError(
                f"a vocabulary of {self.config.vocabulary_size} has no token for a masked base",
                "this model",
                "use it for embeddings and distances, without masking bases",
            )

    def windows(self, tokens: Integer[Tensor, "N L"]) -> Int[Tensor, "N P"]:
        """Give the columns of ASVs' windows; no window where no head compares them."""
        is_asked = self.config.kmers and self.config.distance_head == "soft-branch"
        return window_columns(tokens if is_asked else tokens[:, :1])

    def _heads(self) -> list[DistanceHead]:
        return [cast(DistanceHead, head) for head in self.distance_heads.values()]
