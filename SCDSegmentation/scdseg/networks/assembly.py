"""Token completion: multi-layer token assembly (MTA), section 3.2 of the paper, and mask tokens to compare it with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from scdseg.networks.encoder import SparseEncoding
from scdseg.networks.positions import sine_cosine_positions
from scdseg.networks.transformer import transformer_blocks


class TokenCompletion(nn.Module, ABC):
    """Fill the token map, add fixed positions, and let a few blocks make one coherent map of it.

    The two kinds differ in how they fill the map. Both are called with

    Args:
        grid: token grid of the window.
        hidden_size: token width C.
        assembly_size: width E of the completion, divisible by 6.
        num_layers: transformer blocks.
        num_heads: attention heads.
        groups: token groups that the encoder gives: pruning stages + 1.
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
        self.prepare(hidden_size, assembly_size, groups)
        self.register_buffer("positions", torch.empty(1, math.prod(grid) + 1, assembly_size), persistent=False)
        self._grid = grid
        if assembly_size % 6:
            raise ValueError(f"3-D sine-cosine positions need a width divisible by 6, not {assembly_size}")
        if not self.positions.is_meta:
            self.fill_positions()
        self.blocks = transformer_blocks(num_layers, assembly_size, num_heads, 4 * assembly_size, 0.0)
        self.norm = nn.LayerNorm(assembly_size, eps=1e-6)
        self.output = nn.Linear(assembly_size, hidden_size)

    def fill_positions(self) -> None:
        """Work out the fixed positions; for a network that was made without memory, once its weights are there."""
        self.positions = sine_cosine_positions(self._grid, self.positions.shape[2])

    @abstractmethod
    def prepare(self, hidden_size: int, assembly_size: int, groups: int) -> None:
        """Make the layers that :meth:`fill` needs."""

    @abstractmethod
    def fill(self, encoding: SparseEncoding) -> Tensor:
        """Something at every position: (B, L + 1, E), CLS first."""

    def forward(self, encoding: SparseEncoding) -> Tensor:
        """All token groups → completed tokens (B, L, C) in row-major order, without CLS."""
        x = self.fill(encoding) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))[:, 1:]


class TokenAssembly(TokenCompletion):
    """MTA: the tokens of all stages go back to their places, each stage's projected and marked in a way of its own."""

    def prepare(self, hidden_size: int, assembly_size: int, groups: int) -> None:
        """A projection and a layer token for each group."""
        self.projections = nn.ModuleList(nn.Linear(hidden_size, assembly_size) for _ in range(groups))
        self.layer_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, assembly_size)) for _ in range(groups))
        for token in self.layer_tokens:
            # Truncated like the other learned tokens, and unlike ``normal_`` without importing PyTorch's compiler where
            # there is no memory behind it.
            nn.init.trunc_normal_(token, std=0.02)

    def fill(self, encoding: SparseEncoding) -> Tensor:
        """Every token at its place: (B, L + 1, E), CLS first."""
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
        return torch.zeros_like(projected).scatter(1, index, projected)


class MaskTokens(TokenCompletion):
    """The tokens kept to the end go back to their places, one learned token stands at all others, as in masked
    autoencoders (He et al., 2022): what the pruned tokens knew is lost.
    """

    def prepare(self, hidden_size: int, assembly_size: int, groups: int) -> None:
        """One projection, for the last group, and the mask token."""
        self.projection = nn.Linear(hidden_size, assembly_size)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, assembly_size))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def fill(self, encoding: SparseEncoding) -> Tensor:
        """Kept tokens at their places, the mask token elsewhere: (B, L + 1, E), CLS first."""
        kept = self.projection(encoding.groups[-1])
        masked = self.mask_token.to(kept.dtype).expand(kept.shape[0], self.positions.shape[1], -1)
        return masked.scatter(1, encoding.positions[-1].unsqueeze(-1).expand_as(kept), kept)


COMPLETIONS: dict[str, type[TokenCompletion]] = {"mta": TokenAssembly, "mask_tokens": MaskTokens}
