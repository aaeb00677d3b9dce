"""The whole model: a batch in, one typed output out. Shape letters: see `batch.py`."""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from aam_schemas import vocabulary
from aam_schemas.common.errors import UsageError
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.distributed.fsdp import shard
from aammodel.distributed.ranks import ALONE, Ranks
from aammodel.nn.encoders import AsvEncoder, SampleEncoder, hide
from aammodel.nn.heads.base import Contents, DistanceHead, spread
from aammodel.nn.heads.registry import distance_head
from aammodel.nn.kmers import window_columns
from aammodel.nn.transformer import start_linear


@dataclass(frozen=True)
class Output:
    """What the model says about a batch."""

    asv_embedding: Float[Tensor, "U D"]
    """One vector per distinct ASV."""
    sample_embedding: Float[Tensor, "B K"]
    """One vector per sample: those of all targets, one after the other."""
    distance: Float[Tensor, "T B C"]
    """Predicted distance of each sample to each of all ranks by each target."""
    nucleotide_logits: Float[Tensor, "M V"]
    """Logits of each token id at each masked base."""


@dataclass(frozen=True)
class DenseOutput:
    """What the model says about samples whose padding is really there."""

    asv_embedding: Float[Tensor, "B S D"]
    """One vector per slot, exactly zero where it holds no ASV."""
    asv_in_sample: Float[Tensor, "B S D"]
    """One vector per slot after the sample transformer, exactly zero where it holds no ASV."""
    sample_embedding: Float[Tensor, "B K"]
    """One vector per sample: those of all targets, one after the other."""
    distance: Float[Tensor, "T B B"]
    """Predicted distance of each pair of samples by each target."""
    nucleotide_logits: Float[Tensor, "B S L V"]
    """Logits of each token id at every position; finite where there is padding, and without meaning."""


class AamModel(nn.Module):
    """Encoders of ASVs and of samples, and the heads for hidden bases and for distances.

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
        # Small, so that at first every base is nearly as likely as any other.
        start_linear(self.nucleotide_head, scale=0.1)

    def forward(self, batch: Batch, ranks: Ranks = ALONE) -> Output:
        """Compute each distinct ASV once, no padding, and logits only where a base is hidden.

        Parameters
        ----------
        batch : Batch
        ranks : Ranks
            Those among which the samples were dealt out, who all call this together.
        """
        self._check_hidden(batch)
        embedding, hidden = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        windows = self.windows(batch.tokens)[batch.slot[batch.is_real]]
        sample_embedding = self.pool(Contents(features, windows, batch.count, batch.is_real))
        return Output(
            asv_embedding=embedding,
            sample_embedding=sample_embedding,
            distance=self.distance(sample_embedding, ranks.gather(sample_embedding, batch.distance.shape[2])),
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
        sample_embedding = self.pool(Contents(features, self.windows(tokens[is_real]), count, is_real))
        # What a position says of each of its tokens, one token after the other.
        logits = self.nucleotide_head(hidden).flatten(1).unflatten(1, (-1, self.config.vocabulary_size))
        return DenseOutput(
            asv_embedding=embedding,
            asv_in_sample=features,
            sample_embedding=sample_embedding,
            distance=self.distance(sample_embedding, sample_embedding),
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
    ) -> Float[Tensor, "B K"]:
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
        return self.pool(Contents(features, self.windows(tokens)[slot[is_real]], count, is_real))

    def pool(self, contents: Contents) -> Float[Tensor, "B K"]:
        """Make one embedding of each sample, the parts of all targets one after the other."""
        return torch.cat([head.pool(contents) for head in self._heads()], dim=1)

    @property
    def num_features(self) -> int:
        """Numbers of a sample embedding, K."""
        return sum(head.num_features for head in self._heads())

    def distance(self, a: Float[Tensor, "B K"], b: Float[Tensor, "C K"]) -> Float[Tensor, "T B C"]:
        """Predict the distance of each sample of `a` to each of `b` by each target."""
        heads = self._heads()
        sizes = [head.num_features for head in heads]
        parts = zip(heads, a.split(sizes, dim=1), b.split(sizes, dim=1), strict=True)
        return torch.stack([head.distance(part_a, part_b) for head, part_a, part_b in parts])

    def shard(self, num_ranks: int) -> None:
        """Cut the encoders' weights among the ranks; the heads are small, and stay whole on each."""
        shard((self.asv_encoder, self.sample_encoder), num_ranks, self.nucleotide_head.weight.device)

    @torch.no_grad()
    def start_from(self, batch: Batch) -> None:
        """Choose initial weights that suit a first batch, its bases hidden.

        Only weights are set: nothing that the model computes later depends on batch mates.
        """
        self._check_hidden(batch)
        self.asv_encoder.start_from(hide(batch.tokens, batch.masked))
        embedding, _ = self.asv_encoder.encode(batch.tokens, batch.masked, batch.is_encoded)
        features = self.sample_encoder.encode(embedding, batch.slot, batch.count, batch.is_real)
        windows = self.windows(batch.tokens)[batch.slot[batch.is_real]]
        contents = Contents(features, windows, batch.count, batch.is_real)
        for head, distance in zip(self._heads(), batch.distance, strict=True):
            head.start_from(contents, distance)
            head.spread.copy_(spread(distance))

    @property
    def spread(self) -> Float[Tensor, " T"]:
        """The unit in which errors of each target count."""
        return torch.stack([head.spread for head in self._heads()])

    def _check_hidden(self, batch: Batch) -> None:
        if len(batch.masked) and not self.config.can_hide_bases:
            raise UsageError(
                f"a vocabulary of {self.config.vocabulary_size} has no token for a hidden base",
                "this model",
                "use it for embeddings and distances, without hiding bases from it",
            )

    def windows(self, tokens: Integer[Tensor, "N L"]) -> Int[Tensor, "N P"]:
        """Give the columns of ASVs' windows; no window where no head compares them."""
        is_asked = self.config.kmers and self.config.distance_head == "soft-branch"
        return window_columns(tokens if is_asked else tokens[:, :1])

    def _heads(self) -> list[DistanceHead]:
        return [cast(DistanceHead, head) for head in self.distance_heads.values()]
