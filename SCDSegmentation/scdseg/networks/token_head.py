"""Logits straight from the completed tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CELL = 2


class TokenHead(nn.Module):
    """Read the labels inside a patch off its completed token by one linear layer, at half the image's resolution.

    Not in the paper. The decoder has to carry what a token knows through ever fewer channels to the image's resolution;
    with many labels it learns that late. Added to the decoder's logits, these let small structures appear early, and
    supervised on their own they train the encoder without the decoder.

    Args:
        hidden_size: token width C.
        out_channels: channels of the logits.
        grid: token grid of the window.
        patch_size: edge of a patch in voxels.
    """

    def __init__(self, hidden_size: int, out_channels: int, grid: tuple[int, int, int], patch_size: int) -> None:
        super().__init__()
        self.grid = grid
        self.cells = patch_size // CELL
        self.linear = nn.Linear(hidden_size, out_channels * self.cells**3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Completed tokens (B, L, C) → logits (B, out_channels, *grid · patch_size / 2)."""
        n = self.cells
        cells = self.linear(tokens).unflatten(-1, (n, n, n, -1)).unflatten(1, self.grid)
        cells = cells.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return cells.flatten(6, 7).flatten(4, 5).flatten(2, 3)


def double(logits: Tensor) -> Tensor:
    """Twice the resolution by linear interpolation: (B, K, X, Y, Z) → (B, K, 2X, 2Y, 2Z).

    The same as PyTorch's trilinear interpolation, which not every device has in three dimensions.
    """
    for axis in (2, 3, 4):
        count = logits.shape[axis]
        first, last = logits.narrow(axis, 0, 1), logits.narrow(axis, count - 1, 1)
        before = torch.cat((first, logits.narrow(axis, 0, count - 1)), dim=axis)
        after = torch.cat((logits.narrow(axis, 1, count - 1), last), dim=axis)
        pair = (0.75 * logits + 0.25 * before, 0.75 * logits + 0.25 * after)
        logits = torch.stack(pair, dim=axis + 1).flatten(axis, axis + 1)
    return logits
