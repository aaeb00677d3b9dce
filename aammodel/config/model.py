"""What makes a model: its sizes and choices, checked where they are made."""

from dataclasses import dataclass
from typing import Literal, get_args

from aam_schemas import vocabulary
from aammodel.distances.metrics import METRICS

CountEmbedding = Literal["add", "concat", "film", "none"]
HeadName = Literal["soft-branch", "euclidean", "tanh-euclidean"]

_AT_LEAST_ONE = (
    "sequence_length",
    "width",
    "attention_heads",
    "asv_layers",
    "feed_forward",
    "soft_branches",
    "bases_per_position",
)
_AT_LEAST_ZERO = (
    "sample_layers",
    "distance_head_layers",
    "slot_positions",
    "chunk_size",
    "checkpoint_positions",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Sizes and choices of a model."""

    sequence_length: int
    """Most tokens per ASV, L: START and as many bases as the longest ASV has."""
    vocabulary_size: int = vocabulary.SIZE
    """Token ids that the model knows, V; 6 or 7 for published checkpoints."""
    width: int = 128
    """Numbers per token and per ASV, D."""
    attention_heads: int = 4
    """Attention heads; they divide the width."""
    asv_layers: int = 4
    """Blocks of the transformer over the bases of an ASV."""
    sample_layers: int = 4
    """Blocks of the transformer over the ASVs of a sample; with 0, ASVs of a sample do not see each other."""
    distance_head_layers: int = 0
    """Blocks of a third transformer, over the ASVs again, in the Euclidean heads; published checkpoints have
    one."""
    feed_forward: int = 4
    """Width of the feed-forward layers, in multiples of `width`."""
    bases_per_position: int = 3
    """Neighbouring tokens that the transformer over bases reads as one position; published checkpoints read
    one. Each hidden base is still guessed by itself."""
    bases_by_position: bool = True
    """Whether an ASV's embedding has a part that is a small network over which base stands where, beside the
    transformer; published checkpoints have none."""
    count_embedding: CountEmbedding = "add"
    """How the logarithm of an ASV's count enters its embedding."""
    slot_positions: int = 0
    """Slots with a learned position of their own, for published checkpoints; with 0, a sample is a set."""
    targets: tuple[str, ...] = ("unweighted_unifrac",)
    """Metrics of distance that the model predicts; each has a head of its own."""
    distance_head: HeadName = "soft-branch"
    """How samples are pooled and compared."""
    soft_branches: int = 512
    """Branches that the soft-branch head learns."""
    kmers: bool = True
    """Whether the soft-branch head also compares which stretches of six bases the ASVs of samples have: what
    unseen clades have in common with known ones. They presume a common primer at the ASVs' beginning."""
    dropout: float = 0.0
    """Share of each residual branch that is dropped while training."""
    inner_dropout: float = 0.0
    """Share of attention weights, and of what lies within feed-forward layers, that is dropped while
    training, as published checkpoints had it; it takes attention off its fast kernel."""
    chunk_size: int = 0
    """ASVs encoded at a time; with 0, as many as suits the device: few on a CPU, so that they stay in its
    cache."""
    checkpoint_positions: int = 49_152
    """Positions of a batch's ASVs whose activations are kept, about 35 kB each at the default size; those of
    further ones are computed again in the backward pass, which costs them a third more time."""

    def __post_init__(self) -> None:
        # JSON and TOML know lists alone.
        object.__setattr__(self, "targets", tuple(self.targets))
        _check(bool(self.targets), "targets must name a metric")
        for name in self.targets:
            _check_choice("targets", name, tuple(METRICS))
        for name in _AT_LEAST_ONE:
            _check(getattr(self, name) >= 1, f"{name} must be at least 1, and is {getattr(self, name)}")
        for name in _AT_LEAST_ZERO:
            _check(getattr(self, name) >= 0, f"{name} must not be negative, and is {getattr(self, name)}")
        _check(
            self.width % self.attention_heads == 0,
            f"attention_heads ({self.attention_heads}) must divide width ({self.width})",
        )
        for name in ("dropout", "inner_dropout"):
            share = getattr(self, name)
            _check(0 <= share < 1, f"{name} must lie in [0, 1), and is {share}")
        _check(
            vocabulary.START < self.vocabulary_size <= vocabulary.SIZE,
            f"vocabulary_size must be 6, 7 or {vocabulary.SIZE}, and is {self.vocabulary_size}",
        )
        _check_choice("distance_head", self.distance_head, get_args(HeadName))
        _check_choice("count_embedding", self.count_embedding, get_args(CountEmbedding))

    @property
    def can_hide_bases(self) -> bool:
        """Whether there is a token for a hidden base; published models of 6 tokens have none."""
        return self.vocabulary_size > vocabulary.MASK


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _check_choice(name: str, choice: str, choices: tuple[str, ...]) -> None:
    _check(choice in choices, f"{name} must be one of {', '.join(choices)}, and is {choice!r}")
