"""Token completion: multi-layer token assembly (MTA), section 3.2 of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scdseg.networks.encoder import SparseEncoding
from scdseg.networks.positions import sine_cosine_positions
from scdseg.networks.transformer import transformer_blocks


class TokenAssembly(nn.Module):
    """Put the tokens of all stages back at their places and let a few blocks make one coherent full map of them.

    Args:
        grid: token grid of the window.
        hidden_size: token width C.
        assembly_size: width E of the assembly, divisible by 6.
        num_layers: transformer blocks.
        num_heads: attention heads.
        groups: token groups to assemble: pruning stages + 1.
    """

    positions: Tensor

    def __init__(
        self,
        grid: tuple[int, int, int],
        hidden_size: int,
        assembly_size: int,
        num_layers: int,
        num_heads: int,
        groups: int,
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(hidden_size, assembly_size) for _ in range(groups))
        self.layer_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, assembly_size)) for _ in range(groups))
        for token in self.layer_tokens:
            nn.init.normal_(token, std=0.02)
        self.register_buffer("positions", sine_cosine_positions(grid, assembly_size), persistent=False)
        self.blocks = transformer_blocks(num_layers, assembly_size, num_heads, 4 * assembly_size, 0.0)
        self.norm = nn.LayerNorm(assembly_size, eps=1e-6)
        self.output = nn.Linear(assembly_size, hidden_size)

    def forward(self, encoding: SparseEncoding) -> Tensor:
        """All token groups → completed tokens (B, L, C) in row-major order, without CLS."""
        projected = torch.cat(
            [
                projection(tokens) + layer_token
                for projection, layer_token, tokens in zip(
                    self.projections, self.layer_tokens, encoding.groups, strict=True
                )
            ],
            dim=1,
        )
        index = torch.cat(encoding.positions, dim=1).unsqueeze(-1).expand_as(projected)
        x = torch.zeros_like(projected).scatter(1, index, projected) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))[:, 1:]
