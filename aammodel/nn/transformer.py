"""Transformer blocks on whose output padding has no effect.

The blocks are those of Vaswani et al., "Attention is all you need" (NeurIPS 2017), with the norm before each
layer (Xiong et al., "On layer normalization in the transformer architecture", ICML 2020).

Shape letters: N sequences (ASVs, or samples), T positions (of bases, or ASV slots), D model width, H
attention heads, d width of a head. `is_real` is True for data and False for padding. If there is no padding,
it is None, which saves the mask.

`nn.TransformerEncoder` is not used. In torch 2.13, in evaluation without gradients, it returns NaN for a
sequence that is all padding.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel

from aammodel.config.model import ModelConfig
from aammodel.nn.dropout import Dropout

# All kernels but cuDNN's: see `attend`.
_KERNELS_BUT_CUDNN = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def zero_padding(x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None) -> Float[Tensor, "N T D"]:
    """Set padded positions to zero, whatever they contain."""
    # A product with the mask would keep NaN, since 0 * NaN is NaN.
    return x if is_real is None else torch.where(is_real[..., None], x, 0.0)


def attendable(is_real: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T"]:
    """Return which positions may be attended to: the real ones, or all in a sequence that is all padding.

    A softmax over no position would be NaN. Padded values are zero, so attending to them is harmless.
    """
    return is_real | ~is_real.any(dim=1, keepdim=True)


def attend(
    query: Float[Tensor, "N H T d"],
    key: Float[Tensor, "N H T d"],
    value: Float[Tensor, "N H T d"],
    may_attend: Bool[Tensor, "N 1 1 T"] | None,
) -> Float[Tensor, "N H T d"]:
    """Compute scaled dot-product attention. On a GPU, cuDNN's kernel is not used.

    With a mask, cuDNN's kernel returns NaN gradients at some lengths on H100 and H200 (pytorch issue 196678).
    Torch chooses the kernel in the forward pass, and uses it in the backward pass, too. The switch is global,
    so it is changed for this call only.

    Parameters
    ----------
    query, key, value : Tensor, shape (N, H, T, d)
    may_attend : Tensor of bool, shape (N, 1, 1, T), or None
        False where a position is padding. None if no position is.
    """
    if not query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    # The compiler can trace this context manager, but not the functions below.
    if torch.compiler.is_compiling():
        with sdpa_kernel(_KERNELS_BUT_CUDNN):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    was_enabled = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=may_attend)
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was_enabled)


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each a residual branch on normalized input.

    Parameters
    ----------
    width : int
        Number of features of a position, D.
    heads : int
        Number of attention heads.
    feed_forward : int
        Width of the feed-forward layer, as a multiple of D.
    dropout : float
        Fraction of each residual branch that is dropped during training.
    inner_dropout : float
        Fraction of attention weights and of feed-forward units that is dropped during training. It is a
        setting of its own, because attention with dropout cannot use its fast kernel on a CPU.
    branch_scale : float
        Scale of the initial weights of the last layer of each residual branch. With 0, a new block returns
        its input.
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
        # One module for each use, so that diagnostics can name the one in which a value became non-finite.
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
        """Transform the real positions. Padded positions are zero in the output."""
        x = zero_padding(x, is_real)
        x = x + self.attention_dropout(self._attend(self.attention_norm(x), is_real))
        wide = F.gelu(self.expand(self.feed_forward_norm(x)))
        x = x + self.feed_forward_dropout(self.contract(self.wide_dropout(wide)))
        return zero_padding(x, is_real)

    def _attend(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None
    ) -> Float[Tensor, "N T D"]:
        # Split along the last axis: the backward pass then needs a single copy.
        parts = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        may_attend = None if is_real is None else attendable(is_real)[:, None, None, :]
        if self.training and self.weights_dropout.fraction:
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
        # Torch's function would draw dropout by itself, slowly, and not from the seed of the chunk.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if may_attend is not None:
            scores = scores.masked_fill(~may_attend, -torch.inf)
        weights = scores.softmax(dim=-1).to(value.dtype)
        return self.weights_dropout(weights) @ value


class Transformer(nn.Module):
    """A stack of blocks, and a final norm.

    Parameters
    ----------
    config : ModelConfig
        Its width, attention heads, feed-forward width and dropout are used.
    layers : int
        Number of blocks. With 0, the transformer returns its input, with padding set to zero.
    branch_scale : float
        As in `Block`.
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
        # 1e-6 is the value of published checkpoints.
        self.norm = nn.LayerNorm(config.width, eps=1e-6) if layers else nn.Identity()

    def forward(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N T D"]:
        """Transform the real positions. Padded positions are zero in the output."""
        for block in self.blocks:
            x = block(x, is_real)
        return zero_padding(self.norm(x), is_real)


def init_linear(layer: nn.Linear, scale: float = 1.0) -> None:
    """Draw weights with which the output is as spread as normalized input, times a scale. The bias is 0.

    The standard deviation is fan_in ** -0.5 (LeCun et al., "Efficient backprop", 1998).

    Parameters
    ----------
    layer : Linear
    scale : float
        Factor on the weights. With 0, the layer returns 0 at first.
    """
    # The bounds of trunc_normal_ are -2 and 2, not multiples of the standard deviation. They rarely matter.
    nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
    with torch.no_grad():
        layer.weight.mul_(scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32, since exponentials and sums would lose too many digits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class AttentionPooling(nn.Module):
    """Pool sequences by attention: a mean over real positions, weighted by a softmax of one learned query.

    The mean is centered and normalized. Means over many positions are all nearly alike. Once they are
    centered on the mean of a first batch, the norm amplifies their differences.

    Parameters
    ----------
    width : int
        Number of features of a position, D.
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
        """Pool each sequence. The result is finite for a sequence that is all padding, too."""
        return self.norm(self.mean(x, is_real) - self.centre)

    def mean(
        self, x: Float[Tensor, "N T D"], is_real: Bool[Tensor, "N T"] | None = None
    ) -> Float[Tensor, "N D"]:
        """Return the weighted mean of each sequence, neither centered nor normalized."""
        x = zero_padding(x, is_real)
        scores = at_least_float32(self.query(x)[..., 0]) / x.shape[-1] ** 0.5
        if is_real is not None:
            scores = scores.masked_fill(~attendable(is_real), -torch.inf)
        weights = scores.softmax(dim=1)
        return (weights[:, None, :] @ x.to(weights.dtype))[:, 0]
