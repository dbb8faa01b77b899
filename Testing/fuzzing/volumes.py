"""Volumes that were made to harm."""

from __future__ import annotations

import gzip
import random
import shutil
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from dicom_series import STEP, write_series
from fuzzing.mutations import NAMES, spoiled
from scdseg.volumes import read_header, read_volume

_HEADER_BYTES = {"nii": 348, "nrrd": 400, "mha": 400}
_NRRD_VALUES = (
    "0",
    "-1",
    "4 4",
    "4 4 4 4",
    "99999999 99999999 99999999",
    "2147483648 1 1",
    "nan",
    "1e999",
    "none",
    "(1,0,0)",
    *NAMES,
)
_META_VALUES = (
    "slice%03d.raw 1 7 1",
    "slice%d.raw 1 7 1",
    "slice%999999999d 1 7 1",
    "0",
    "-1",
    "3 3",
    "LIST",
    "99999999 99999999 99999999",
    "nan nan nan",
    "True",
    "MET_DOUBLE",
    "MET_OTHER",
    *NAMES,
)
_BLANKS = (b"", b"", b"", b" ", b"\x0b", b"\x0c", b"\r", b"x\r")
_SEPARATORS = (b" = ", b" = ", b" = ", b"=", b" : ", b"\0 = ", b"\0x = ", b"\x0b=\x0c", b" ")
_DIMENSIONS = (-32768, -1, 0, 1, 2, 7, 8, 300, 32767)
# Files of these values lie outside; the volumes' own are below a thousand.
CANARY = 12_321
_FEW = 20
_NUMBERS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-40, 1e38, 25.0, 0.001)


