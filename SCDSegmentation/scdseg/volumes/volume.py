"""A volume in patient space: voxels and the affine that places them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from scdseg.errors import InputError

# Images of one examination differ by the rounding of their headers; a tenth of a voxel at a corner is more than that.
_GRID_TOLERANCE_VOXELS = 0.1


@dataclass(frozen=True)
class VolumeHeader:
    """What is known of a volume before its voxels are read.

    Args:
        path: file, or folder of a DICOM series.
        shape: voxels along the three axes.
        affine: (4, 4) float64, voxel index → RAS+ in mm.
        stored: the geometry as the file has it, so that a result in the same format repeats it bit for bit.
        files: the files of a DICOM series in slice order; empty for a single file.
        warnings: what a user should know of this geometry.
        values: values that a voxel has.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    stored: Any = None
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: int = 1


@dataclass(frozen=True)
class Volume:
    """Voxels in patient space.

    Args:
        array: (X, Y, Z), or (X, Y, Z, values) where a voxel has several.
        affine: (4, 4) float64, voxel index → RAS+ in mm.
        stored: geometry of the file that the grid comes from (see :class:`VolumeHeader`), None for a grid of our own.
        warnings: what was noticed while reading.
    """

    array: np.ndarray
    affine: np.ndarray
    stored: Any = None
    warnings: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along each axis in mm."""
        return spacing_of(self.affine)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel spacing in mm of a (4, 4) affine."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def is_sheared(affine: np.ndarray) -> bool:
    """True if the axes of a (4, 4) affine are not at right angles, as in a CT with tilted gantry."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3)


def require_same_grid(headers: list[VolumeHeader], names: list[str]) -> None:
    """Check that the channels of one segmentation lie on one grid.

    Raises:
        InputError: shape, spacing, orientation or position of an image differs from the first one's.
    """
    first = headers[0]
    for header, name in zip(headers[1:], names[1:], strict=True):
        if header.shape != first.shape:
            difference = f"{_times(header.shape)} voxels, but {first.path} has {_times(first.shape)}"
        else:
            offset = _largest_offset(first, header)
            if offset <= _GRID_TOLERANCE_VOXELS * min(spacing_of(first.affine)):
                continue
            difference = f"a position, spacing or orientation up to {offset:.3g} mm away from that of {first.path}"
        raise InputError(f"{header.path} ({name}) has {difference}: resample the images to one grid first")


def _largest_offset(first: VolumeHeader, second: VolumeHeader) -> float:
    """Largest distance in mm between the places that two headers of one shape give to a corner voxel."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in first.shape))])
    return float(np.linalg.norm((corners @ (first.affine - second.affine).T)[:, :3], axis=1).max())


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)
