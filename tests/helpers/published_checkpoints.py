"""Random checkpoints in the format of jbk708/aam, and a reference implementation of its model.

The reference follows the published description, in float64, one sample at a time, without padding or masks.
It knows the parameter names of the checkpoint and nothing of our model. Only `imported` makes one of ours.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aammodel.interop.aam.convert import import_published
from aammodel.nn.model import AamModel
from tests.helpers.reference_model import Weights, affine, attend, normalize, part


@dataclass(frozen=True)
class Sizes:
    """Sizes of a published model."""

    vocabulary: int = 7
    width: int = 16
    heads: int = 4
    layers: tuple[int, int, int] = (1, 1, 1)
    """Layers of the transformers over bases, over ASVs, and over ASVs again."""
    feed_forward: int = 4
    bases: int = 12
    token_limit: int = 6
    count: str = "none"


def random_state(sizes: Sizes, seed: int = 0) -> Weights:
    """Draw the state dict of a `SequenceEncoder`."""
    width = sizes.width
    shapes = {
        "sample_encoder.asv_encoder.token_embedding.weight": (sizes.vocabulary, width),
        "sample_encoder.asv_encoder.position_embedding.position_embedding.weight": (sizes.bases + 1, width),
        "sample_encoder.sample_position_embedding.position_embedding.weight": (sizes.token_limit + 5, width),
        **linear_shapes("sample_encoder.asv_encoder.nucleotide_head", sizes.vocabulary, width),
        **pooling_shapes("sample_encoder.asv_encoder.attention_pooling", width),
        **pooling_shapes("attention_pooling", width),
        **count_shapes(sizes.count, width),
    }
    stacks = ("sample_encoder.asv_encoder.transformer", "sample_encoder.sample_transformer")
    for stack, layers in zip((*stacks, "encoder_transformer"), sizes.layers, strict=True):
        shapes |= stack_shapes(stack, layers, width, sizes.feed_forward * width)
    numbers = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=numbers) * 0.3 for name, shape in shapes.items()}
    return {
        name: weight + 1 if "norm" in name and name.endswith("weight") else weight
        for name, weight in drawn.items()
    }


def linear_shapes(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def pooling_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    norm = {f"{name}.norm.{kind}": (width,) for kind in ("weight", "bias")}
    return {f"{name}.query.weight": (1, width), **norm}


def count_shapes(count: str, width: int) -> dict[str, tuple[int, ...]]:
    if count == "none":
        return {}
    if count == "film":
        return linear_shapes("sample_encoder.count_film", 2 * width, 1)
    embed = linear_shapes("sample_encoder.count_embed", width, 1)
    return embed if count == "add" else embed | linear_shapes("sample_encoder.count_proj", width, 2 * width)


def stack_shapes(name: str, layers: int, width: int, wide: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{name}.norm.{kind}": (width,) for kind in ("weight", "bias")}
    for number in range(layers):
        layer = f"{name}.encoder.layers.{number}"
        shapes |= {
            f"{layer}.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")
        }
        shapes |= {f"{layer}.self_attn.in_proj_weight": (3 * width, width)}
        shapes |= {f"{layer}.self_attn.in_proj_bias": (3 * width,)}
        shapes |= linear_shapes(f"{layer}.self_attn.out_proj", width, width)
        shapes |= linear_shapes(f"{layer}.linear1", wide, width) | linear_shapes(
            f"{layer}.linear2", width, wide
        )
    return shapes


def random_inputs(sizes: Sizes, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Draw tokens [B, S, L] and counts [B, S] of samples of several sizes, one with a gap among its slots."""
    numbers = torch.Generator().manual_seed(seed)
    length = sizes.bases + 1
    tokens = torch.randint(1, 5, (3, sizes.token_limit, length), generator=numbers)
    tokens[:, :, 0] = 5
    num_bases = torch.randint(1, length, tokens.shape[:2], generator=numbers)
    tokens[torch.arange(length) > num_bases[:, :, None]] = 0
    counts = torch.randint(1, 2000, tokens.shape[:2], generator=numbers).float()
    is_real = torch.ones(tokens.shape[:2], dtype=torch.bool)
    is_real[0, 2:] = False
    is_real[1, 1] = False
    return torch.where(is_real[:, :, None], tokens, 0), torch.where(is_real, counts, 0.0)


@dataclass(frozen=True)
class Expected:
    """Output of the published model for the real slots of one sample."""

    slots: list[int]
    logits: list[Tensor]
    """Logits of each ASV, [T, V]."""
    asvs: Tensor
    """Encoded ASVs, [S, D]."""
    embedding: Tensor
    """Sample embedding, [D]."""


