"""Pre-norm transformer blocks that padding cannot touch.

Shape letters: N sequences (ASVs, or samples), T positions (tokens, or ASV slots), D model width, H heads, d
width of a head. `is_real` is True for data and False for padding; None says that there is no padding, which
spares the mask.

`nn.TransformerEncoder` is not used: in torch 2.13 it gives NaN for a sequence that is all padding, in
evaluation without gradients.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel

from aammodel.config.model import ModelConfig
from aammodel.nn.dropout import Dropout

_KERNELS_BUT_CUDNN = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def zero_padding(x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None) -> Float[Tensor, "N T D"]:
    """Set padded positions to zero, whatever stands there: a product would keep NaN, a choice does not."""
    return x if is_real is None else torch.where(is_real[..., None], x, 0.0)


def attendable(is_real: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
    """Tell which positions may be attended to: the real ones, or all where a sequence has none.

    So no softmax ever runs over nothing. Padded values are zero, so attending to them is harmless.
    """
    return is_real | ~is_real.any(dim=1, keepdim=True)


def attend(
    query: Float[Tensor, "N H T d"],
    key: Float[Tensor, "N H T d"],
    value: Float[Tensor, "N H T d"],
    may_attend: Bool[Tensor, "N 1 1 T"] | None,
) -> Float[Tensor, "N H T d"]:
    """Compute scaled dot-product attention, on a GPU by any kernel but cuDNN's.

    With a mask, cuDNN's kernel returns NaN gradients at some lengths on H100 and H200 (pytorch issue 196678).
    Torch chooses the kernel in the forward pass and keeps it for the backward pass. The switch is global, so
    it is flipped for this call alone.

    Parameters
    ----------
    query, key, value : Tensor, shape (N, H, T, d)
    may_attend : Tensor of bool, shape (N, 1, 1, T), or None
        False where a position is padding; None where none is.
    """
    if not query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    if torch.compiler.is_compiling():  # which can trace this context, but not read the switch
        with sdpa_kernel(_KERNELS_BUT_CUDNN):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    was_enabled = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was_enabled)


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each on normalised input and added to what came in.

    Dropout is on the residual branches: dropout of attention weights takes the product off its fast kernel on
    CPU, so it is a choice of its own.

    Parameters
    ----------
    width : int
        Numbers per position, D.
    heads : int
        Attention heads.
    feed_forward : int
        Width of the feed-forward layer in multiples of D.
    dropout, inner_dropout : float
        Share of each residual branch that is dropped while training, and of attention weights and what lies
        within the feed-forward layer.
    branch_scale : float
        How large the last weights of each residual branch start; with 0, a block starts by changing nothing.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int = 4,
        dropout: float = 0.0,
        inner_dropout: float = 0.0,
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feed_forward * width)
        self.contract = nn.Linear(feed_forward * width, width)
        # A module for each use, so that a fault is laid to the right one.
        self.weights_dropout = Dropout(inner_dropout)
        self.attention_dropout = Dropout(dropout)
        self.wide_dropout = Dropout(inner_dropout)
        self.feed_forward_dropout = Dropout(dropout)
        init_linear(self.qkv)
        init_linear(self.attention_out, branch_scale)
        init_linear(self.expand)
        init_linear(self.contract, branch_scale)

    def forward(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N T D"]:
        """Transform every real position; padded ones come out zero."""
        x = zero_padding(x, is_real)
        x = x + self.attention_dropout(self._attend(self.attention_norm(x), is_real))
        wide = F.gelu(self.expand(self.feed_forward_norm(x)))
        x = x + self.feed_forward_dropout(self.contract(self.wide_dropout(wide)))
        return zero_padding(x, is_real)

    def _attend(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N T D"]:
        # Cut along the last axis: the gradient then flows back in one copy.
        parts = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        may_attend = None if is_real is None else attendable(is_real)[:, None, None, :]
        if self.training and self.weights_dropout.share:
            attended = self._attend_with_dropout(query, key, value, may_attend)
        else:
            attended = attend(query, key, value, may_attend)
        return self.attention_out(attended.transpose(1, 2).flatten(2))

    def _attend_with_dropout(
        self,
        query: Float[Tensor, "N H T d"],
        key: Float[Tensor, "N H T d"],
        value: Float[Tensor, "N H T d"],
        may_attend: Bool[Tensor, "N 1 1 T"] | None,
    ) -> Float[Tensor, "N H T d"]:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if may_attend is not None:
            scores = scores.masked_fill(~may_attend, -torch.inf)
        weights = scores.softmax(dim=-1).to(value.dtype)
        return self.weights_dropout(weights) @ value


class Transformer(nn.Module):
    """A stack of blocks and a last normalisation.

    Parameters
    ----------
    config : ModelConfig
        Its width, heads, feed-forward and dropout.
    layers : int
        Number of blocks; a stack of none hands its input through.
    branch_scale : float
        As for `Block`.
    """

    def __init__(self, config: ModelConfig, layers: int, branch_scale: float = 1.0) -> None:
        super().__init__()
        shape = (
            config.width,
            config.attention_heads,
            config.feed_forward,
            config.dropout,
            config.inner_dropout,
        )
        self.blocks = nn.ModuleList(Block(*shape, branch_scale) for _ in range(layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-6) if layers else nn.Identity()

    def forward(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N T D"]:
        """Transform every real position; padded ones come out zero."""
        for block in self.blocks:
            x = block(x, is_real)
        return zero_padding(self.norm(x), is_real)


def init_linear(layer: nn.Linear, scale: float = 1.0) -> None:
    """Draw weights that keep the spread of normalised input, times a scale; no bias."""
    nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
    with torch.no_grad():
        layer.weight.mul_(scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precision, in which exponentials and sums lose too much."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class AttentionPooling(nn.Module):
    """A weighted mean over real positions, weighted by a softmax of one learned query, then normalised.

    Before the normalisation a learned centre is subtracted. Means over many positions are all nearly alike:
    centred on the mean of a first batch, the normalisation widens what tells them apart.

    Parameters
    ----------
    width : int
        Numbers per position, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1, bias=False)
        self.centre = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        init_linear(self.query)

    def forward(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Pool each sequence; one that is all padding pools zeros, evenly, and is finite."""
        return self.norm(self.mean(x, is_real) - self.centre)

    def mean(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Weigh the positions of each sequence and add them up, no more."""
        x = zero_padding(x, is_real)
        scores = at_least_float32(self.query(x)[..., 0]) / x.shape[-1] ** 0.5
        if is_real is not None:
            scores = scores.masked_fill(~attendable(is_real), -torch.inf)
        weights = scores.softmax(dim=1)
        return (weights[:, None, :] @ x.to(weights.dtype))[:, 0]
