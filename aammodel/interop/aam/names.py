"""How jbk708/aam names and shapes the weights of its model, and which of ours they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from aam_schemas.common.errors import UsageError
from aammodel.config.checks import InvalidConfigError
from aammodel.config.model import CountEmbedding, ModelConfig
from aammodel.interop.aam.checkpoint import Published

_TOKENS = "sample_encoder.asv_encoder.token_embedding.weight"
_POSITIONS = "sample_encoder.asv_encoder.position_embedding.position_embedding.weight"
_SLOTS = "sample_encoder.sample_position_embedding.position_embedding.weight"
_NUCLEOTIDES = "sample_encoder.asv_encoder.nucleotide_head"

# Each by its name there, with ours beside it; HEAD is the name of the distance head.
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
"""What a `SequencePredictor` puts before the names of its encoder."""
_ENCODER_HEADS = re.compile(r"(output_head|uni_ff|faith_ff|tax_ff)\.")
_PREDICTOR_HEADS = re.compile(
    r"(count_encoder|count_head|target_|output_scale|output_bias|categorical_|conditional_|cross_att|gmu|"
    r"perceiver|fusion|film)"
)
"""What reads an encoder's embeddings, and is read by nothing in it."""


@dataclass(frozen=True)
class EncoderTensors:
    """The tensors of a `SequenceEncoder`, and what stood beside them."""

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]
    """Names of heads for other targets, which our model does not have."""


def encoder_tensors(published: Published) -> EncoderTensors:
    """Separate an encoder's tensors from the heads upon it.

    Raises
    ------
    InvalidDataError
        If a name beside the encoder is not that of a known head.
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


def read_sizes(published: Published, tensors: Mapping[str, Tensor], heads: int, target: str) -> ModelConfig:
    """Read the sizes of a model off the shapes of its tensors.

    Parameters
    ----------
    published : Published
        The file, for messages.
    tensors : mapping
        Those of its encoder.
    heads : int
        Attention heads, which no shape tells.
    target : str
        The metric that the distances are of, which the file does not tell.

    Raises
    ------
    UsageError
        If the heads do not divide the width.
    InvalidDataError
        If the sizes are those of no model that we have.
    """
    vocabulary_size, width = _shape(published, tensors, _TOKENS)
    expanded, _ = _shape(published, tensors, f"{next(iter(_STACKS))}.0.linear1.weight")
    if heads < 1 or width % heads:
        raise UsageError(
            f"{heads} heads do not divide the width of {width}",
            "--heads",
            "give the one it was trained with",
        )
    if expanded % width:
        raise published.refuse(f"its feed-forward width of {expanded} is no multiple of its width of {width}")
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
    """Give, for each weight of ours that the checkpoint has, its name there.

    Parameters
    ----------
    config : ModelConfig
    has_nucleotides : bool
        Whether the model guesses hidden bases.
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
    """Tell whether a checkpoint has a head, or a part of one, for hidden bases."""
    return any(name.startswith(f"{_NUCLEOTIDES}.") for name in tensors)


def _shape(published: Published, tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Give the shape of a matrix."""
    if name not in tensors:
        raise published.refuse(f"missing name: {name}")
    if tensors[name].dim() != 2 or not tensors[name].numel():
        raise published.refuse(f"{name} is no matrix: its shape is {tuple(tensors[name].shape)}")
    rows, columns = tensors[name].shape
    return rows, columns


def _num_layers(tensors: Mapping[str, Tensor], stack: str) -> int:
    """Count the layers of a stack; a stack of none counts as one, whose names are then missing."""
    pattern = re.compile(re.escape(stack) + r"\.(\d+)\.")
    found = {match[1] for match in map(pattern.match, tensors) if match}
    return max(1, len(found))


def _count_embedding(tensors: Mapping[str, Tensor]) -> CountEmbedding:
    def has(layer: str) -> bool:
        return any(name.startswith(f"sample_encoder.{layer}.") for name in tensors)

    if has("count_film"):
        return "film"
    if has("count_proj"):
        return "concat"
    return "add" if has("count_embed") else "none"
