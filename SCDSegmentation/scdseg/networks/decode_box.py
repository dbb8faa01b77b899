"""The part of a window that is worth decoding: where the completed tokens say that there is anything."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Patches around those with labels. Convolutions of the light decoder reach a little farther, where there is nothing.
_REACH = 1
_BACKGROUND = 10.0  # logit of the background outside the box; those of all labels are 0 there


class Box(NamedTuple):
    """Patches from ``low`` up to, but without, ``high`` along each axis of the token grid."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    def crop(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """What of (B, C, X, Y, Z) lies in the box, each axis a multiple of the token grid's."""
        for axis, (low, high, count) in enumerate(zip(self.low, self.high, grid, strict=True), start=2):
            scale = x.shape[axis] // count
            x = x.narrow(axis, low * scale, (high - low) * scale)
        return x

    def paste(self, logits: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Logits of the box (B, K, x, y, z) in those of the whole window, which is background elsewhere."""
        edge = logits.shape[2] // (self.high[0] - self.low[0])
        whole = logits.new_zeros((*logits.shape[:2], *(count * edge for count in grid)))
        whole[:, 0] = _BACKGROUND
        self.crop(whole, grid).copy_(logits)
        return whole


def labelled_box(cells: Tensor, grid: tuple[int, int, int]) -> Box:
    """The smallest box with all patches that the token head gives a label to, and their neighbours.

    Args:
        cells: logits of the token head, (B, K, X, Y, Z); channel 0 is the background. The box is that of all windows.
        grid: token grid of the window.

    Returns:
        One patch in a corner, the least that can be decoded, where every patch is background.
    """
    edges = [count // patches for count, patches in zip(cells.shape[2:], grid, strict=True)]
    labelled = (cells.argmax(dim=1) > 0).any(dim=0, keepdim=True).float()
    patches = F.max_pool3d(labelled, edges)[0] > 0
    if not bool(patches.any()):
        return Box((0, 0, 0), (1, 1, 1))
    low, high = [], []
    for axis, count in enumerate(grid):
        others = [a for a in range(3) if a != axis]
        places = torch.nonzero(patches.any(dim=others[1]).any(dim=others[0])).flatten()
        low.append(max(0, int(places[0]) - _REACH))
        high.append(min(count, int(places[-1]) + 1 + _REACH))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
