"""From blended logits on the network's grid to labels on the input's."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from torch import Tensor

from scdseg.inference.windows import Rows

if TYPE_CHECKING:
    from scdseg.bundle import Label

# Resampled logits of one chunk, in bytes; large enough that the work per chunk outweighs its overhead.
CHUNK_BYTES = 64 * 2**20


class LabelRestorer:
    """Labels on the input grid, filled band by band as logits are finished.

    Logits are interpolated linearly and decided on the input grid, which keeps borders smoother than resampling labels.

    Args:
        shape: (3,) of the input in voxels.
        affine: (4, 4) of the input.
        grid_shape: (3,) of the network's grid in voxels.
        grid_affine: (4, 4) of the network's grid.
        labels: with their channels; in painting order for sigmoid models.
        activation: ``"softmax"`` or ``"sigmoid"``.
        classes: channels of the logits.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        affine: np.ndarray,
        grid_shape: tuple[int, int, int],
        grid_affine: np.ndarray,
        labels: tuple[Label, ...],
        activation: str,
        classes: int,
    ) -> None:
        self.array = np.zeros(shape, dtype=np.uint8)
        self._affine = affine
        self._grid_shape = grid_shape
        self._grid_affine = grid_affine
        self._labels = labels
        self._sigmoid = activation == "sigmoid"
        self._value_of_channel = torch.zeros(classes, dtype=torch.uint8)
        for label in labels:
            self._value_of_channel[label.channel] = label.value
        self._to_grid = np.linalg.inv(grid_affine) @ affine

    def add(self, rows: Rows) -> None:
        """Label the input voxels that lie between the first and the last row of a band."""
        # Nothing is seen more than a voxel outside the grid; on an inner border, a voxel belongs to the band before.
        low = rows.first if rows.first > 0 else -1.0
        high = self._grid_shape[0] if rows.last else rows.first + rows.logits.shape[1] - 1.0
        begin, end = self._box(low, high)
        if (end <= begin).any():
            return
        axis = int(np.argmax(end - begin))
        across = int(np.prod(np.delete(end - begin, axis)))
        step = max(1, CHUNK_BYTES // (4 * len(rows.logits) * across))
        for position in range(begin[axis], end[axis], step):
            chunk_begin, chunk_end = begin.copy(), end.copy()
            chunk_begin[axis], chunk_end[axis] = position, min(position + step, end[axis])
            self._add_chunk(rows, low, high, chunk_begin, chunk_end)

    def _box(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Range of input indices (begin, end) that holds all voxels of the band between two row positions."""
        corners = product((low, high), *((-1, n) for n in self._grid_shape[1:]), (1,))
        indices = (np.array(list(corners)) @ np.linalg.inv(self._to_grid).T)[:, :3]
        begin = np.clip(np.floor(indices.min(axis=0)), 0, None).astype(int)
        end = np.clip(np.ceil(indices.max(axis=0)) + 1, None, self.array.shape).astype(int)
        return begin, end

    def _add_chunk(self, rows: Rows, low: float, high: float, begin: np.ndarray, end: np.ndarray) -> None:
        inside = self._inside(low, high, begin, end)
        if not inside.any():
            return
        affine = torch.from_numpy(_shifted(self._affine, begin))
        resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32)
        logits = resample(self._source(rows, begin, end), dst_affine=affine, spatial_size=tuple((end - begin).tolist()))
        labels = self._decide(logits.as_tensor()).cpu().numpy()
        x, y, z = (slice(b, e) for b, e in zip(begin, end, strict=True))
        self.array[x, y, z][inside] = labels[inside]

    def _source(self, rows: Rows, begin: np.ndarray, end: np.ndarray) -> MetaTensor:
        """The part of a band that a box of the input is interpolated from: MONAI copies what it resamples."""
        corners = np.array([(*corner, 1) for corner in product(*zip(begin, end - 1, strict=True))])
        indices = (corners @ self._to_grid.T)[:, :3] - np.array([rows.first, 0, 0])
        least = np.clip(np.floor(indices.min(axis=0)) - 1, 0, np.array(rows.logits.shape[1:]) - 1).astype(int)
        most = np.clip(np.ceil(indices.max(axis=0)) + 2, least + 1, rows.logits.shape[1:]).astype(int)
        x, y, z = (slice(b, e) for b, e in zip(least, most, strict=True))
        affine = _shifted(self._grid_affine, least + np.array([rows.first, 0, 0]))
        return MetaTensor(rows.logits[:, x, y, z], affine=torch.from_numpy(affine))

    def _decide(self, logits: Tensor) -> Tensor:
        """Label values (X, Y, Z) uint8 of logits (classes, X, Y, Z)."""
        values = self._value_of_channel.to(logits.device)
        if not self._sigmoid:
            return values[logits.argmax(dim=0)]
        labels = torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)
        for label in self._labels:
            # A logit of 0 is a probability of 0.5.
            labels[logits[label.channel] > 0] = label.value
        return labels

    def _inside(self, low: float, high: float, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Which voxels (X, Y, Z) of a box lie in the band and within a voxel of the grid."""
        i, j, k = np.ogrid[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))]
        inside = np.ones(tuple(end - begin), dtype=bool)
        for row, (least, most) in zip(
            self._to_grid, ((low, high), *((-1, n) for n in self._grid_shape[1:])), strict=False
        ):
            # One formula for every chunk and band: rounding puts a voxel on the same side of a border each time.
            position = row[0] * i + row[1] * j + row[2] * k + row[3]
            inside &= (position > least) & (position <= most)
        return inside


def _shifted(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Affine of the part of a volume that begins at a voxel index."""
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ index
    return shifted
