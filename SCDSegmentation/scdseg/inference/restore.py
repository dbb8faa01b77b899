"""From blended logits on the network's grid to labels on the input's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scdseg.inference.windows import Rows

if TYPE_CHECKING:
    from scdseg.bundle import Label

# Interpolated logits of one chunk, in bytes; large enough that the work per chunk outweighs its overhead.
CHUNK_BYTES = 64 * 2**20

# A coordinate moves by less than this share of a voxel, from one end of a volume to the other, along an axis that it
# does not depend on.
_ROUNDING = 1e-6

# What the place of a voxel takes while it is worked out.
_BYTES_A_VOXEL = 80


class LabelRestorer:
    """Labels on the input grid, filled band by band as logits are finished.

    Logits are interpolated linearly and decided on the input grid, which keeps borders smoother than resampling labels.
    Where the eight voxels around a place have the same decision, so has everything between them, and nothing is
    interpolated: linear interpolation keeps the order that two logits have at all eight.

    Args:
        shape: (3,) of the input in voxels.
        affine: (4, 4) of the input.
        grid_shape: (3,) of the network's grid in voxels, with the axes in the order of the bands.
        grid_affine: (4, 4) of the network's grid, its columns in the same order.
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
        self._grid_shape = grid_shape
        self._labels = labels
        self._sigmoid = activation == "sigmoid"
        self._value_of_channel = torch.zeros(classes, dtype=torch.uint8)
        for label in labels:
            self._value_of_channel[label.channel] = label.value
        to_grid = np.linalg.inv(grid_affine) @ affine
        to_grid[:3, :3][np.abs(to_grid[:3, :3]) * shape < _ROUNDING] = 0
        self._to_grid = to_grid

    def add(self, rows: Rows) -> None:
        """Label the input voxels that lie between the first and the last row of a band."""
        count = rows.logits.shape[1] - 1
        step = max(1, CHUNK_BYTES // (4 * rows.logits[:, 0].numel()) - 1)
        for begin in range(0, count, step):
            end = min(begin + step, count)
            # A voxel's logits side by side: they are read together.
            logits = rows.logits[:, begin : end + 1].movedim(0, -1)
            # Converted and moved at once; without a conversion, the first of these leaves them as they lie.
            logits = logits.to(torch.float32, memory_format=torch.contiguous_format).contiguous()
            self._add(rows.first + begin, logits, rows.last and end == count)

    def _add(self, first: int, logits: Tensor, last: bool) -> None:
        """Label what lies between row ``first`` of the grid and the last of ``logits`` (rows, Y, Z, classes)."""
        # Nothing is seen more than a voxel outside the grid; on an inner border, a voxel belongs to the rows before.
        low = first if first > 0 else -1.0
        high = self._grid_shape[0] if last else first + len(logits) - 1.0
        begin, end = self._box(low, high)
        if (end <= begin).any():
            return
        cells = self._cells(logits)
        axis = int(np.argmax(end - begin))
        across = int(np.prod(np.delete(end - begin, axis)))
        step = max(1, CHUNK_BYTES // (_BYTES_A_VOXEL * across))
        for position in range(begin[axis], end[axis], step):
            chunk_begin, chunk_end = begin.copy(), end.copy()
            chunk_begin[axis], chunk_end[axis] = position, min(position + step, end[axis])
            ranges = [slice(b, e) for b, e in zip(chunk_begin, chunk_end, strict=True)]
            positions = self._positions(ranges, logits.device)
            bounds = ((low, high), *((-1, n) for n in self._grid_shape[1:]))
            x, y, z = ((p > least) & (p <= most) for p, (least, most) in zip(positions, bounds, strict=True))
            inside = x & y & z
            labels = self._label(logits, cells, [positions[0] - first, *positions[1:]], inside)
            mask = inside.cpu().numpy()
            self.array[tuple(ranges)][mask] = labels.cpu().numpy()[mask]

    def _box(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Range of input indices (begin, end) that holds all voxels between two row positions."""
        corners = product((low, high), *((-1, n) for n in self._grid_shape[1:]), (1,))
        indices = (np.array(list(corners)) @ np.linalg.inv(self._to_grid).T)[:, :3]
        begin = np.clip(np.floor(indices.min(axis=0)), 0, None).astype(int)
        end = np.clip(np.ceil(indices.max(axis=0)) + 1, None, self.array.shape).astype(int)
        return begin, end

    def _positions(self, ranges: list[slice], device: torch.device) -> list[Tensor]:
        """Three coordinates on the grid of a box of input voxels, float64, of shapes that broadcast to the box's."""
        # One formula for every chunk and band: rounding puts a voxel on the same side of a border each time.
        axes = [
            torch.arange(r.start, r.stop, dtype=torch.float64, device=device).view(
                [-1 if n == d else 1 for d in range(3)]
            )
            for n, r in enumerate(ranges)
        ]
        positions = []
        for row in self._to_grid[:3].tolist():
            # Where the axes are parallel, each coordinate depends on one of them alone.
            position = torch.full((1, 1, 1), row[3], dtype=torch.float64, device=device)
            for factor, axis in zip(row, axes, strict=False):
                position = position + factor * axis if factor else position
            positions.append(position)
        return positions

    def _cells(self, logits: Tensor) -> Tensor:
        """The label (rows - 1, Y - 1, Z - 1) int16 of all that lies between eight neighbours; -1 where they differ."""
        if self._sigmoid:
            decisions = torch.stack([logits[..., label.channel] > 0 for label in self._labels], dim=-1).byte()
        else:
            decisions = logits.max(dim=-1).indices.unsqueeze(-1).to(torch.int16)
        least, most = decisions, decisions
        for dim in range(3):
            count = decisions.shape[dim] - 1
            least = torch.minimum(least.narrow(dim, 0, count), least.narrow(dim, 1, count))
            most = torch.maximum(most.narrow(dim, 0, count), most.narrow(dim, 1, count))
        labels = self._values(least.bool() if self._sigmoid else least.squeeze(-1)).to(torch.int16)
        return labels.masked_fill((least != most).any(dim=-1), -1)

    def _label(self, logits: Tensor, cells: Tensor, positions: list[Tensor], inside: Tensor) -> Tensor:
        """Labels uint8 of a box of voxels at positions in ``logits``; only those ``inside`` mean anything."""
        # Beyond the outermost voxels of the grid, logits are as they are there.
        positions = [p.clamp(0, n - 1) for p, n in zip(positions, logits.shape, strict=False)]
        corners = [p.long().clamp(max=n - 2) for p, n in zip(positions, logits.shape, strict=False)]
        labels = cells[tuple(corners)]
        todo = inside & (labels < 0)
        shares = [(p - c).expand(todo.shape)[todo].float() for p, c in zip(positions, corners, strict=True)]
        _, y, z, classes = logits.shape
        corner = ((corners[0] * y + corners[1]) * z + corners[2])[todo]
        table = logits.view(-1, classes)
        size = max(1, CHUNK_BYTES // (4 * classes + _BYTES_A_VOXEL))
        parts = zip(corner.split(size), zip(*(share.split(size) for share in shares), strict=True), strict=True)
        found = [self._between(table, first, share, (y * z, z, 1)) for first, share in parts]
        labels = labels.to(torch.uint8)
        labels[todo] = torch.cat(found)
        return labels

    def _between(
        self, table: Tensor, corner: Tensor, shares: Sequence[Tensor], strides: tuple[int, int, int]
    ) -> Tensor:
        """Labels uint8 (N,) at places between eight rows of a table (voxels, classes) of logits.

        ``corner`` (N,) is the first of these rows, the three ``shares`` (N,) say how far the place is from there.
        """
        index, weight = corner.unsqueeze(1), torch.ones_like(shares[0]).unsqueeze(1)
        for share, stride in zip(shares, strides, strict=True):
            index = torch.cat((index, index + stride), dim=1)
            weight = torch.cat((weight * (1 - share).unsqueeze(1), weight * share.unsqueeze(1)), dim=1)
        logits = F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
        if self._sigmoid:
            return self._values(torch.stack([logits[:, label.channel] > 0 for label in self._labels], dim=-1))
        return self._values(logits.max(dim=-1).indices)

    def _values(self, decisions: Tensor) -> Tensor:
        """Label values uint8 of channels (…), or of decisions (…, labels) that are painted one over the other."""
        if not self._sigmoid:
            return self._value_of_channel.to(decisions.device)[decisions.long()]
        values = torch.zeros(decisions.shape[:-1], dtype=torch.uint8, device=decisions.device)
        for number, label in enumerate(self._labels):
            values[decisions[..., number]] = label.value
        return values
