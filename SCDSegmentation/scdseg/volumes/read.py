"""From a path to a volume, whatever the file's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scdseg.errors import InputError
from scdseg.volumes.checks import clean_voxels
from scdseg.volumes.dicom import read_dicom_header
from scdseg.volumes.itk import read_itk_header, read_itk_voxels
from scdseg.volumes.nifti import read_nifti_header, read_nifti_voxels
from scdseg.volumes.volume import Volume, VolumeHeader

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
READABLE_EXTENSIONS = (*_NIFTI, *_ITK)


def read_header(path: str | Path, several: bool = False) -> VolumeHeader:
    """Geometry of a NIfTI, NRRD or MetaImage file, or of the DICOM series in a folder, without its voxels.

    Args:
        path: file or folder.
        several: whether a NIfTI file's voxels may have several values, along its fourth axis.

    Raises:
        InputError: missing, unreadable, of another kind, not one 3-D scalar volume, or of impossible geometry.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return read_dicom_header(path)
        if not path.exists():
            raise InputError(f"{path} does not exist: check the path")
        if not path.is_file():
            # A pipe or a device would be waited for, or never end.
            raise InputError(f"{path} is no file: give a volume's file or the folder of a DICOM series")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its name and permissions") from error
    except ValueError as error:  # a NUL in it
        raise InputError(f"{str(path)!r} is no path ({error}): check its name") from error
    name = path.name.lower()
    if name.endswith(_NIFTI):
        return read_nifti_header(path, several)
    if name.endswith(_ITK):
        return read_itk_header(path)
    raise InputError(
        f"{path} is of no kind that is read: give {', '.join(READABLE_EXTENSIONS)} or the folder of a DICOM series"
    )


def read_volume(source: str | Path | VolumeHeader) -> Volume:
    """Voxels in float32 with their geometry; NaN and infinite voxels are replaced with a warning.

    Raises:
        InputError: as :func:`read_header`; also damaged or truncated data, and a volume with one value everywhere.
    """
    header = source if isinstance(source, VolumeHeader) else read_header(source)
    array = read_voxels(header)
    warnings = clean_voxels(header.path, array)
    return Volume(array, header.affine, header.stored, (*header.warnings, *warnings))


def read_voxels(header: VolumeHeader) -> np.ndarray:
    """Voxels in float32 as they are stored: (X, Y, Z), or (X, Y, Z, values) of several values.

    Raises:
        InputError: damaged or truncated data.
    """
    nifti = not header.files and header.path.name.lower().endswith(_NIFTI)
    return read_nifti_voxels(header) if nifti else read_itk_voxels(header)
