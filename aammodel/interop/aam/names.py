"""Map names and shapes of weights in jbk708/aam to those of our model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from aam_schemas.common.errors import UsageError
from aammodel.config.checks import InvalidConfigError
from aammodel.config.model import CountEmbedding, ModelConfig
from aammodel.interop.aam.checkpoint import PublishedCheckpoint

_TOKENS = "sample_encoder.asv_encoder.token_embedding.weight"
_POSITIONS = "sample_encoder.asv_encoder.position_embedding.position_embedding.weight"
_SLOTS = "sample_encoder.sample_position_embedding.position_embedding.weight"
_NUCLEOTIDES = "sample_encoder.asv_encoder.nucleotide_head"

# In the tables below, keys are names in jbk708/aam, and values are names in our model. HEAD stands for the
# name of the distance head.
_SINGLE = {
    _TOKENS: "asv_encoder.stem.token_embedding.weight",
    _POSITIONS: "asv_encoder.stem.position_embedding.weight",
    _SLOTS: "sample_encoder.slot_embedding.weight",
    "sample_encoder.asv_encoder.attention_pooling.query.weight": "asv_encoder.pooling.query.weight",
    "attention_pooling.query.weight": "HEAD.pooling.query.weight",
}
_PARTS = ("weight", "bias")
_LINEAR = {
    "sample_encoder.asv_encoder.attention_pooling.norm": "asv_encoder.pooling.norm",
    "attention_pooling.norm": "HEAD.pooling.norm",
    "sample_encoder.asv_encoder.transformer.norm": "asv_encoder.transformer.norm",
    "sample_encoder.sample_transformer.norm": "sample_encoder.transformer.norm",
    "encoder_transformer.norm": "HEAD.transformer.norm",
}
_STACKS = {
    "sample_encoder.asv_encoder.transformer.encoder.layers": "asv_encoder.transformer.blocks",
    "sample_encoder.sample_transformer.encoder.layers": "sample_encoder.transformer.blocks",
    "encoder_transformer.encoder.layers": "HEAD.transformer.blocks",
}
_BLOCK = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj.weight": "attention_out.weight",
    "self_attn.out_proj.bias": "attention_out.bias",
    "linear1.weight": "expand.weight",
    "linear1.bias": "expand.bias",
    "linear2.weight": "contract.weight",
    "linear2.bias": "contract.bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "feed_forward_norm.weight",
    "norm2.bias": "feed_forward_norm.bias",
}
_COUNTS: dict[CountEmbedding, dict[str, str]] = {
    "none": {},
    "film": {"sample_encoder.count_film": "sample_encoder.count_embedding.of_count"},
    "add": {"sample_encoder.count_embed": "sample_encoder.count_embedding.of_count"},
    "concat": {
        "sample_encoder.count_embed": "sample_encoder.count_embedding.of_count",
        "sample_encoder.count_proj": "sample_encoder.count_embedding.project",
    },
}

_PREDICTOR = "base_model."
"""Prefix that a `SequencePredictor` adds to the names of its encoder."""
_ENCODER_HEADS = re.compile(r"(output_head|uni_ff|faith_ff|tax_ff)\.")
_PREDICTOR_HEADS = re.compile(
    r"(count_encoder|count_head|target_|output_scale|output_bias|categorical_|conditional_|cross_att|gmu|"
    r"perceiver|fusion|film)"
)
"""Names of a predictor's heads. They use the encoder, but the encoder does not use them."""


@dataclass(frozen=True)
class EncoderTensors:
    """Tensors of a `SequenceEncoder`, and names of the other tensors in its checkpoint."""

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]
    """Names of tensors of heads for other targets, which our model does not have."""


def encoder_tensors(published: PublishedCheckpoint) -> EncoderTensors:
    """Separate the tensors of the encoder from those of heads for other targets.

    Raises
    ------
    InvalidDataError
        If a tensor belongs neither to the encoder nor to a known head.
    """
    is_predictor = any(name.startswith(_PREDICTOR) for name in published.tensors)
    tensors, left_out = {}, []
    for name, tensor in published.tensors.items():
        inner = name.removeprefix(_PREDICTOR)
        is_outside = is_predictor and inner == name
        if (_PREDICTOR_HEADS if is_outside else _ENCODER_HEADS).match(inner):
            left_out.append(name)
        elif is_outside:
            raise published.refuse(f"unexpected name: {name}")
        else:
            tensors[inner] = tensor
    return EncoderTensors(tensors, tuple(left_out))


