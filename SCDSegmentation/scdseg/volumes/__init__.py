"""Volumes and their files: NIfTI, NRRD, MetaImage and DICOM series in; NIfTI, NRRD and MetaImage out."""

from __future__ import annotations

from scdseg.volumes.output import check_outputs, discard_staged, staged
from scdseg.volumes.read import READABLE_EXTENSIONS, read_header, read_volume, read_voxels
from scdseg.volumes.volume import Volume, VolumeHeader, require_same_grid
from scdseg.volumes.write import VOLUME_EXTENSIONS, write_volume

__all__ = [
    "READABLE_EXTENSIONS",
    "VOLUME_EXTENSIONS",
    "Volume",
    "VolumeHeader",
    "check_outputs",
    "discard_staged",
    "read_header",
    "read_volume",
    "read_voxels",
    "require_same_grid",
    "staged",
    "write_volume",
]
