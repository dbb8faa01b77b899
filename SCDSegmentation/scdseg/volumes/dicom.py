"""One DICOM series in a folder: its files in slice order and the affine that their positions give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scdseg.errors import InputError
from scdseg.volumes.checks import check_affine, check_shape
from scdseg.volumes.dicom_lengths import check_lengths
from scdseg.volumes.itk import ItkGeometry, quiet, read_file_information, read_itk_header, reason_of
from scdseg.volumes.volume import VolumeHeader

_IMAGE_POSITION = "0020|0032"
# A gap of half a slice more than usual means a missing slice; a tenth more is rounding.
_MISSING_SLICE = 1.5
_UNEVEN_SLICES = 1.1


def read_dicom_header(folder: Path) -> VolumeHeader:
    """Geometry of the one series in a folder.

    The slice axis is taken from the first and last slice's position, so that a tilted gantry's shear is kept
    (SimpleITK's own reader loses it).

    Raises:
        InputError: no series, several series, slices of several kinds, missing or doubled slices, a damaged file.
    """
    # The finder prints ITK's warnings for every file in the folder that is not DICOM.
    quiet(sitk.ImageSeriesReader())
    named = {path for path in folder.iterdir() if path.is_file() and check_lengths(path)}
    try:
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files: tuple[str, ...] = ()
        if len(series) == 1:
            files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
    except RuntimeError as error:
        raise InputError(
            f"{folder} holds DICOM files that cannot be read ({reason_of(error)}): export the series again"
        ) from error
    if not series:
        raise InputError(
            f"{folder} holds no DICOM series: give the folder that the DICOM files lie in, or a volume file"
        )
    if len(series) > 1:
        raise InputError(
            f"{folder} holds {len(series)} DICOM series: put the files of one series in a folder of their own"
        )
    # An index is no image; any other file that is not in the series is a slice that would be missed.
    left_out = {path for path in named if path.name.upper() != "DICOMDIR"} - {Path(file) for file in files}
    if left_out:
        raise InputError(
            f"{folder} holds {len(left_out)} DICOM files that are not of its series or cannot be read: copy the whole "
            "series again, into a folder of its own"
        )
    if len(files) == 1:
        single = read_itk_header(Path(files[0]), dicom=True)
        return VolumeHeader(folder, single.shape, single.affine, single.stored, tuple(files), single.warnings)
    slices = [read_file_information(Path(file), dicom=True) for file in files]
    first = slices[0]
    if any(len(s.GetSize()) > 2 and s.GetSize()[2] > 1 for s in slices):
        raise InputError(
            f"{folder} holds several files with many frames each: put the one that is wanted in a folder of its own"
        )
    if any(
        s.GetSize() != first.GetSize() or not np.allclose(s.GetDirection(), first.GetDirection(), atol=1e-3)
        for s in slices
    ):
        raise InputError(
            f"{folder} mixes slices of different size or orientation: put one volume's files in a folder of their own"
        )
    shape = check_shape(folder, (*first.GetSize()[:2], len(slices)))
    positions = np.array([_position(s, folder) for s in slices])
    warnings = _check_gaps(folder, positions)
    direction = np.array(first.GetDirection()).reshape(3, 3)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    thickness = float(np.linalg.norm(step))
    direction[:, 2] = step / thickness
    geometry = ItkGeometry(
        (*first.GetSpacing()[:2], thickness), tuple(positions[0].tolist()), tuple(direction.ravel().tolist())
    )
    affine = geometry.affine()
    return VolumeHeader(folder, shape, affine, geometry, tuple(files), (*warnings, *check_affine(folder, affine)))


def _position(reader: sitk.ImageFileReader, folder: Path) -> list[float]:
    """Centre of a slice's first voxel (3,) in mm, LPS+."""
    if not reader.HasMetaDataKey(_IMAGE_POSITION):
        raise InputError(
            f"{folder} holds DICOM files without a position (no Image Position Patient): export the series again"
        )
    text = reader.GetMetaData(_IMAGE_POSITION)
    try:
        x, y, z = (float(value) for value in text.split("\\"))
    except ValueError as error:
        raise InputError(
            f"{folder} holds DICOM files whose position is not three numbers: export the series again"
        ) from error
    return [x, y, z]


def _check_gaps(folder: Path, positions: np.ndarray) -> list[str]:
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(gaps))
    if gaps.min() < 0.01 * max(usual, 1e-3):
        raise InputError(f"{folder} has several slices at one position (a series over time?): export one volume of it")
    if gaps.max() > _MISSING_SLICE * usual:
        raise InputError(
            f"{folder} lacks slices: two neighbours are {gaps.max():.4g} mm apart, the others {usual:.4g} mm: "
            "copy the whole series"
        )
    if gaps.max() > _UNEVEN_SLICES * gaps.min():
        return [f"slices are {gaps.min():.4g} to {gaps.max():.4g} mm apart and were taken as evenly spaced"]
    return []