def by_published(state: Weights, heads: int, tokens: Tensor, counts: Tensor) -> list[Expected]:
    """Compute the output of the published model for tokens [B, S, L] and counts [B, S], sample by sample."""
    weights = {name: weight.double() for name, weight in state.items()}
    return [one_sample(weights, heads, row, count) for row, count in zip(tokens, counts, strict=True)]


def one_sample(weights: Weights, heads: int, tokens: Tensor, counts: Tensor) -> Expected:
    slots = [slot for slot, asv in enumerate(tokens) if asv.any()]
    encoder, inner = part(weights, "sample_encoder"), part(weights, "sample_encoder.asv_encoder")
    rows, logits = [], []
    for slot in slots:
        hidden = encode_asv(inner, heads, [token for token in tokens[slot].tolist() if token])
        logits.append(affine(inner, "nucleotide_head", hidden) if "nucleotide_head.bias" in inner else hidden)
        asv = with_count(encoder, pool(part(inner, "attention_pooling"), hidden), float(counts[slot]))
        rows.append(asv + encoder["sample_position_embedding.position_embedding.weight"][slot])
    asvs = transformer(part(encoder, "sample_transformer"), torch.stack(rows), heads)
    again = transformer(part(weights, "encoder_transformer"), asvs, heads)
    return Expected(slots, logits, asvs, pool(part(weights, "attention_pooling"), again))


def encode_asv(weights: Weights, heads: int, tokens: list[int]) -> Tensor:
    rows = [
        weights["token_embedding.weight"][token]
        + weights["position_embedding.position_embedding.weight"][position]
        for position, token in enumerate(tokens)
    ]
    return transformer(part(weights, "transformer"), torch.stack(rows), heads)


def with_count(weights: Weights, asv: Tensor, count: float) -> Tensor:
    log_count = torch.tensor([math.log(count + 1)], dtype=torch.float64)
    if "count_film.weight" in weights:
        both = affine(weights, "count_film", log_count)
        scale, shift = both[: len(asv)], both[len(asv) :]
        return asv * (1 + scale) + shift
    if "count_embed.weight" not in weights:
        return asv
    embedded = affine(weights, "count_embed", log_count)
    if "count_proj.weight" in weights:
        return affine(weights, "count_proj", torch.cat([asv, embedded]))
    return asv + embedded


def transformer(weights: Weights, x: Tensor, heads: int) -> Tensor:
    numbers = sorted({int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers.")})
    for number in numbers:
        x = layer(part(weights, f"encoder.layers.{number}"), x, heads)
    return normalize(weights, "norm", x, epsilon=1e-6)


def layer(weights: Weights, x: Tensor, heads: int) -> Tensor:
    inside = normalize(weights, "norm1", x)
    parts = inside @ weights["self_attn.in_proj_weight"].T + weights["self_attn.in_proj_bias"]
    query, key, value = parts.split(x.shape[1], dim=1)
    size = x.shape[1] // heads
    cuts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    attended = torch.cat([attend(query[:, cut], key[:, cut], value[:, cut]) for cut in cuts], dim=1)
    x = x + affine(weights, "self_attn.out_proj", attended)
    wide = affine(weights, "linear1", normalize(weights, "norm2", x))
    return x + affine(weights, "linear2", wide * (1 + torch.erf(wide / math.sqrt(2))) / 2)


def pool(weights: Weights, x: Tensor) -> Tensor:
    scores = (x @ weights["query.weight"][0]) / math.sqrt(x.shape[1])
    fractions = scores.exp() / scores.exp().sum()
    return normalize(weights, "norm", sum(fraction * row for fraction, row in zip(fractions, x, strict=True)))


def write(path: Path, state: object, **more: object) -> Path:
    """Write a checkpoint as jbk708/aam does."""
    torch.save({"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "epoch": 3, **more}, path)
    return path


def written(folder: Path, sizes: Sizes | None = None) -> Path:
    return write(folder / "published.pt", random_state(sizes or Sizes()))


def imported(path: Path, heads: int = 4) -> AamModel:
    return import_published(path, heads, "unweighted_unifrac").model


def predictor(state: Weights) -> Weights:
    """Return the state of a `SequencePredictor`: an encoder with heads for another target and for counts."""
    base = {f"base_model.{name}": weight for name, weight in state.items()}
    heads = ("count_encoder.norm.weight", "target_pooling.query.weight", "target_head.weight", "output_scale")
    return base | {name: torch.randn(3, 16) for name in heads}
