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


def add_doubled(logits: Tensor, cells: Tensor) -> Tensor:
    """Logits plus cells at twice their resolution, interpolated linearly as PyTorch's trilinear interpolation does it.

    One matrix product an axis, each on the memory as it lies, and the last of them adds: a quarter of the time of
    PyTorch's on a CPU, and there on every device.

    Args:
        logits: (B, K, 2X, 2Y, 2Z).
        cells: (B, K, X, Y, Z).
    """
    batch, channels, x, y, z = cells.shape
    along_x, along_y, along_z = (_doubling(count).to(cells) for count in (x, y, z))
    lines = cells.reshape(-1, z) @ along_z
    planes = torch.bmm(along_y.T.expand(batch * channels * x, -1, -1), lines.view(-1, y, 2 * z))
    volumes = logits.reshape(batch * channels, 2 * x, -1)
    return torch.baddbmm(volumes, along_x.T.expand(batch * channels, -1, -1), planes.view(-1, x, 4 * y * z)).view_as(
        logits
    )


def _doubling(count: int) -> Tensor:
    """(count, 2 · count) weights: each new cell takes 3/4 of the cell that it lies in and 1/4 of the nearest other."""
    index = torch.arange(count)
    weights = torch.zeros(count, 2 * count)
    for side, step in ((0, -1), (1, 1)):
        weights[index, 2 * index + side] += 0.75
        weights[(index + step).clamp(0, count - 1), 2 * index + side] += 0.25
    return weights
