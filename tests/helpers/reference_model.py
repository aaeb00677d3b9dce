"""Independent implementation of the model, in float64 and in loops: no padding, masks or fused kernels.

It processes one sample at a time. It shares only the names of the weights with the model, so that tests can
use it as a reference.
"""

import math

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def part(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names start with a prefix, without the prefix."""
    return {
        name.removeprefix(prefix + "."): weight
        for name, weight in weights.items()
        if name.startswith(prefix + ".")
    }


def affine(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normalize(weights: Weights, name: str, x: Tensor, epsilon: float = 1e-5) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    scaled = centered / (centered.square().mean(-1, keepdim=True) + epsilon).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute attention of one head query by query. All tensors have the shape [T, d]."""
    rows = []
    for row in query:
        scores = torch.stack([(row * other).sum() for other in key]) / math.sqrt(len(row))
        fractions = (scores - scores.max()).exp()
        fractions = fractions / fractions.sum()
        rows.append(sum(fraction * other for fraction, other in zip(fractions, value, strict=True)))
    return torch.stack(rows)


def block(weights: Weights, x: Tensor, heads: int) -> Tensor:
    width = x.shape[1]
    size = width // heads
    qkv = affine(weights, "qkv", normalize(weights, "attention_norm", x))
    query, key, value = qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    cuts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    attended = torch.cat([attend(query[:, cut], key[:, cut], value[:, cut]) for cut in cuts], dim=1)
    x = x + affine(weights, "attention_out", attended)
    wide = affine(weights, "expand", normalize(weights, "feed_forward_norm", x))
    wide = wide * (1 + torch.erf(wide / math.sqrt(2))) / 2
    return x + affine(weights, "contract", wide)


def transformer(weights: Weights, x: Tensor, heads: int) -> Tensor:
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    for number in range(num_blocks):
        x = block(part(weights, f"blocks.{number}"), x, heads)
    return normalize(weights, "norm", x, epsilon=1e-6) if num_blocks else x


def pool(weights: Weights, x: Tensor) -> Tensor:
    scores = (x @ weights["query.weight"].T)[:, 0] / math.sqrt(x.shape[1])
    fractions = scores.exp() / scores.exp().sum()
    return normalize(weights, "norm", (fractions[:, None] * x).sum(0) - weights["centre"])


def embed_positions(weights: Weights, tokens: list[int], vocabulary_size: int) -> Tensor:
    """Return the sum of token and position embeddings at each position, [P, D]."""
    table = weights["token_embedding.weight"]
    size = len(table) // vocabulary_size
    positions = []
    for number, first in enumerate(range(0, len(tokens), size)):
        here = [
            table[offset * vocabulary_size + token]
            for offset, token in enumerate(tokens[first : first + size])
        ]
        positions.append(sum(here) + weights["position_embedding.weight"][number])
    return torch.stack(positions)


def nucleotide_logits(weights: Weights, hidden: Tensor, index: int, vocabulary_size: int = 8) -> Tensor:
    """Return the logits [V] of the token at an index, from the hidden states [P, D] of its ASV."""
    size = len(weights["nucleotide_head.bias"]) // vocabulary_size
    logits = affine(weights, "nucleotide_head", hidden[index // size])
    first = index % size * vocabulary_size
    return logits[first : first + vocabulary_size]


def encode_asv(
    weights: Weights,
    tokens: list[int],
    heads: int,
    whole: list[int] | None = None,
    vocabulary_size: int = 8,
) -> tuple[Tensor, Tensor]:
    """Encode one ASV without padding, as hidden states [P, D] and embedding [D].

    `tokens` are the input of the transformer, with masked bases. `whole` are the tokens before masking.
    """
    weights = part(weights, "asv_encoder")
    x = embed_positions(part(weights, "stem"), tokens, vocabulary_size)
    hidden = transformer(part(weights, "transformer"), x, heads)
    embedding = pool(part(weights, "pooling"), hidden)
    if "bases.weight" in weights:
        embedding = embedding + encode_bases(part(weights, "bases"), whole or tokens)
    return hidden, embedding


def encode_bases(weights: Weights, tokens: list[int]) -> Tensor:
    """Encode the bases of an ASV by position, [D]."""
    total = sum(weights["weight"][index, token] for index, token in enumerate(tokens))
    wide = normalize(weights, "norm", total - weights["centre"])
    return affine(weights, "out", wide * (1 + torch.erf(wide / math.sqrt(2))) / 2)


def embed_count(weights: Weights, x: Tensor, count: float) -> Tensor:
    """Add, concatenate or modulate (FiLM) by the logarithm of a count, as the weights imply. x is [D]."""
    if "of_count.weight" not in weights:
        return x
    of_count = weights["of_count.weight"][:, 0] * math.log(1 + count) + weights["of_count.bias"]
    if "project.weight" in weights:
        return affine(weights, "project", torch.cat([x, of_count]))
    if len(of_count) == len(x):
        return x + of_count
    return x * (1 + of_count[: len(x)]) + of_count[len(x) :]


def encode_sample(weights: Weights, asvs: list[Tensor], counts: list[float], heads: int) -> Tensor:
    """Encode the ASVs of one sample in the context of each other, [S, D]."""
    weights = part(weights, "sample_encoder")
    counted = part(weights, "count_embedding")
    x = torch.stack([embed_count(counted, asv, count) for asv, count in zip(asvs, counts, strict=True)])
    if "slot_embedding.weight" in weights:
        x = x + weights["slot_embedding.weight"][: len(x)]
    return transformer(part(weights, "transformer"), x, heads)


def embed_sample(
    weights: Weights,
    features: Tensor,
    asvs: list[list[int]],
    counts: list[float],
    heads: int,
    by_presence: bool = True,
) -> Tensor:
    """Return the distance features [K] of one sample for one head. The tokens have no padding."""
    if "logits.weight" not in weights:
        features = transformer(part(weights, "transformer"), features, heads)
        return pool(part(weights, "pooling"), features)
    # exp(-softplus(x)) = 1 / (1 + exp(x)): the probability that this ASV does not cover the branch.
    without = [1 / (1 + affine(weights, "logits", asv).exp()) for asv in features]
    if by_presence:
        absent = torch.ones(len(weights["logits.bias"]), dtype=torch.float64)
        for factor in without:
            absent = absent * factor
        soft = 1 - absent
    else:
        soft = sum(count / sum(counts) * (1 - factor) for factor, count in zip(without, counts, strict=True))
    return torch.cat([soft, kmer_features(asvs, counts, len(weights["window_weight"]), by_presence)])


def kmer_features(
    asvs: list[list[int]], counts: list[float], number: int, by_presence: bool = True
) -> Tensor:
    """Return the presence or read fraction of each hashed 6-mer. K-mers start at every third base.

    Each of the `number` k-mer positions has 128 columns. A k-mer takes the column given by a multiplicative
    hash (Knuth, The Art of Computer Programming, volume 3, section 6.4; the multiplier is near 2^32 / 1.618).
    """
    features = [0.0] * (128 * number)
    for tokens, count in zip(asvs, counts, strict=True):
        for position in range(number):
            kmer = tokens[1 + 3 * position : 7 + 3 * position]
            if len(kmer) < 6 or any(token not in (1, 2, 3, 4) for token in kmer):
                continue
            code = 4096 * position + sum((token - 1) * 4**digit for digit, token in enumerate(kmer))
            column = 128 * position + (code * 2654435761 % 2**32 >> 25)
            features[column] = 1.0 if by_presence else features[column] + count / sum(counts)
    return torch.tensor(features, dtype=torch.float64)


def distance(weights: Weights, a: Tensor, b: Tensor, by_presence: bool = True) -> Tensor:
    """Return the distance between two samples by one head, without clamping to [0, 1]."""
    if "branch_weight" in weights:
        kmer_weight = (25 * weights["window_weight"]).exp().repeat_interleave(128)
        weight = torch.cat([(1 + weights["branch_weight"].exp()).log(), kmer_weight])
        most = torch.maximum(a, b) if by_presence else a + b
        apart = (weight * (a - b).abs()).sum() / (weight * most).sum()
    else:
        apart = (a - b).square().sum().sqrt()
    if "affine.scale" not in weights:
        return torch.tanh(apart / 10)
    return weights["affine.scale"] * apart + weights["affine.offset"]
