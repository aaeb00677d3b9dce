"""The model once more, in float64 and in loops: one sample at a time, without any padding, mask or kernel.

It shares nothing with the model but the names of its weights, so that it can tell whether the model is right.
"""

import math

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def part(weights: Weights, prefix: str) -> Weights:
    """Take the weights below a prefix."""
    return {
        name.removeprefix(prefix + "."): one for name, one in weights.items() if name.startswith(prefix + ".")
    }


def affine(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normalise(weights: Weights, name: str, x: Tensor, epsilon: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of one head, [T, d] each, one query after the other."""
    rows = []
    for one in query:
        scores = torch.stack([(one * other).sum() for other in key]) / math.sqrt(len(one))
        shares = (scores - scores.max()).exp()
        shares = shares / shares.sum()
        rows.append(sum(share * other for share, other in zip(shares, value, strict=True)))
    return torch.stack(rows)


def block(weights: Weights, x: Tensor, heads: int) -> Tensor:
    width = x.shape[1]
    size = width // heads
    qkv = affine(weights, "qkv", normalise(weights, "attention_norm", x))
    query, key, value = qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    cuts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    attended = torch.cat([attend(query[:, cut], key[:, cut], value[:, cut]) for cut in cuts], dim=1)
    x = x + affine(weights, "attention_out", attended)
    wide = affine(weights, "expand", normalise(weights, "feed_forward_norm", x))
    wide = wide * (1 + torch.erf(wide / math.sqrt(2))) / 2
    return x + affine(weights, "contract", wide)


def transformer(weights: Weights, x: Tensor, heads: int) -> Tensor:
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    for number in range(num_blocks):
        x = block(part(weights, f"blocks.{number}"), x, heads)
    return normalise(weights, "norm", x, epsilon=1e-6) if num_blocks else x


def pool(weights: Weights, x: Tensor) -> Tensor:
    scores = (x @ weights["query.weight"].T)[:, 0] / math.sqrt(x.shape[1])
    shares = scores.exp() / scores.exp().sum()
    return normalise(weights, "norm", (shares[:, None] * x).sum(0) - weights["centre"])


def embed_positions(weights: Weights, tokens: list[int], vocabulary_size: int) -> Tensor:
    """Add up the vectors of the tokens of each position, and its own, [P, D]."""
    table = weights["token_embedding.weight"]
    size = len(table) // vocabulary_size
    positions = []
    for number, start in enumerate(range(0, len(tokens), size)):
        here = [
            table[place * vocabulary_size + one] for place, one in enumerate(tokens[start : start + size])
        ]
        positions.append(sum(here) + weights["position_embedding.weight"][number])
    return torch.stack(positions)


def guess(weights: Weights, hidden: Tensor, place: int, vocabulary_size: int = 8) -> Tensor:
    """Give the logits of one token of an ASV from its hidden states [P, D], [V]."""
    size = len(weights["nucleotide_head.bias"]) // vocabulary_size
    logits = affine(weights, "nucleotide_head", hidden[place // size])
    start = place % size * vocabulary_size
    return logits[start : start + vocabulary_size]


def encode_asv(
    weights: Weights,
    tokens: list[int],
    heads: int,
    whole: list[int] | None = None,
    vocabulary_size: int = 8,
) -> tuple[Tensor, Tensor]:
    """Encode one ASV, given without padding: hidden states [P, D] and embedding [D].

    `tokens` are those that the transformer reads; `whole` has the bases that are hidden from it, too.
    """
    weights = part(weights, "asv_encoder")
    x = embed_positions(part(weights, "stem"), tokens, vocabulary_size)
    hidden = transformer(part(weights, "transformer"), x, heads)
    embedding = pool(part(weights, "pooling"), hidden)
    if "bases.weight" in weights:
        embedding = embedding + encode_bases(part(weights, "bases"), whole or tokens)
    return hidden, embedding


def encode_bases(weights: Weights, tokens: list[int]) -> Tensor:
    """Encode which base stands where, [D]."""
    total = sum(weights["weight"][place, token] for place, token in enumerate(tokens))
    wide = normalise(weights, "norm", total - weights["centre"])
    return affine(weights, "out", wide * (1 + torch.erf(wide / math.sqrt(2))) / 2)


def embed_count(weights: Weights, x: Tensor, count: float) -> Tensor:
    """Add, join or modulate by the logarithm of a count, whichever the weights are for; x is [D]."""
    if "of_count.weight" not in weights:
        return x
    of_count = weights["of_count.weight"][:, 0] * math.log(1 + count) + weights["of_count.bias"]
    if "project.weight" in weights:
        return affine(weights, "project", torch.cat([x, of_count]))
    if len(of_count) == len(x):
        return x + of_count
    return x * (1 + of_count[: len(x)]) + of_count[len(x) :]


def encode_sample(weights: Weights, asvs: list[Tensor], counts: list[float], heads: int) -> Tensor:
    """Encode the ASVs of one sample, [S, D]."""
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
    """Pool the ASVs of one sample, whose tokens have no padding, by one head, [K]."""
    if "logits.weight" not in weights:
        features = transformer(part(weights, "transformer"), features, heads)
        return pool(part(weights, "pooling"), features)
    # exp(-softplus(x)) = 1 / (1 + exp(x)): the probability that this ASV does not cover the branch.
    without = [1 / (1 + affine(weights, "logits", asv).exp()) for asv in features]
    if by_presence:
        absent = torch.ones(len(weights["logits.bias"]), dtype=torch.float64)
        for one in without:
            absent = absent * one
        soft = 1 - absent
    else:
        soft = sum(count / sum(counts) * (1 - one) for one, count in zip(without, counts, strict=True))
    return torch.cat([soft, windows(asvs, counts, len(weights["window_weight"]), by_presence)])


def windows(asvs: list[list[int]], counts: list[float], number: int, by_presence: bool = True) -> Tensor:
    """Tell which stretches of six bases, every third one, a sample has, or what share of its reads has."""
    found = [0.0] * (128 * number)
    for tokens, count in zip(asvs, counts, strict=True):
        for place in range(number):
            stretch = tokens[1 + 3 * place : 7 + 3 * place]
            if len(stretch) < 6 or any(token not in (1, 2, 3, 4) for token in stretch):
                continue
            content = 4096 * place + sum((token - 1) * 4**digit for digit, token in enumerate(stretch))
            column = 128 * place + (content * 2654435761 % 2**32 >> 25)
            found[column] = 1.0 if by_presence else found[column] + count / sum(counts)
    return torch.tensor(found, dtype=torch.float64)


def distance(weights: Weights, a: Tensor, b: Tensor, by_presence: bool = True) -> Tensor:
    """Compare two samples by one head, not clamped."""
    if "branch_weight" in weights:
        of_window = (25 * weights["window_weight"]).exp().repeat_interleave(128)
        weight = torch.cat([(1 + weights["branch_weight"].exp()).log(), of_window])
        most = torch.maximum(a, b) if by_presence else a + b
        apart = (weight * (a - b).abs()).sum() / (weight * most).sum()
    else:
        apart = (a - b).square().sum().sqrt()
    if "affine.scale" not in weights:
        return torch.tanh(apart / 10)
    return weights["affine.scale"] * apart + weights["affine.offset"]
