"""The same head stored, placed, sampled or cut differently: a model should find the same anatomy in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

_ROTATION_DEGREES = 20.0
_ROTATION_MARGIN_VOXELS = 30
_CROPPED_SHARE = 0.08


@dataclass(frozen=True)
class Variant:
    """A changed copy of an image, and the way back to the first one's grid.

    Args:
        name: what was changed.
        array: (X, Y, Z) voxels.
        affine: (4, 4), voxel index → RAS+ in mm, as the copy is stored.
        placement: (4, 4), voxel index → where the voxel's anatomy lies in the first image, RAS+ in mm.
        mirrored: left and right changed sides.
    """

    name: str
    array: np.ndarray
    affine: np.ndarray
    placement: np.ndarray
    mirrored: bool = False

    def labels_on_first_grid(
        self, labels: np.ndarray, shape: tuple[int, int, int], affine: np.ndarray, mirror: Mapping[int, int]
    ) -> np.ndarray:
        """Labels of this copy on the first image's grid, by nearest neighbour; 0 where the copy does not reach.

        Args:
            labels: (X, Y, Z) label values of this copy.
            shape: of the first image.
            affine: (4, 4) of the first image.
            mirror: label value → value of the other side.
        """
        if self.mirrored:
            sides = np.arange(256, dtype=labels.dtype)
            for value, other in mirror.items():
                sides[value] = other
            labels = sides[labels]
        image = nib.Nifti1Image(labels, self.placement)
        return np.asarray(resample_from_to(image, (shape, affine), order=0).dataobj)

    def reach(self, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
        """Mask of the first image's voxels that this copy shows."""
        inside = nib.Nifti1Image(np.ones(self.array.shape, np.uint8), self.placement)
        return np.asarray(resample_from_to(inside, (shape, affine), order=0).dataobj) > 0


def variants(array: np.ndarray, affine: np.ndarray) -> Iterator[Variant]:
    """Copies of an image (X, Y, Z): other storage orders, mirrored, turned by 20°, twice the spacing, cropped."""
    image = nib.Nifti1Image(array, affine)
    for name, codes in (("stored left to right flipped", "LAS"), ("stored as LPS", "LPS"), ("stored as PIR", "PIR")):
        stored = _stored_as(image, codes)
        yield Variant(name, np.asarray(stored.dataobj), stored.affine, stored.affine)
    sideways = int(np.argmin(nib.orientations.io_orientation(affine)[:, 0]))
    flip = np.eye(4)
    flip[sideways, sideways], flip[sideways, 3] = -1, array.shape[sideways] - 1
    yield Variant("mirrored anatomy", np.flip(array, sideways).copy(), affine, affine @ flip, mirrored=True)
    for axis, name in enumerate(("nodding", "tilted to a shoulder", "turned to a side")):
        yield _rotated(image, axis, f"head rotated by {_ROTATION_DEGREES:g}°, {name}")
    yield _coarser(array, affine)
    yield _cropped(array, affine)


def _stored_as(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    now = nib.orientations.io_orientation(image.affine)
    return image.as_reoriented(nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(codes)))


def _rotated(image: nib.Nifti1Image, axis: int, name: str) -> Variant:
    """The head turned about a patient axis through the image's centre, on a grid as straight as before, but larger."""
    affine = image.affine
    centre = affine @ [*((n - 1) / 2 for n in image.shape), 1]
    first, second = (i for i in range(3) if i != axis)
    angle = math.radians(_ROTATION_DEGREES)
    turn = np.eye(4)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
    turn[:3, 3] = centre[:3] - turn[:3, :3] @ centre[:3]
    margin = _ROTATION_MARGIN_VOXELS
    start = np.eye(4)
    start[:3, 3] = -margin
    grid = (tuple(n + 2 * margin for n in image.shape), affine @ start)
    head = nib.Nifti1Image(np.asarray(image.dataobj, np.float32), turn @ affine)
    turned = np.asarray(resample_from_to(head, grid, order=1, cval=float(np.min(image.dataobj))).dataobj)
    return Variant(name, turned, grid[1], np.linalg.inv(turn) @ grid[1])


def _coarser(array: np.ndarray, affine: np.ndarray) -> Variant:
    """Means of blocks of 2×2×2 voxels, as a scan with twice the spacing would measure."""
    x, y, z = (n // 2 for n in array.shape)
    blocks = array[: 2 * x, : 2 * y, : 2 * z].astype(np.float32).reshape(x, 2, y, 2, z, 2)
    scale = np.diag([2.0, 2.0, 2.0, 1.0])
    scale[:3, 3] = 0.5
    coarse = affine @ scale
    return Variant("resampled to twice the spacing", blocks.mean(axis=(1, 3, 5)), coarse, coarse)


def _cropped(array: np.ndarray, affine: np.ndarray) -> Variant:
    cut = [round(_CROPPED_SHARE * n) for n in array.shape]
    start = np.eye(4)
    start[:3, 3] = cut
    here = tuple(slice(c, n - c) for c, n in zip(cut, array.shape, strict=True))
    return Variant(f"cropped by {_CROPPED_SHARE:.0%} at every side", array[here].copy(), affine @ start, affine @ start)
