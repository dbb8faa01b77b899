"""Volumes between the scene and the worker: NRRD files, written a piece at a time so that the GUI never waits.

Slicer's own writers write a volume in one go, which blocks the application for seconds with a large CT. The worker
reads these files with SimpleITK.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from SCDSegmentationLib.errors import SegmentationError

TOKEN_MAP_ATTRIBUTE = "SCDSegmentation.TokenMap"
CHUNK_BYTES = 4 * 1024 * 1024
_NRRD_TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32", "uint32": "uint32",
    "int64": "int64", "uint64": "uint64", "float32": "float", "float64": "double",
}  # fmt: skip
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def matrixOf(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel index → RAS in mm (4, 4) of a volume itself, without the transforms that it is under."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def volumeProblem(volumeNode: slicer.vtkMRMLVolumeNode | None) -> str | None:
    """Why a volume cannot be segmented, as a sentence that says what to do; None if it can."""
    if volumeNode is None or volumeNode.GetScene() is None:
        return "Select an input volume."
    name = volumeNode.GetName()
    if volumeNode.GetAttribute(TOKEN_MAP_ATTRIBUTE):
        return f"The volume '{name}' is a map of token importance: select an image."
    image = volumeNode.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None or image.GetNumberOfPoints() == 0:
        return f"The volume '{name}' has no image data: load it again or select another volume."
    if image.GetNumberOfScalarComponents() != 1:
        return f"The volume '{name}' holds colours or vectors: select a volume with one value a voxel."
    if min(image.GetDimensions()) < 2:
        return f"The volume '{name}' is a single slice: select a 3-D volume."
    if abs(np.linalg.det(matrixOf(volumeNode)[:3, :3])) < 1e-9:
        return f"The volume '{name}' has a spacing of zero or axes in one plane: correct its geometry in Volumes."
    return None


def volumeBytes(volumeNode: slicer.vtkMRMLVolumeNode) -> int:
    """Size of a volume's voxels, bytes."""
    image = volumeNode.GetImageData()
    return int(image.GetNumberOfPoints() * image.GetScalarSize())


class VolumeWriter:
    """Writes a volume's voxels and its own geometry to an NRRD file, one piece a call of :meth:`writePiece`.

    Args:
        volumeNode: one that :func:`volumeProblem` has nothing against.
        path: of the file, ending in ``.nrrd``; it appears when the first piece is written.
    """

    def __init__(self, volumeNode: slicer.vtkMRMLVolumeNode, path: Path) -> None:
        voxels = slicer.util.arrayFromVolume(volumeNode)  # (K, J, I), a view of the node's memory
        if voxels.dtype.name not in _NRRD_TYPES:
            raise SegmentationError(
                f"The volume '{volumeNode.GetName()}' has voxels of type {voxels.dtype.name}, which files do not know: "
                "cast it with Cast Scalar Volume."
            )
        self.path = path
        self._header = _header(voxels, matrixOf(volumeNode))
        self._bytes = memoryview(np.ascontiguousarray(voxels).reshape(-1).view(np.uint8))
        self._file = None
        self._written = 0

    @property
    def remaining(self) -> int:
        """Bytes that are still to be written."""
        return len(self._bytes) - self._written

    def writePiece(self) -> None:
        """Write the next piece, and close the file behind the last one.

        Raises:
            OSError: the file cannot be written, as for a full disk.
        """
        if self._file is None:
            self._file = self.path.open("wb")
            self._file.write(self._header)
        end = min(self._written + CHUNK_BYTES, len(self._bytes))
        self._file.write(self._bytes[self._written : end])
        self._written = end
        if not self.remaining:
            self.close()

    def close(self) -> None:
        """Close the file and let go of the volume's memory."""
        if self._file is not None:
            self._file.close()
        self._bytes, self._written = memoryview(b""), 0


def _header(voxels: np.ndarray, ijkToRas: np.ndarray) -> bytes:
    lps = _RAS_TO_LPS @ ijkToRas
    vectors = " ".join(_vector(lps[:3, axis]) for axis in range(3))
    return "\n".join(
        (
            "NRRD0004",
            f"type: {_NRRD_TYPES[voxels.dtype.name]}",
            "dimension: 3",
            "space: left-posterior-superior",
            f"sizes: {' '.join(str(size) for size in reversed(voxels.shape))}",
            f"space directions: {vectors}",
            "kinds: domain domain domain",
            f"endian: {sys.byteorder}",
            "encoding: raw",
            f"space origin: {_vector(lps[:3, 3])}",
            "",
            "",
        )
    ).encode("ascii")


def _vector(values: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def openLabels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (K, J, I) of an uncompressed 8-bit NRRD file, read when they are looked at, and index → RAS (4, 4).

    Raises:
        SegmentationError: the file is not there, cannot be read or is cut short.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetPixelID() != sitk.sitkUInt8:
            raise ValueError("these are no label values")
        shape = reader.GetSize()[::-1]
        # In such a file the voxels are the last bytes, behind a header of any length.
        offset = path.stat().st_size - int(np.prod(shape))
        voxels = np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=shape)
    except (RuntimeError, OSError, OverflowError, ValueError) as error:  # overflow: the file is shorter than its voxels
        raise SegmentationError(
            f"The result file {path.name} cannot be read: press Apply to run again.", "worker"
        ) from error
    return voxels, _matrix(reader)


def readVolume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (K, J, I) and voxel index → RAS in mm (4, 4) of a file that the worker wrote.

    Raises:
        SegmentationError: the file is not there or cannot be read.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise SegmentationError(
            f"The result file {path.name} cannot be read: press Apply to run again.", "worker"
        ) from error
    return sitk.GetArrayFromImage(image), _matrix(image)


def _matrix(geometry: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """Voxel index → RAS in mm (4, 4) of what SimpleITK has read."""
    lps = np.eye(4)
    lps[:3, :3] = np.array(geometry.GetDirection()).reshape(3, 3) * np.array(geometry.GetSpacing())
    lps[:3, 3] = geometry.GetOrigin()
    return _RAS_TO_LPS @ lps
