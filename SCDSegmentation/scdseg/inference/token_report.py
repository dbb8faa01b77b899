"""What a report says about tokens: how many each stage kept, and how those of every structure fared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scdseg.bundle import Label

# Voxels that are looked at in one go: a few arrays of eight bytes each, small enough to stay in the processor's cache.
_VOXELS = 2**20


def token_report(
    labels: np.ndarray,
    affine: np.ndarray,
    importance: np.ndarray,
    stage: np.ndarray,
    token_affine: np.ndarray,
    known: Sequence[Label],
    prune_after: Sequence[int],
) -> dict[str, Any]:
    """Counts of the tokens of a volume, and what became of those that each label lies in.

    Args:
        labels: (X, Y, Z) uint8 label values on the input's grid.
        affine: (4, 4) of the labels.
        importance: (X', Y', Z') on the token grid.
        stage: (X', Y', Z') uint8 at which a token was pruned, S + 1 if it was kept to the end.
        token_affine: (4, 4) of the token grid.
        known: labels of the model.
        prune_after: numbers of the S blocks behind which tokens are pruned.

    Returns:
        ``count``; ``stages``: for each, ``after_block``, and tokens that came ``in``, were ``kept`` and ``pruned``;
        ``labels``: for each label found, the tokens that hold at least one of its voxels, the mean ``importance`` over
        its voxels, and the share of its tokens ``kept`` by each stage; ``outside``: the same of the tokens without a
        labelled voxel, its importance the mean over tokens, all 0 if there are none. A voxel outside the token grid
        counts for the nearest token.
    """
    values = [label.value for label in known]
    voxels = _voxels_of_tokens(labels, values, np.linalg.inv(token_affine) @ affine, stage.shape)
    reached, importances = stage.ravel(), importance.ravel().astype(np.float64)
    stages = range(1, len(prune_after) + 1)
    rows = []
    for label, held in zip(known, voxels, strict=True):
        if held.any():
            mean = float(held @ importances) / float(held.sum())
            rows.append({"value": label.value, "name": label.name, **_fate(reached[held > 0], mean, stages)})
    outside = ~voxels.any(axis=0)
    mean = float(importances[outside].mean()) if outside.any() else 0.0
    return {
        "count": int(reached.size),
        "stages": [
            {
                "after_block": block,
                "in": int((reached >= number).sum()),
                "kept": int((reached > number).sum()),
                "pruned": int((reached == number).sum()),
            }
            for number, block in zip(stages, prune_after, strict=True)
        ],
        "labels": rows,
        "outside": _fate(reached[outside], mean, stages),
    }


def _fate(reached: np.ndarray, importance: float, stages: Sequence[int]) -> dict[str, Any]:
    """What became of tokens that reached these stages."""
    kept = [float((reached > number).mean()) if reached.size else 0.0 for number in stages]
    return {
        "tokens": int(reached.size),
        "importance": round(importance, 4),
        "kept": [round(share, 4) for share in kept],
    }


def _voxels_of_tokens(
    labels: np.ndarray, values: Sequence[int], to_token: np.ndarray, grid: Sequence[int]
) -> np.ndarray:
    """How many voxels of every label lie in every token: (labels, tokens) int64.

    Args:
        labels: (X, Y, Z) uint8.
        values: of the labels to count.
        to_token: (4, 4), voxel index → position on the token grid.
        grid: (3,) tokens.
    """
    width = len(values) + 1
    column = np.full(256, len(values), dtype=np.int64)  # what is not counted goes into a column of its own
    column[list(values)] = np.arange(len(values))
    counts = np.zeros(int(np.prod(grid)) * width, dtype=np.int64)
    rows = max(1, _VOXELS // labels[0].size)
    strides = (grid[1] * grid[2] * width, grid[2] * width, width)
    for first in range(0, len(labels), rows):
        part = labels[first : first + rows]
        index = column[part]
        axes = np.ogrid[first : first + len(part), : part.shape[1], : part.shape[2]]
        for row, size, stride in zip(to_token, grid, strides, strict=False):
            # An axis that does not count is left out, so that aligned grids are broadcast from three short lists. What
            # rounding leaves of an oblique grid is far less than a voxel.
            steps = (row[axis] * axes[axis] for axis in range(3) if abs(row[axis]) > 1e-9)
            # Counted from the outer face of the first token. The border of two tokens belongs to the second, whatever
            # rounding makes of it.
            position = sum(steps, row[3] + 0.5 + 1e-6)
            index += stride * np.clip(position, 0, size - 0.5).astype(np.int64)
        # The rows of a part lie in few tokens, which are side by side in memory.
        lowest = index.min()
        found = np.bincount((index - lowest).ravel())
        counts[lowest : lowest + len(found)] += found
    return counts.reshape(-1, width)[:, :-1].T
