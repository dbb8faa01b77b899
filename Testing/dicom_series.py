"""A small DICOM series for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

VOXELS = np.random.default_rng(0).integers(0, 1000, (10, 12, 5)).astype(np.int16)
STEP = np.array([0.0, 0.0, 2.5])


def write_series(
    folder: Path,
    positions: Sequence[np.ndarray],
    uid: str = "1.2.826.0.1.3680043.2.1125.1",
    prefix: str = "slice",
    tags: Mapping[str, str] = {},
    compressed: bool = False,
) -> None:
    """Slices (x, y) of VOXELS at LPS positions in mm, in files whose names do not follow the slice order.

    Args:
        folder: to write to.
        positions: of the slices.
        uid: of the series.
        prefix: of the files' names.
        compressed: whether the voxels are JPEG 2000, without loss.
        tags: further ones, such as ``{"0010|0010": "Doe^Jane"}``.
    """
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(compressed)
    writer.SetCompressor("JPEG2000" if compressed else "")
    for number, position in enumerate(positions):
        image = sitk.GetImageFromArray(VOXELS[:, :, number % VOXELS.shape[2]].T.copy())
        image.SetSpacing((0.8, 0.9))
        values = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0010|0010": "Doe^Jane",
            "0020|000d": f"{uid}.0",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number + 1}",
            "0020|0032": "\\".join(f"{p:g}" for p in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number + 1),
            **tags,
        }
        for tag, value in values.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{prefix}{(number * 7) % 11}.dcm"))
        writer.Execute(image)