class Volumes:
    """A small volume in every format, spoiled.

    Args:
        folder: may be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        voxels = np.random.default_rng(0).integers(0, 1000, (7, 8, 9)).astype(np.int16)
        affine = np.array([[1.2, 0.1, 0, -10], [-0.1, 1.1, 0, 5], [0, 0, 2.0, 3], [0, 0, 0, 1.0]])
        nib.save(nib.Nifti1Image(voxels, affine), folder / "original.nii")
        nib.save(nib.Nifti2Image(voxels, affine), folder / "original2.nii")
        image = sitk.GetImageFromArray(voxels)
        for name in ("original.nrrd", "original.mha"):
            sitk.WriteImage(image, str(folder / name), useCompression=False)
        for place in (folder.parent / "canary.raw", folder / "own.raw"):
            value = CANARY if place.parent != folder else 7
            place.write_bytes(np.full(voxels.shape, value, np.int16).tobytes())
        self._elsewhere = ("../canary.raw", str(folder.parent / "canary.raw"), "own.raw", "own%d.raw 1 7 1", "LIST")
        self._originals = {path.name: path.read_bytes() for path in folder.glob("original*")}
        (folder / "series").mkdir()
        write_series(folder / "series", [number * STEP for number in range(4)])
        self._slices = [path.read_bytes() for path in sorted((folder / "series").iterdir())]

    def nifti(self, rng: random.Random) -> None:
        """NIfTI-1 and NIfTI-2, compressed and not: fields of the header, or any bytes."""
        name = rng.choice(("original.nii", "original.nii", "original2.nii"))
        content = bytearray(self._originals[name])
        if name == "original.nii" and rng.random() < 0.6:
            for _ in range(rng.choice((1, 2, 3))):
                _spoil_nifti_field(content, rng)
        else:
            content = bytearray(spoiled(bytes(content), rng, hot=_HEADER_BYTES["nii"]))
        data, suffix = bytes(content), "nii"
        if rng.random() < 0.3:
            data, suffix = gzip.compress(data, 1), "nii.gz"
            if rng.random() < 0.5:
                data = spoiled(data, rng)
        self._read(data, suffix)

    def nrrd(self, rng: random.Random) -> None:
        """NRRD, with its voxels or without: values of the header, or any bytes."""
        content = self._originals["original.nrrd"]
        if rng.random() < 0.6:
            header, _, voxels = content.partition(b"\n\n")
            lines = header.split(b"\n")
            for _ in range(rng.choice((1, 2, 4))):
                at = rng.randrange(1, len(lines))
                field = lines[at].partition(b":")[0]
                value = rng.choice((*_NRRD_VALUES, *self._elsewhere)).encode("utf-8", "surrogatepass")[:300]
                lines[at] = field + b": " + value
                if rng.random() < 0.3:
                    lines.insert(
                        at, rng.choice((b"data file: ", b"encoding: gzip\ndata file: ", b"line skip: ")) + value
                    )
            content = b"\n".join(lines) + b"\n\n" + voxels
        else:
            content = spoiled(content, rng, hot=_HEADER_BYTES["nrrd"])
        self._read(content, rng.choice(("nrrd", "nrrd", "nhdr")))

    def metaimage(self, rng: random.Random) -> None:
        """MetaImage, with its voxels or without: values of the header, or any bytes."""
        content = self._originals["original.mha"]
        if rng.random() < 0.6:
            head, marker, voxels = content.partition(b"ElementDataFile = LOCAL\n")
            lines = head.strip().split(b"\n")
            for _ in range(rng.choice((1, 2, 4))):
                at = rng.randrange(len(lines))
                value = rng.choice((*_META_VALUES, *self._elsewhere)).encode("utf-8", "surrogatepass")[:300]
                name = lines[at].partition(b"=")[0].strip()
                lines[at] = rng.choice(_BLANKS) + name + rng.choice(_SEPARATORS) + value
                if rng.random() < 0.2:
                    lines.append(
                        rng.choice((b"CompressedData = True", b"HeaderSize = -1", b"CompressedDataSize = 99999999999"))
                    )
            if rng.random() < 0.3:
                value = rng.choice((*_META_VALUES, *self._elsewhere)).encode("utf-8", "surrogatepass")[:300]
                marker = rng.choice(_BLANKS) + b"ElementDataFile" + rng.choice(_SEPARATORS) + value + b"\n"
                marker += rng.choice((b"", b"own.raw\n", b"../canary.raw\n" * 7, b"ElementDataFile = LOCAL\n"))
            content = b"\n".join(lines) + b"\n" + marker + voxels
        else:
            content = spoiled(content, rng, hot=_HEADER_BYTES["mha"])
        self._read(content, rng.choice(("mha", "mha", "mhd")))

    def dicom(self, rng: random.Random) -> None:
        """A DICOM series: slices gone, doubled, mixed with others, spoiled."""
        folder = self.folder / "dicom"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        slices = list(self._slices)
        kind = rng.randrange(5)
        if kind == 0:
            del slices[rng.randrange(4)]
        elif kind == 1:
            slices.append(rng.choice((b"", b"DICM", rng.randbytes(300), slices[0], slices[0][:200])))
        for _ in range(rng.choice((0, 1, 1, 4)) if kind < 3 else 2):
            at = rng.randrange(len(slices))
            # The first 132 bytes say that it is DICOM; the voxels are the last 240.
            body = slices[at][132:-240] if len(slices[at]) > 400 else slices[at]
            slices[at] = slices[at][:132] + spoiled(body, rng) + slices[at][-240:]
        for number, content in enumerate(slices):
            (folder / f"{number}.dcm").write_bytes(content)
        _read(folder)

    def _read(self, content: bytes, suffix: str) -> None:
        path = self.folder / f"volume.{suffix}"
        path.write_bytes(content)
        try:
            _read(path)
        finally:
            path.unlink()


def _read(path: Path) -> None:
    """As every run does: the header, and only then the voxels.

    Raises:
        AssertionError: voxels are those of a file elsewhere, or of whatever was in memory.
    """
    first = read_volume(read_header(path)).array
    assert np.count_nonzero(first == CANARY) < _FEW, "the voxels of a file elsewhere"
    # Memory that was just given back is not given out again as it was.
    filler = np.full(first.shape, -CANARY, np.float32)
    del filler
    assert np.array_equal(first, read_volume(path).array), "voxels that were in no file"


def _spoil_nifti_field(content: bytearray, rng: random.Random) -> None:
    kind = rng.randrange(7)
    if kind == 0:
        struct.pack_into("<h", content, 40 + 2 * rng.randrange(8), rng.choice(_DIMENSIONS))
    elif kind == 1:
        struct.pack_into("<f", content, 76 + 4 * rng.randrange(8), rng.choice(_NUMBERS))
    elif kind == 2:
        struct.pack_into(
            "<h",
            content,
            70,
            rng.choice((0, 1, 2, 4, 16, 32, 64, 128, 256, 768, 1280, 1536, 1792, 2048, 2304, -1, 999)),
        )
    elif kind == 3:
        struct.pack_into("<f", content, 108, rng.choice((*_NUMBERS, 348.0, 352.5, 1e6, 2e9)))
    elif kind == 4:
        struct.pack_into(
            "<f", content, rng.choice((112, 116, 256, 260, 264, 268, *range(280, 328, 4))), rng.choice(_NUMBERS)
        )
    elif kind == 5:
        struct.pack_into("<h", content, rng.choice((252, 254, 72)), rng.choice((0, 1, 4, -1, 32767)))
    else:
        content[348:352] = b"\1\0\0\0"
        content[352:352] = struct.pack("<ii", rng.choice((0, 8, 16, -16, 2**31 - 1)), rng.choice((0, 4, 44))) + bytes(8)
