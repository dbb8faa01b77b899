"""The images of one segmentation, judged by their headers before any voxel is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from scdseg.errors import InputError
from scdseg.inference.preprocess import padded_shape
from scdseg.volumes import VolumeHeader, read_header, require_same_grid
from scdseg.volumes.volume import spacing_of

if TYPE_CHECKING:
    from scdseg.bundle import Bundle

# A volume that fills less than this share of a window along an axis shows the network mostly padding.
_SMALL_SHARE = 0.5


def read_headers(images: str | Path | Sequence[str | Path], bundle: Bundle) -> list[VolumeHeader]:
    """Headers of a model's images, in the order of its channels, on one grid.

    Raises:
        InputError: wrong number of images, one of them unusable, or on different grids.
    """
    paths = [images] if isinstance(images, str | Path) else list(images)
    expected = len(bundle.channels)
    if len(paths) != expected:
        noun = "image" if expected == 1 else "images"
        raise InputError(
            f"model {bundle.name} takes {expected} {noun} ({', '.join(bundle.channels)}), but {len(paths)} given: "
            "give one for each channel, in this order"
        )
    headers = [read_header(path) for path in paths]
    require_same_grid(headers, list(bundle.channels))
    return headers


def network_shape(header: VolumeHeader, bundle: Bundle) -> tuple[int, int, int]:
    """Voxels (3,) that the network's image will have without cropping."""
    shape = np.ceil(_extent(header, bundle.orientation) / bundle.spacing - 0.01).astype(int)
    return padded_shape(shape.tolist(), bundle.network["img_size"], bundle.network["patch_size"])


def size_warnings(header: VolumeHeader, bundle: Bundle) -> list[str]:
    """A warning if the volume is smaller, along any axis, than what the network sees at once."""
    extent = _extent(header, bundle.orientation)
    window = np.array(bundle.network["img_size"]) * bundle.spacing
    # Headers are rounded: a hundredth of a voxel is no difference.
    if (extent >= window - 0.01 * np.array(bundle.spacing)).all():
        return []
    sizes = f"({_millimetres(extent)}) is {{}} than the model's window ({_millimetres(window)})"
    if (extent >= _SMALL_SHARE * window).all():
        return [f"the volume {sizes.format('smaller')}: the rest of the window is padding"]
    return [f"the volume {sizes.format('much smaller')}: labels may be wrong for lack of surroundings"]


def _extent(header: VolumeHeader, orientation: str) -> np.ndarray:
    """Extent (3,) in mm along the axes of an orientation."""
    extent = np.array(header.shape) * spacing_of(header.affine)
    patient_axes = nib.orientations.io_orientation(header.affine)[:, 0].astype(int)
    wanted_axes = nib.orientations.axcodes2ornt(orientation)[:, 0].astype(int)
    by_patient_axis = np.empty(3)
    by_patient_axis[patient_axes] = extent
    return by_patient_axis[wanted_axes]


def _millimetres(lengths: np.ndarray) -> str:
    return "×".join(f"{length:.0f}" for length in lengths) + " mm"
