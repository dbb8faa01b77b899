"""NIfTI-1 and NIfTI-2 files through nibabel, which keeps affines that SimpleITK would refuse or change."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from scdseg.errors import InputError
from scdseg.volumes.checks import check_affine, check_file_size, check_shape
from scdseg.volumes.volume import Volume, VolumeHeader, is_sheared

# Extensions hold texts; the largest in use have some hundred kilobytes.
_MAX_EXTENSION_BYTES = 16 << 20
_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    OverflowError,  # an offset that is infinite
    zlib.error,
    ValueError,
)
# The only fields that results take over: descriptions and extensions of a NIfTI header may hold personal data.
_GEOMETRY_FIELDS = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip
# NIfTI unit codes of lengths that are not mm. Any other code means mm, as most programs read it.
_MM_PER_UNIT = {1: ("meter", 1000.0), 3: ("micron", 0.001)}


def read_nifti_header(path: Path, several: bool = False) -> VolumeHeader:
    """Header of a ``.nii`` or ``.nii.gz`` file; with ``several``, voxels may have several values along a fourth axis.

    A file with a qform and an sform that disagree is placed by its sform, as nibabel does, with a warning.

    Raises:
        InputError: not a NIfTI file, not one 3-D scalar volume, or an impossible geometry.
    """
    image = _load(path)
    if image.header.get_data_dtype().fields is not None or image.header.get_data_dtype().kind not in "biuf":
        raise InputError(f"{path} holds colours or complex numbers: give a volume with one real value a voxel")
    dimensions = list(image.shape)
    while len(dimensions) > 3 and dimensions[-1] == 1:
        dimensions.pop()
    values = dimensions.pop() if several and len(dimensions) == 4 else 1
    shape = check_shape(path, dimensions)
    header = image.header
    voxel_bytes = math.prod(image.shape) * header.get_data_dtype().itemsize
    check_file_size(path, voxel_bytes, path.stat().st_size, compressed=path.name.lower().endswith(".gz"))
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if not sform and (zero := _zero_spacing(path, type(header))):
        raise InputError(f"{path} has a voxel spacing of {zero} mm: correct its header")
    affine = np.array(image.affine, dtype=np.float64)
    warnings = []
    code = int(header["xyzt_units"]) % 8
    if code in _MM_PER_UNIT:
        unit, millimetres = _MM_PER_UNIT[code]
        affine[:3] *= millimetres
        warnings.append(f"spacing is stored in {unit}s and was converted to mm")
    if not sform and not qform:
        warnings.append("the header does not say how the head lies (no qform, no sform): left and right may be swapped")
    elif sform and qform and not _forms_agree(header):
        warnings.append("qform and sform disagree: the sform was used")
    warnings += check_affine(path, affine)
    return VolumeHeader(path, shape, affine, stored=header, warnings=tuple(warnings), values=values)


def read_nifti_voxels(header: VolumeHeader) -> np.ndarray:
    """Voxels (X, Y, Z), or (X, Y, Z, values), in float32, with the file's scale slope and intercept applied.

    Raises:
        InputError: the file ends early or its compression is damaged.
    """
    try:
        array = np.asarray(_load(header.path).get_fdata(dtype=np.float32, caching="unchanged"))
    except _UNREADABLE as error:
        raise InputError(
            f"{header.path} is damaged or cut short ({_first_line(error)}): copy or export it again"
        ) from error
    return array.reshape(header.shape if header.values == 1 else (*header.shape, header.values))


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``.nii`` or ``.nii.gz``; a grid that comes from a NIfTI file keeps that file's qform, sform and units."""
    if isinstance(volume.stored, nib.Nifti1Header):
        header = type(volume.stored)()
        header.set_data_shape(volume.array.shape)
        header.set_data_dtype(volume.array.dtype)
        header["pixdim"][:4] = volume.stored["pixdim"][:4]
        for field in _GEOMETRY_FIELDS:
            header[field] = volume.stored[field]
        image = nib.Nifti1Image(volume.array, None, header)
        if isinstance(header, nib.Nifti2Header):
            image = nib.Nifti2Image(volume.array, None, header)
    else:
        image = nib.Nifti1Image(volume.array, volume.affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(volume.affine, code="scanner")
        # A qform holds no shear: without one, readers that prefer it cannot be misled.
        image.set_qform(volume.affine, code="unknown" if is_sheared(volume.affine) else "scanner")
    nib.save(image, path)


def _check_extensions(path: Path) -> None:
    """Check that a header's extensions, which nibabel reads as a whole, are no longer than any are.

    Raises:
        InputError: they are.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    with ImageOpener(path) as file:
        header = file.read(540)
        if len(header) < 352:
            return
        order = next((o for o in "<>" if struct.unpack(f"{o}i", header[:4])[0] in (348, 540)), "")
        if not order:
            return  # no NIfTI: nibabel says so
        second = struct.unpack(f"{order}i", header[:4])[0] == 540
        start = (
            struct.unpack(f"{order}q", header[168:176])[0] if second else struct.unpack(f"{order}f", header[108:112])[0]
        )
        if not 0 <= start <= _MAX_EXTENSION_BYTES:
            raise InputError(f"{path} has a header whose voxels begin at {start:g}: export the volume again")
        at = 544 if second else 352
        file.seek(at - 4)
        if file.read(4)[:1] in (b"", b"\0"):
            return
        # Without a start, nibabel reads extensions to the file's end.
        while at < (start or math.inf) and len(head := file.read(8)) == 8:
            length = struct.unpack(f"{order}2i", head)[0]
            if not 8 <= length <= _MAX_EXTENSION_BYTES - at:
                raise InputError(f"{path} has a header extension of {length} bytes: export the volume again")
            at += length
            file.seek(at)


def _load(path: Path) -> nib.Nifti1Image:
    try:
        _check_extensions(path)
        image = nib.load(path)
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a readable NIfTI file ({_first_line(error)}): export the volume again"
        ) from error
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{path} holds no NIfTI volume but {type(image).__name__}: export a volume")
    return image


def _forms_agree(header: nib.Nifti1Header) -> bool:
    """Whether sform and qform place the voxels alike; a quaternion that is no rotation agrees with nothing."""
    try:
        return np.allclose(header.get_sform(), header.get_qform(), atol=0.01 * header["pixdim"][1])
    except (HeaderDataError, ValueError):
        return False


def _zero_spacing(path: Path, header_class: type[nib.Nifti1Header]) -> str:
    """The spacing as text if an axis has spacing 0 in the file; nibabel silently turns that into 1 mm."""
    with ImageOpener(path) as file:
        spacing = header_class.from_fileobj(file, check=False)["pixdim"][1:4]
    return "" if (spacing != 0).all() else "×".join(f"{s:g}" for s in spacing)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
