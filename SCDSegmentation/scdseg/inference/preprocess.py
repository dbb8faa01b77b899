"""From the input's voxels to the network's: orientation, spacing, cropping, intensity and padding, all through MONAI.

Every step keeps the affine of what it makes up to date, so that the way back is one resampling to the input's affine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import zoom_affine
from monai.transforms import (
    CropForeground,
    NormalizeIntensity,
    Orientation,
    ScaleIntensityRange,
    SpatialPad,
    SpatialResample,
)

from scdseg.errors import InputError

if TYPE_CHECKING:
    from scdseg.bundle import Bundle, Intensity


def to_network_grid(array: np.ndarray, affine: np.ndarray, bundle: Bundle) -> MetaTensor:
    """Voxels as the network was trained to see them.

    Args:
        array: (C, X, Y, Z) float32.
        affine: (4, 4), voxel index → RAS+ in mm.
        bundle: says orientation, spacing, cropping and intensity.

    Returns:
        (C, X', Y', Z') float32 with its affine; every axis is a multiple of the patch and at least one window
        long. A volume that is too small lies in the middle of the padding.

    Raises:
        InputError: the intensities have no contrast to normalise.
    """
    image = MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=torch.from_numpy(affine))
    image = to_spacing(image, bundle.orientation, bundle.spacing)
    if bundle.crop_foreground:
        image = crop_foreground(image)
    shape = padded_shape(image.shape[1:], bundle.network["img_size"], bundle.network["patch_size"])
    return normalize_and_pad(image, bundle.intensity, bundle.channels, shape)


def to_spacing(image: MetaTensor, orientation: str, spacing: Sequence[float]) -> MetaTensor:
    """The image (C, X, Y, Z) with its axes along ``orientation`` and another spacing in mm."""
    return resample(Orientation(axcodes=orientation, labels=(("L", "R"), ("P", "A"), ("I", "S")))(image), spacing)


def normalize_and_pad(
    image: MetaTensor, steps: Sequence[Intensity], names: Sequence[str], shape: Sequence[int]
) -> MetaTensor:
    """Intensity steps, then padding to ``shape`` with the image (C, X, Y, Z) in the middle.

    Raises:
        InputError: the intensities have no contrast to normalise.
    """
    darkest = image.as_tensor().flatten(1).argmin(dim=1, keepdim=True)
    image = normalize_intensity(image, steps, names)
    # Padding looks like background: it has the value that normalisation gave to each channel's darkest voxel.
    background = image.as_tensor().flatten(1).gather(1, darkest)[:, :, None, None]
    return SpatialPad(spatial_size=list(shape), method="symmetric")(image - background) + background


def resample(image: MetaTensor, spacing: Sequence[float]) -> MetaTensor:
    """The image (C, X, Y, Z) with another spacing in mm, linearly interpolated, and with axes at right angles.

    The new grid has the old one's centre and covers it. MONAI's ``Spacing`` begins at a corner that it chooses by
    rounding, so that one volume would get other voxels when it is turned.
    """
    old = image.affine.numpy()
    new = np.asarray(zoom_affine(old, np.array(spacing), diagonal=False))
    middle = (np.array(image.shape[1:]) - 1) / 2
    corners = np.array(list(np.ndindex(2, 2, 2))) * image.shape[1:] - 0.5 - middle
    to_new = np.linalg.inv(new[:3, :3]) @ old[:3, :3]
    # A hundredth of a voxel is rounding of the header, no need for one more voxel.
    shape = np.ceil(np.ptp(corners @ to_new.T, axis=0) - 0.01).astype(int)
    new[:3, 3] = old[:3, :3] @ middle + old[:3, 3] - new[:3, :3] @ ((shape - 1) / 2)
    resampler = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32)
    return resampler(image, dst_affine=torch.from_numpy(new), spatial_size=shape.tolist())


def crop_foreground(image: MetaTensor) -> MetaTensor:
    """The bounding box of the voxels (C, X, Y, Z) brighter than a channel's darkest: cuts off empty air and padding."""
    floor = image.as_tensor().flatten(1).amin(dim=1)[:, None, None, None]
    return CropForeground(select_fn=lambda voxels: voxels > floor, allow_smaller=True)(image)


def padded_shape(shape: Sequence[int], window: Sequence[int], patch: int) -> tuple[int, int, int]:
    """The smallest shape that holds ``shape`` and a window, and that patches divide."""
    x, y, z = (max(w, -(-n // patch) * patch) for n, w in zip(shape, window, strict=True))
    return x, y, z


def normalize_intensity(image: MetaTensor, steps: Sequence[Intensity], names: Sequence[str]) -> MetaTensor:
    """Apply a bundle's intensity steps to an image (C, X, Y, Z), channel by channel.

    Args:
        image: float32.
        steps: of the vocabulary ``clip_range``, ``percentiles`` and ``zscore``.
        names: of the channels, for messages.

    Raises:
        InputError: a channel has no contrast.
    """
    for step in steps:
        image = _STEPS[step.name](image, names, **step.arguments)
    return image


def _clip_range(
    image: MetaTensor, names: Sequence[str], a_min: float, a_max: float, b_min: float, b_max: float
) -> MetaTensor:
    return ScaleIntensityRange(a_min, a_max, b_min, b_max, clip=True)(image)


def _percentiles(
    image: MetaTensor, names: Sequence[str], lower: float, upper: float, b_min: float, b_max: float, nonzero: bool
) -> MetaTensor:
    """MONAI's ScaleIntensityRangePercentiles, with the percentiles of the voxels that are not 0 where asked for."""
    channels = []
    for channel, name in zip(image, names, strict=True):
        voxels = channel.as_tensor().numpy()
        counted = voxels[voxels != 0] if nonzero else voxels
        low, high = np.percentile(counted, (lower, upper)) if counted.size else (0.0, 0.0)
        if low == high:
            raise InputError(
                f"image {name} has no contrast: its {lower:g}th and {upper:g}th percentiles are both {low:g}; "
                "give another image"
            )
        channels.append(ScaleIntensityRange(float(low), float(high), b_min, b_max, clip=True)(channel))
    return _stack(channels, image)


def _zscore(image: MetaTensor, names: Sequence[str], nonzero: bool) -> MetaTensor:
    return NormalizeIntensity(nonzero=nonzero, channel_wise=True)(image)


def _stack(channels: Sequence[MetaTensor], like: MetaTensor) -> MetaTensor:
    return MetaTensor(torch.stack([c.as_tensor() for c in channels]), affine=like.affine)


_STEPS: dict[str, Callable[..., MetaTensor]] = {
    "clip_range": _clip_range,
    "percentiles": _percentiles,
    "zscore": _zscore,
}
