"""Pre-norm transformer blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention with biased queries, keys and values."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N, C)."""
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.num_heads, width // self.num_heads)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.projection(mixed.transpose(1, 2).reshape(batch, count, width))


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

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N, C)."""
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
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