def read_sizes(
    published: PublishedCheckpoint, tensors: Mapping[str, Tensor], heads: int, target: str
) -> ModelConfig:
    """Infer the configuration of a model from the shapes of its tensors.

    Parameters
    ----------
    published : PublishedCheckpoint
        The checkpoint, for messages.
    tensors : mapping
        Tensors of its encoder, by name.
    heads : int
        Number of attention heads. No shape depends on it.
    target : str
        Name of the metric that the model predicts. The file does not contain it.

    Raises
    ------
    UsageError
        If the number of heads does not divide the width.
    InvalidDataError
        If our model cannot have these sizes.
    """
    vocabulary_size, width = _shape(published, tensors, _TOKENS)
    expanded, _ = _shape(published, tensors, f"{next(iter(_STACKS))}.0.linear1.weight")
    if heads < 1 or width % heads:
        raise UsageError(
            f"{heads} heads do not divide the width of {width}",
            "--heads",
            "give the number of heads that the checkpoint was trained with",
        )
    if expanded % width:
        raise published.refuse(
            f"its feed-forward width of {expanded} is not a multiple of its width of {width}"
        )
    asv_layers, sample_layers, head_layers = (_num_layers(tensors, stack) for stack in _STACKS)
    try:
        return ModelConfig(
            sequence_length=_shape(published, tensors, _POSITIONS)[0],
            vocabulary_size=vocabulary_size,
            width=width,
            attention_heads=heads,
            asv_layers=asv_layers,
            sample_layers=sample_layers,
            distance_head_layers=head_layers,
            feed_forward=expanded // width,
            bases_per_position=1,
            bases_by_position=False,
            kmers=False,
            count_embedding=_count_embedding(tensors),
            slot_positions=_shape(published, tensors, _SLOTS)[0],
            targets=(target,),
            distance_head="tanh-euclidean",
        )
    except InvalidConfigError as error:
        raise published.refuse(error.what) from error


def published_names(config: ModelConfig, has_nucleotides: bool) -> dict[str, str]:
    """Return the name in the checkpoint of each weight of our model that the checkpoint has.

    Parameters
    ----------
    config : ModelConfig
    has_nucleotides : bool
        Whether the model predicts masked bases.
    """
    linear = _LINEAR | _COUNTS[config.count_embedding]
    if has_nucleotides:
        linear = linear | {_NUCLEOTIDES: "nucleotide_head"}
    names = _SINGLE | {
        f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in linear.items() for part in _PARTS
    }
    layers = (config.asv_layers, config.sample_layers, config.distance_head_layers)
    for (theirs, ours), num_layers in zip(_STACKS.items(), layers, strict=True):
        for number in range(num_layers):
            names |= {f"{theirs}.{number}.{a}": f"{ours}.{number}.{b}" for a, b in _BLOCK.items()}
    head = f"distance_heads.{config.targets[0]}"
    return {ours.replace("HEAD", head, 1): theirs for theirs, ours in names.items()}


def has_nucleotides(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether a checkpoint has a head for masked bases, or a part of one."""
    return any(name.startswith(f"{_NUCLEOTIDES}.") for name in tensors)


def _shape(published: PublishedCheckpoint, tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Return the shape of a matrix. Raise an error if it is missing or not a matrix."""
    if name not in tensors:
        raise published.refuse(f"missing name: {name}")
    if tensors[name].dim() != 2 or not tensors[name].numel():
        raise published.refuse(f"{name} is not a matrix: its shape is {tuple(tensors[name].shape)}")
    rows, columns = tensors[name].shape
    return rows, columns


def _num_layers(tensors: Mapping[str, Tensor], stack: str) -> int:
    """Return the number of layers of a stack: at least 1, so that a missing stack is reported."""
    pattern = re.compile(re.escape(stack) + r"\.(\d+)\.")
    numbers = {match[1] for match in map(pattern.match, tensors) if match}
    return max(1, len(numbers))


def _count_embedding(tensors: Mapping[str, Tensor]) -> CountEmbedding:
    def has(layer: str) -> bool:
        return any(name.startswith(f"sample_encoder.{layer}.") for name in tensors)

    if has("count_film"):
        return "film"
    if has("count_proj"):
        return "concat"
    return "add" if has("count_embed") else "none"
