"""What makes a volume unfit for segmentation, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scdseg.errors import InputError
from scdseg.volumes.volume import is_sheared, spacing_of

# Beyond 10 mm most structures lie between two slices, but a result can make sense (chest CT has been stored so);
# beyond 25 mm the header is wrong or the series is a localiser.
_COARSE_SPACING_MM = 10.0
_LARGEST_SPACING_MM = 25.0
_SMALLEST_SPACING_MM = 0.001
# Deflate's best is 1032.
_BEST_COMPRESSION = 1100


def check_shape(path: Path, shape: Sequence[int]) -> tuple[int, int, int]:
    """The three dimensions of a volume with one value a voxel.

    Raises:
        InputError: 2-D, a series over time, or a single slice.
    """
    text = "×".join(str(n) for n in shape)
    if len(shape) < 3:
        raise InputError(f"{path} is a {len(shape)}-D image ({text}): give a 3-D volume")
    if len(shape) > 3:
        raise InputError(f"{path} is a {len(shape)}-D series ({text}): extract one 3-D volume of it")
    if min(shape) < 2:
        raise InputError(f"{path} has a single slice ({text}): give a 3-D volume")
    x, y, z = shape
    return x, y, z


def check_file_size(path: Path, voxel_bytes: int, file_bytes: int, compressed: bool = True) -> None:
    """Check, before memory is taken, that a file is large enough for the voxels that its header tells of.

    Args:
        path: for the message.
        voxel_bytes: that all voxels take.
        file_bytes: size of the file, or of all files of a volume.
        compressed: whether it may be; no compression in use makes more than a thousand bytes of one.

    Raises:
        InputError: the file cannot hold that many voxels.
    """
    if voxel_bytes > (_BEST_COMPRESSION if compressed else 1) * file_bytes:
        raise InputError(
            f"{path} is damaged or cut short: its header tells of {voxel_bytes} bytes of voxels, but the file has "
            f"{file_bytes}: copy or export it again"
        )


def check_affine(path: Path, affine: np.ndarray) -> list[str]:
    """Warnings about a geometry that can be used.

    Raises:
        InputError: the spacing is 0 or not plausible, or axes coincide.
    """
    spacing = spacing_of(affine)
    text = "×".join(f"{s:.4g}" for s in spacing) + " mm"
    if not np.isfinite(affine).all():
        raise InputError(f"{path} has a position or orientation that is not a number: correct its header")
    if min(spacing) <= _SMALLEST_SPACING_MM:
        raise InputError(f"{path} has a voxel spacing of {text}: correct its header")
    if max(spacing) > _LARGEST_SPACING_MM:
        raise InputError(
            f"{path} has a voxel spacing of {text}, more than {_LARGEST_SPACING_MM:g} mm: "
            "correct its header, or use a volume with thinner slices"
        )
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise InputError(f"{path} has axes that lie in one plane: correct the orientation in its header")
    warnings = []
    if max(spacing) > _COARSE_SPACING_MM:
        warnings.append(f"voxels are coarse ({text}): structures may fall between slices")
    if is_sheared(affine):
        warnings.append("axes are not at right angles (tilted gantry?): the voxels were resampled accordingly")
    return warnings


def clean_voxels(path: Path, array: np.ndarray) -> list[str]:
    """Replace, in place, what is not a finite number by the smallest finite value (background in MR and CT).

    Args:
        array: (X, Y, Z) float32.

    Returns:
        Warnings.

    Raises:
        InputError: no finite value, or the same value everywhere.
    """
    finite = np.isfinite(array)
    bad = array.size - int(np.count_nonzero(finite))
    if bad == array.size:
        raise InputError(f"{path} has no voxel with a finite value: export the volume again")
    warnings = []
    if bad:
        array[~finite] = array[finite].min()
        noun = "voxel was" if bad == 1 else "voxels were"
        warnings.append(f"{bad} {noun} NaN or infinite, replaced by the smallest finite value")
    low = float(array.min())
    if low == float(array.max()):
        raise InputError(f"{path} is empty: every voxel has the value {low:g}; give another volume or export it again")
    return warnings
