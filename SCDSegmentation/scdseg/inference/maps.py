"""What the token trace of all windows says about the volume: importance and survival on the token grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scdseg.networks.scd_unetr import TokenTrace


def token_importance(trace: TokenTrace) -> Tensor:
    """Importance (B, *grid) in [0, 1] of every token of the windows: (s − 1 + r) / S.

    s is the last of the S stages that scored the token, r in [0, 1] its rank among the tokens scored there (equal
    scores share their mean rank; a token alone has rank 1). Scores are trained only through their order, so this is
    what can be compared between stages and windows.
    """
    stages = len(trace.scores)
    stage = trace.stage.flatten(1).clamp(max=stages)
    importance = torch.zeros(stage.shape)
    for number, scores in enumerate(trace.scores, start=1):
        last_scored = stage.cpu() == number
        importance[last_scored] = ((number - 1 + _rank(scores.float().cpu())) / stages)[last_scored]
    return importance.reshape(trace.stage.shape)


def token_survival(trace: TokenTrace) -> Tensor:
    """Share (B, *grid) in [0, 1] of the pruning stages that every token of the windows survived."""
    return (trace.stage.cpu().float() - 1) / len(trace.scores)


def _rank(scores: Tensor) -> Tensor:
    """Rank in [0, 1] of scores (B, L) among those of their row that are numbers."""
    # As +inf the tokens pruned before are sorted behind all others and do not disturb their ranks.
    scores = scores.nan_to_num(nan=torch.inf, neginf=torch.finfo(scores.dtype).min)
    ordered = scores.sort(dim=1).values
    below = torch.searchsorted(ordered, scores)
    not_above = torch.searchsorted(ordered, scores, right=True)
    count = scores.isfinite().sum(dim=1, keepdim=True)
    rank = (below + not_above - 1) / 2 / (count - 1).clamp(min=1)
    return torch.where(count == 1, 1.0, rank)


class TokenMap:
    """Plain mean of the windows' values on the token grid of the whole volume.

    Args:
        shape: of the volume in voxels, divisible by the patch.
        patch: edge in voxels.
    """

    def __init__(self, shape: Sequence[int], patch: int) -> None:
        self.patch = patch
        self._sum = torch.zeros([n // patch for n in shape])
        self._count = torch.zeros_like(self._sum)

    def add(self, start: Sequence[int], values: Tensor) -> None:
        """Add the token values (*grid) of the window that begins at voxel ``start``."""
        here = tuple(slice(s // self.patch, s // self.patch + n) for s, n in zip(start, values.shape, strict=True))
        self._sum[here] += values
        self._count[here] += 1

    def mean(self) -> np.ndarray:
        """Mean (X / patch, Y / patch, Z / patch) float32 over the windows that saw each token."""
        return (self._sum / self._count).numpy()


def token_affine(affine: np.ndarray, patch: int) -> np.ndarray:
    """Affine (4, 4) of the token grid over voxels with the given affine: it begins at the first patch's centre."""
    return affine @ np.array(
        [[patch, 0, 0, (patch - 1) / 2], [0, patch, 0, (patch - 1) / 2], [0, 0, patch, (patch - 1) / 2], [0, 0, 0, 1]]
    )
