"""NRRD, MetaImage and DICOM files through SimpleITK."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

from scdseg.errors import InputError
from scdseg.volumes.checks import check_affine, check_file_size, check_shape
from scdseg.volumes.itk_headers import check_itk_header
from scdseg.volumes.volume import Volume, VolumeHeader

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_IMAGE_IO = {
    ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO",
}  # fmt: skip
_Reader = TypeVar("_Reader", sitk.ImageFileReader, sitk.ImageSeriesReader)


@dataclass(frozen=True)
class ItkGeometry:
    """Placement of a volume in ITK's terms: LPS+, mm."""

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of_affine(cls, affine: np.ndarray) -> ItkGeometry:
        """Geometry of a (4, 4) RAS+ affine."""
        lps = _LPS_TO_RAS @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        return cls(tuple(spacing.tolist()), tuple(lps[:3, 3].tolist()), tuple((lps[:3, :3] / spacing).ravel().tolist()))

    def affine(self) -> np.ndarray:
        """(4, 4) affine, voxel index → RAS+ in mm."""
        lps = np.eye(4)
        lps[:3, :3] = np.array(self.direction).reshape(3, 3) * np.array(self.spacing)
        lps[:3, 3] = self.origin
        return _LPS_TO_RAS @ lps


def read_file_information(path: Path, dicom: bool = False) -> sitk.ImageFileReader:
    """A SimpleITK reader that has read a file's header, but no voxels.

    Args:
        path: of the file.
        dicom: whether it is of a DICOM series; else its name tells the format.

    Raises:
        InputError: SimpleITK does not understand the file, or a voxel has more than one real value.
    """
    reader = _reader(sitk.ImageFileReader(), None if dicom else path)
    reader.SetFileName(str(path))
    try:
        size = path.stat().st_size if dicom else check_itk_header(path)
        reader.ReadImageInformation()
        voxels = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
        check_file_size(path, voxels * _bytes_of(reader.GetPixelID()), size)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as a volume ({reason_of(error)}): export it again") from error
    if reader.GetNumberOfComponents() > 1:
        raise InputError(f"{path} holds colours or vectors: give a volume with one value a voxel")
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{path} holds complex numbers: give a volume with one real value a voxel")
    return reader


def read_itk_header(path: Path, dicom: bool = False) -> VolumeHeader:
    """Header of a NRRD or MetaImage file, or of a DICOM file that holds a whole volume.

    Raises:
        InputError: unreadable, not one 3-D scalar volume, or an impossible geometry.
    """
    reader = read_file_information(path, dicom)
    dimensions = list(reader.GetSize())
    while len(dimensions) > 3 and dimensions[-1] == 1:
        dimensions.pop()
    shape = check_shape(path, dimensions)
    # A series of one volume has a fourth axis, which places nothing.
    direction = np.array(reader.GetDirection()).reshape(2 * (len(reader.GetSize()),))[:3, :3]
    geometry = ItkGeometry(reader.GetSpacing()[:3], reader.GetOrigin()[:3], tuple(direction.ravel().tolist()))
    if min(geometry.spacing) <= 0:
        # ITK divides by the spacing: the direction is not a number then, and tells less than this.
        raise InputError(
            f"{path} has a voxel spacing of {'×'.join(f'{s:g}' for s in geometry.spacing)} mm: correct its header"
        )
    affine = geometry.affine()
    return VolumeHeader(path, shape, affine, stored=geometry, warnings=tuple(check_affine(path, affine)))


def read_itk_voxels(header: VolumeHeader) -> np.ndarray:
    """Voxels (X, Y, Z) in float32 of a file, or of a DICOM series with its rescaling applied.

    Raises:
        InputError: a file ends early or is damaged.
    """
    if header.files:
        reader = _reader(sitk.ImageSeriesReader(), None)
        reader.SetFileNames(header.files)
    else:
        reader = _reader(sitk.ImageFileReader(), header.path)
        reader.SetFileName(str(header.path))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{header.path} is damaged or cut short ({reason_of(error)}): copy or export it again"
        ) from error
    # ITK's arrays run (Z, Y, X).
    array = sitk.GetArrayFromImage(image).T
    if array.size != math.prod(header.shape):
        raise InputError(f"{header.path} has other voxels than its header tells of: export it again")
    return array.reshape(header.shape)


def write_itk(volume: Volume, path: Path, compress: bool) -> None:
    """Write ``.nrrd`` or ``.mha``; a grid that comes from such a file keeps its geometry.

    Raises:
        OSError: the file cannot be written, as for a full disk.
    """
    # ITK's arrays run (Z, Y, X), the values of a voxel last.
    array = np.moveaxis(volume.array, (0, 1, 2), (2, 1, 0))
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 4)
    geometry = volume.stored if isinstance(volume.stored, ItkGeometry) else ItkGeometry.of_affine(volume.affine)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    try:
        sitk.WriteImage(image, str(path), useCompression=compress)
    except RuntimeError as error:
        raise OSError(reason_of(error)) from error


def _reader(reader: _Reader, path: Path | None) -> _Reader:
    """A reader for the one format that a name tells, or DICOM; left to itself, ITK tries all that it knows."""
    name = path.name.lower() if path is not None else ""
    reader.SetImageIO(next((io for extension, io in _IMAGE_IO.items() if name.endswith(extension)), "GDCMImageIO"))
    return quiet(reader)


def _bytes_of(pixel_id: int) -> int:
    """Bytes of a value, at least."""
    name = sitk.GetPixelIDValueAsString(pixel_id)
    return next((bits // 8 for bits in (64, 32, 16) if str(bits) in name), 1)


def quiet(reader: _Reader) -> _Reader:
    """Keep ITK's warnings off stderr: what matters of them is checked here and reported in the user's terms."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return reader


def reason_of(error: RuntimeError) -> str:
    """The last line of SimpleITK's message that says something, without what it quotes of the file's header."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub('"[^"]*"?', '"…"', lines[-1].removeprefix("sitk::ERROR: "))[:300]
