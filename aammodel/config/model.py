"""Configuration of a model: its sizes and choices."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from aam_schemas import vocabulary
from aammodel.config.checks import check_most, check_types, require
from aammodel.distances.metrics import METRICS

CountEmbedding = Literal["add", "concat", "film", "none"]
HeadName = Literal["soft-branch", "euclidean", "tanh-euclidean"]

_TABLE = "[model]"
_require = partial(require, table=_TABLE)

MOST: dict[str, float] = {
    "sequence_length": 100_000,
    "width": 16_384,
    "attention_heads": 1_024,
    "asv_layers": 512,
    "sample_layers": 512,
    "distance_head_layers": 512,
    "feed_forward": 64,
    "bases_per_position": 1_024,
    "slot_positions": 1_000_000,
    "soft_branches": 1_000_000,
    "chunk_size": 10**9,
    "checkpoint_positions": 10**12,
}
"""Largest values of keys whose rules have no end. They are far above any that makes sense, and bound what a
foreign file can ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Configuration of a model: all keys of `[model]`, and what the shards determine."""

    sequence_length: int
    """Maximum number of tokens of an ASV, L. This is the START token and one token for each base."""
    vocabulary_size: int = vocabulary.SIZE
    """Number of token ids, V. Published checkpoints have 6 or 7."""
    width: int = 128
    """Number of features of a token and of an ASV, D."""
    attention_heads: int = 4
    """Number of attention heads. It must divide the width."""
    asv_layers: int = 4
    """Number of blocks of the transformer over the bases of an ASV."""
    sample_layers: int = 4
    """Number of blocks of the transformer over the ASVs of a sample. With 0, ASVs do not attend to each
    other."""
    distance_head_layers: int = 0
    """Number of blocks of a third transformer, over the ASVs of a sample, in the Euclidean distance heads.
    Published checkpoints have it."""
    feed_forward: int = 4
    """Width of the feed-forward layers, as a multiple of `width`."""
    bases_per_position: int = 3
    """Number of neighboring tokens that the transformer over bases treats as one position. Each masked base
    is still predicted by itself. Published checkpoints have 1."""
    bases_by_position: bool = True
    """Whether a small network over the base at each position contributes to the embedding of an ASV, beside
    the transformer. Published checkpoints do not have it."""
    count_embedding: CountEmbedding = "add"
    """Method by which the logarithm of an ASV's count enters its embedding: add, concat, film or none."""
    slot_positions: int = 0
    """Number of slots of a sample with a learned position embedding, as published checkpoints have it. With
    0, a sample is a set."""
    targets: tuple[str, ...] = ("unweighted_unifrac",)
    """Distances that the model predicts. Each has a head of its own."""
    distance_head: HeadName = "soft-branch"
    """Method of pooling and comparing samples: soft-branch, euclidean or tanh-euclidean."""
    soft_branches: int = 512
    """Number of branches that the soft-branch head learns."""
    kmers: bool = True
    """Whether the soft-branch head also compares the k-mers of samples, of six bases each. They help with
    clades that were not in the training samples. All ASVs must start at the same primer."""
    dropout: float = 0.0
    """Fraction of each residual branch that is dropped during training."""
    inner_dropout: float = 0.0
    """Fraction of attention weights and of feed-forward units that is dropped during training, as in
    published checkpoints. Attention is then slower, because its fast kernel cannot be used."""
    chunk_size: int = 0
    """Number of ASVs that are encoded at a time. With 0, the number suits the device: it is small on a CPU,
    so that a chunk fits into the cache."""
    checkpoint_positions: int = 49_152
    """Number of positions of a batch's ASVs whose activations are kept, at about 35 kB each for the default
    sizes. Activations of further positions are computed again in the backward pass. Those positions then cost
    a third more time."""

    def __post_init__(self) -> None:
        # JSON and TOML have lists, not tuples.
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        check_types(self, _TABLE)
        check_most(self, MOST, _TABLE)
        self._check_inputs()
        self._check_layers()
        self._check_distance_heads()
        self._check_memory()

    def _check_inputs(self) -> None:
        size = self.vocabulary_size
        _require(self.sequence_length >= 1, "sequence_length must be at least 1", self.sequence_length)
        is_known = vocabulary.START < size <= vocabulary.SIZE
        _require(is_known, f"vocabulary_size must be 6, 7 or {vocabulary.SIZE}", size)
        _require(self.slot_positions >= 0, "slot_positions must not be negative", self.slot_positions)
        bases = self.bases_per_position
        _require(bases >= 1, "bases_per_position must be at least 1", bases)

    def _check_layers(self) -> None:
        heads = self.attention_heads
        _require(self.width >= 1, "width must be at least 1", self.width)
        _require(heads >= 1, "attention_heads must be at least 1", heads)
        _require(self.width % heads == 0, f"attention_heads must divide width ({self.width})", heads)
        _require(self.asv_layers >= 1, "asv_layers must be at least 1", self.asv_layers)
        _require(self.sample_layers >= 0, "sample_layers must not be negative", self.sample_layers)
        _require(self.feed_forward >= 1, "feed_forward must be at least 1", self.feed_forward)
        dropout, inner = self.dropout, self.inner_dropout
        _require(0 <= dropout < 1, "dropout must be at least 0 and below 1", dropout)
        _require(0 <= inner < 1, "inner_dropout must be at least 0 and below 1", inner)

    def _check_distance_heads(self) -> None:
        layers = self.distance_head_layers
        _require(bool(self.targets), "targets must name a distance", "empty")
        is_short = len(self.targets) <= len(METRICS)
        _require(is_short, f"targets must be at most {len(METRICS)} names", f"{len(self.targets):,} names")
        is_distinct = is_short and all(self.targets.count(name) == 1 for name in self.targets)
        _require(is_distinct, "targets must be distinct", ", ".join(map(str, self.targets)))
        for name in self.targets:
            is_known = isinstance(name, str) and name in METRICS
            _require(is_known, f"targets must be among {', '.join(METRICS)}", repr(name))
        _require(layers >= 0, "distance_head_layers must not be negative", layers)
        _require(self.soft_branches >= 1, "soft_branches must be at least 1", self.soft_branches)

    def _check_memory(self) -> None:
        kept = self.checkpoint_positions
        _require(self.chunk_size >= 0, "chunk_size must not be negative", self.chunk_size)
        _require(kept >= 0, "checkpoint_positions must not be negative", kept)

    @property
    def can_mask_bases(self) -> bool:
        """Whether there is a token for a masked base. Published models of 6 tokens have none."""
        return self.vocabulary_size > vocabulary.MASK
