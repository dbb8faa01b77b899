"""Pre-norm transformer blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention with biased queries, keys and values."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor, cls_attention: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """(B, N, C) → (B, N, C); with ``cls_attention`` also what :func:`cls_log_attention` says of these tokens."""
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.num_heads, width // self.num_heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        if x.device.type == "cpu":
            # Fused attention takes a seventh longer there where a head's tokens do not lie side by side.
            qkv = qkv.contiguous()
        queries, keys, values = qkv.unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        output: Tensor = self.projection(mixed.transpose(1, 2).reshape(batch, count, width))
        return (output, cls_log_attention(queries, keys)) if cls_attention else output


@torch.no_grad()
def cls_log_attention(queries: Tensor, keys: Tensor) -> Tensor:
    """Logarithm of the attention that the first token (CLS) pays to each of the others, averaged over the heads.

    Fused attention does not tell its weights, and this takes one row of them. In at least single precision and without
    gradient: it is there to order tokens.

    Args:
        queries: (B, heads, N, C / heads).
        keys: (B, heads, N, C / heads).

    Returns:
        (B, N - 1).
    """
    with torch.autocast(queries.device.type, enabled=False):
        dtype = torch.promote_types(queries.dtype, torch.float32)
        heads, width = queries.shape[1], queries.shape[3]
        row = queries[:, :, :1].to(dtype) @ keys.to(dtype).transpose(-2, -1) / math.sqrt(width)
        # Summing logarithms keeps tokens apart whose attention is too small for a floating-point number.
        return row.log_softmax(dim=-1).logsumexp(dim=1)[:, 0, 1:] - math.log(heads)


class StochasticDepth(nn.Module):
    """Drop a whole residual branch of a sample with probability ``rate`` while training (Huang et al., 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep).div_(keep)


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))`` with a GELU MLP.

    Args:
        width: token width C.
        num_heads: attention heads, a divisor of C.
        mlp_dim: hidden width of the MLP.
        drop_path_rate: probability of dropping a branch (stochastic depth).
    """

    def __init__(self, width: int, num_heads: int, mlp_dim: int, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, num_heads)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, width))
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, x: Tensor, cls_attention: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """(B, N, C) → (B, N, C); with ``cls_attention`` also (B, N - 1) what :func:`cls_log_attention` says."""
        if not cls_attention:
            return self._add_mlp(x + self.drop_path(self.attention(self.attention_norm(x))))
        mixed, log_attention = self.attention(self.attention_norm(x), cls_attention=True)
        return self._add_mlp(x + self.drop_path(mixed)), log_attention

    def _add_mlp(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


def transformer_blocks(depth: int, width: int, num_heads: int, mlp_dim: int, drop_path_rate: float) -> nn.ModuleList:
    """``depth`` blocks whose stochastic depth rises linearly from 0 to ``drop_path_rate``."""
    rates = [drop_path_rate * index / max(1, depth - 1) for index in range(depth)]
    return nn.ModuleList(TransformerBlock(width, num_heads, mlp_dim, rate) for rate in rates)


def init_transformer_weights(module: nn.Module) -> None:
    """Xavier-uniform linear layers with zero bias, as vision transformers are usually started."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
