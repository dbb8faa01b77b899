"""What the token traces of all windows say about the volume: importance, survival, stages and scores of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scdseg.errors import DeviceError

if TYPE_CHECKING:
    from scdseg.networks.scd_unetr import TokenTrace


def token_scores(trace: TokenTrace) -> Tensor:
    """Scores (B, S, *grid) in [0, 1]: the rank at each stage among the tokens of the window that were scored there.

    0 is the lowest score, 1 the highest; equal scores share their mean rank, and a token alone has rank 1. NaN where
    the token had been pruned before. The network's own scores have no scale that windows or stages share, so ranks are
    all that can be compared.
    """
    ranks = [_rank(scores.float().cpu()) for scores in trace.scores]
    return torch.stack(ranks, dim=1).unflatten(2, trace.stage.shape[1:])


def token_importance(stage: Tensor, scores: Tensor) -> Tensor:
    """Importance (B, *grid) in [0, 1] of every token of the windows: (s − 1 + r) / S.

    s is the last of the S stages that scored the token, r its score there. A token that survived longer is always more
    important, so this is what can be compared between stages and windows.

    Args:
        stage: (B, *grid), 1…S pruned at that stage, S + 1 kept to the end.
        scores: (B, S, *grid), from :func:`token_scores`.
    """
    stages = scores.shape[1]
    last = stage.long().clamp(max=stages).unsqueeze(1)
    return ((last - 1 + scores.gather(1, last - 1)) / stages).squeeze(1)


def _rank(scores: Tensor) -> Tensor:
    """Rank in [0, 1] of scores (B, L) among the numbers of their row; NaN stays NaN."""
    # As +inf the tokens pruned before are sorted behind all others and do not disturb their ranks.
    sortable = scores.nan_to_num(nan=torch.inf, neginf=torch.finfo(scores.dtype).min)
    ordered = sortable.sort(dim=1).values
    below = torch.searchsorted(ordered, sortable)
    not_above = torch.searchsorted(ordered, sortable, right=True)
    count = sortable.isfinite().sum(dim=1, keepdim=True)
    rank = torch.where(count == 1, 1.0, (below + not_above - 1) / 2 / (count - 1).clamp(min=1))
    return rank.masked_fill(scores.isnan(), torch.nan)


class TokenMap:
    """Mean of the windows' values on the token grid of the whole volume.

    Args:
        shape: of the volume in voxels, divisible by the patch.
        patch: edge in voxels.
        channels: values a token.
    """

    def __init__(self, shape: Sequence[int], patch: int, channels: int) -> None:
        self.patch = patch
        self._sum = torch.zeros([channels, *(n // patch for n in shape)])
        self._count = torch.zeros_like(self._sum)

    def add(self, start: Sequence[int], values: Tensor) -> None:
        """Add the token values (channels, *grid) of the window that begins at voxel ``start``; NaN is no value."""
        here = tuple(slice(s // self.patch, s // self.patch + n) for s, n in zip(start, values.shape[1:], strict=True))
        self._sum[(slice(None), *here)] += values.nan_to_num(nan=0.0)
        self._count[(slice(None), *here)] += ~values.isnan()

    def mean(self) -> np.ndarray:
        """Mean (channels, X / patch, Y / patch, Z / patch) float32 over the windows that have a value for the token.

        NaN where no window has one.
        """
        return (self._sum / self._count).numpy()


class TokenMaps:
    """Everything that the traces of all windows say about the tokens of a volume.

    Args:
        shape: of the volume in voxels, divisible by the patch.
        patch: edge in voxels.
        stages: pruning stages S of the network.
    """

    def __init__(self, shape: Sequence[int], patch: int, stages: int) -> None:
        self._stages = stages
        self._map = TokenMap(shape, patch, 1 + 2 * stages)  # importance, whether kept by stage, score by stage

    def add(self, starts: Sequence[Sequence[int]], trace: TokenTrace) -> None:
        """Add the traces of the windows that begin at these voxels.

        Raises:
            DeviceError: the network computed scores that are not numbers.
        """
        stage, scores = trace.stage.cpu(), token_scores(trace)
        importance = token_importance(stage, scores)
        if importance.isnan().any():
            raise DeviceError(
                f"the network's scores are not numbers on {trace.stage.device}: use another device or precision, "
                "or get the model again"
            )
        kept = torch.stack([(stage > number).float() for number in range(1, self._stages + 1)], dim=1)
        for start, values in zip(starts, torch.cat((importance.unsqueeze(1), kept, scores), dim=1), strict=True):
            self._map.add(start, values)

    def importance(self) -> np.ndarray:
        """Mean importance (X', Y', Z') float32 in [0, 1] over the windows that saw each token; 0 if none did."""
        return np.nan_to_num(self._map.mean()[0])

    def survival(self) -> np.ndarray:
        """Share (X', Y', Z') float32 in [0, 1] of the stages that each token survived, averaged over its windows."""
        return self._kept().mean(axis=0)

    def stage(self) -> np.ndarray:
        """Stage (X', Y', Z') uint8 at which each token was pruned, S + 1 if it was kept to the end.

        Where windows differ, a token counts as kept at a stage if at least half of the windows that saw it kept it.
        """
        return (1 + (self._kept() >= 0.5).sum(axis=0)).astype(np.uint8)

    def scores(self) -> np.ndarray:
        """Scores (X', Y', Z', S) float32 in [0, 1] as :func:`token_scores` has them.

        Averaged over the windows that scored the token at the stage; NaN where none did.
        """
        return np.moveaxis(self._map.mean()[1 + self._stages :], 0, -1)

    def _kept(self) -> np.ndarray:
        """Share (S, X', Y', Z') in [0, 1] of the windows that kept each token, by stage; 0 where none saw it."""
        return np.nan_to_num(self._map.mean()[1 : 1 + self._stages])


def token_affine(affine: np.ndarray, patch: int) -> np.ndarray:
    """Affine (4, 4) of the token grid over voxels with the given affine: it begins at the first patch's centre."""
    return affine @ np.array(
        [[patch, 0, 0, (patch - 1) / 2], [0, patch, 0, (patch - 1) / 2], [0, 0, patch, (patch - 1) / 2], [0, 0, 0, 1]]
    )
