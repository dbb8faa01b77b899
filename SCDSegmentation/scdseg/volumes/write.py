"""From a volume to a file."""

from __future__ import annotations

from pathlib import Path

from scdseg.volumes.itk import write_itk
from scdseg.volumes.nifti import write_nifti
from scdseg.volumes.volume import Volume

VOLUME_EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_volume(volume: Volume, path: Path, compress: bool = True) -> None:
    """Write a volume in the format that the name's extension asks for.

    Args:
        volume: any dtype that the format knows.
        path: ends in one of :data:`VOLUME_EXTENSIONS`.
        compress: whether to compress ``.nrrd`` and ``.mha``; in NIfTI's case, the extension says it.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        write_nifti(volume, path)
    else:
        write_itk(volume, path, compress)
