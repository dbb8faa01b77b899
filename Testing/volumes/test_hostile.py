"""Volumes that were made to harm are refused before anything is taken, waited for or run."""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dicom_series import VOXELS
from scdseg.errors import InputError
from scdseg.volumes import read_header, read_volume

RAW = np.arange(60, dtype=np.int16).tobytes()
NRRD = "NRRD0004\ntype: int16\ndimension: 3\nsizes: 3 4 5\nencoding: raw\nendian: little\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"


def write(folder: Path, name: str, header: str, voxels: bytes = b"") -> Path:
    path = folder / name
    path.write_bytes(header.encode("utf-8", "surrogateescape") + voxels)
    return path


@pytest.mark.parametrize("data", ["voxels.raw", "./voxels.raw", "below/voxels.raw"])
def test_voxels_beside_the_header_are_read(tmp_path: Path, data: str) -> None:
    target = tmp_path / data
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(RAW)
    for path in (
        write(tmp_path, "a.nhdr", f"{NRRD}data file: {data}\n"),
        write(tmp_path, "a.mhd", f"{META}ElementDataFile = {data}\n"),
    ):
        assert read_volume(path).array.ravel(order="F").tolist() == list(range(60))


def test_a_row_of_files_is_read(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"slice{number + 1:03d}.raw").write_bytes(RAW[24 * number : 24 * (number + 1)])
    path = write(tmp_path, "a.mhd", f"{META}ElementDataFile = slice%03d.raw 1 5 1\n")
    assert read_volume(path).array.ravel(order="F").tolist() == list(range(60))
    names = "\n".join(f"slice{number + 1:03d}.raw" for number in range(5))
    path = write(tmp_path, "b.mhd", f"{META}ElementDataFile = LIST\n{names}\n")
    assert read_volume(path).array.ravel(order="F").tolist() == list(range(60))


ELSEWHERE = (
    "/dev/zero",
    "/etc/passwd",
    "../secret.raw",
    "below/../../secret.raw",
    "C:\\secret.raw",
    "\\\\server\\x\\y",
)


@pytest.mark.parametrize("data", ELSEWHERE)
def test_voxels_elsewhere_are_refused_without_being_opened(tmp_path: Path, data: str) -> None:
    (tmp_path / "secret.raw").write_bytes(RAW)
    folder = tmp_path / "from somebody else"
    folder.mkdir()
    began = time.perf_counter()
    for path in (
        write(folder, "a.nhdr", f"{NRRD}data file: {data}\n"),
        write(folder, "b.nhdr", f"{NRRD}DATAFILE: {data}\n"),
        write(folder, "c.nhdr", f"{NRRD}data file: LIST\n{data}\n"),
        write(folder, "a.mhd", f"{META}ElementDataFile = {data}\n"),
        write(folder, "c.mhd", f"{META}ElementDataFile = LIST\n" + 5 * f"{data}\n"),
    ):
        with pytest.raises(InputError, match="outside its own folder"):
            read_header(path)
    assert time.perf_counter() - began < 1


DISGUISES = {
    "a colon": "ElementDataFile : {}",
    "a vertical tab": "\x0bElementDataFile = {}",
    "a form feed": "\x0cElementDataFile = {}",
    "a return and a tab": "Comment = \r\x0bElementDataFile = {}",
    "a zero": "ElementDataFile\0 = {}",
    "a zero and more": "ElementDataFile\0xyz = {}",
    "a return": "Comment = \rElementDataFile = LOCAL\nElementDataFile:{}",
    "dimensions with a colon": "NDims : -3\nElementDataFile = LOCAL",
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("data", ["/dev/zero", "%s%n%n 1 4 1"])
def test_fields_that_only_itk_takes_for_fields_are_refused(tmp_path: Path, disguise: str, data: str) -> None:
    """Its reader strips blanks of all kinds and stops at zeros."""
    path = write(tmp_path, "a.mha", META + DISGUISES[disguise].format(data) + "\nElementDataFile = LOCAL\n", RAW)
    with pytest.raises(InputError, match="has a line that is no field"):
        read_header(path)


@pytest.mark.parametrize("header", [f"{META}ElementDataFile = LIST\n", f"{META}ElementDataFile = LIST\na.raw\n"])
def test_too_few_files_are_refused_not_made_up_of_what_is_in_memory(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.raw").write_bytes(RAW[:24])
    with pytest.raises(InputError, match="files for 5 parts of the volume"):
        read_header(write(tmp_path, "a.mhd", header))


def test_files_that_are_missing_or_too_short_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"s{number}.raw").write_bytes(RAW[:24])
    row = write(tmp_path, "a.mhd", f"{META}ElementDataFile = s%d.raw 0 4 1\n")
    with pytest.raises(InputError, match="from a file that is not there"):
        read_header(row)
    (tmp_path / "s4.raw").write_bytes(RAW[:23])
    with pytest.raises(InputError, match="its header tells of 24 bytes of voxels, but the file has 23"):
        read_header(row)
    for name, header in (("a.mha", f"{META}ElementDataFile = LOCAL\n"), ("a.nrrd", f"{NRRD}\n")):
        with pytest.raises(InputError, match="its header tells of 120 bytes of voxels"):
            read_header(write(tmp_path, name, header, RAW[:10]))


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(RAW)
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    with pytest.raises(InputError, match="outside its own folder"):
        read_header(write(folder, "a.nhdr", f"{NRRD}data file: link.raw\n"))


def test_a_row_that_runs_backwards_is_read(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"s{5 - number}.raw").write_bytes(RAW[24 * number : 24 * (number + 1)])
    for path in (
        write(tmp_path, "a.nhdr", f"{NRRD}data file: s%d.raw 5 1 -1\n"),
        write(tmp_path, "b.nhdr", f"{NRRD}data file: LIST\n" + "\n".join(f"s{5 - n}.raw" for n in range(5)) + "\n"),
    ):
        assert read_volume(path).array.ravel(order="F").tolist() == list(range(60))


def test_long_words_that_harm_nothing_are_read(tmp_path: Path) -> None:
    header = f"{NRRD}content: {'x' * 250}\nnote:=see: {'y' * 250}\n\n"
    assert read_volume(write(tmp_path, "a.nrrd", header, RAW)).array.size == 60


def test_a_long_row_is_judged_at_once(tmp_path: Path) -> None:
    began = time.perf_counter()
    for data in ("%d" + " " * 900_000 + "x", "a%d.raw 1 999999 1", "a%d.raw 1 5 0", "%d" * 100_000):
        with pytest.raises(InputError):
            read_header(write(tmp_path, "a.mhd", f"{META}ElementDataFile = {data}\n"))
        with pytest.raises(InputError):
            read_header(write(tmp_path, "a.nhdr", f"{NRRD}data file: {data}\n"))
    assert time.perf_counter() - began < 1


PATTERNS = ("%s%n%d", "%n 1 5 1", "a%999999999d.raw 1 5 1", "a%d%s 1 5 1", "a%03d.raw 1 99999999999 1", "a%*d 1 5 1")


@pytest.mark.parametrize("data", PATTERNS)
def test_patterns_of_file_names_never_reach_printf(tmp_path: Path, data: str) -> None:
    """ITK's reader of MetaImages ends the process at the first of these."""
    for path in (
        write(tmp_path, "a.mhd", f"{META}ElementDataFile = {data}\n"),
        write(tmp_path, "a.nhdr", f"{NRRD}data file: {data}\n"),
    ):
        with pytest.raises(InputError, match=r"from a row of files that names none|from a file that is not there"):
            read_header(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("NDims", "-1", "NDims is not one whole number"),
        ("NDims", "99999999 99999999", "NDims is not one whole number"),
        ("NDims", "3\nNDims = 30", "has the field NDims twice"),
        ("DimSize", "3 4", "DimSize is not a size for each"),
        ("DimSize", "3 4 -5", "DimSize is not a size for each"),
        ("DimSize", "3 4 99999999999", "DimSize is not a size for each"),
        ("ElementSpacing", "1 1 nan", "ElementSpacing is not numbers"),
        ("ElementSpacing", "1", "ElementSpacing is not numbers"),
    ],
)
def test_dimensions_that_end_itks_process_are_refused(tmp_path: Path, field: str, value: str, message: str) -> None:
    lines = [f"{field} = {value}" if line.startswith(f"{field} ") else line for line in META.splitlines()]
    path = write(tmp_path, "a.mha", "\n".join([*lines, "ElementDataFile = LOCAL", ""]), RAW)
    with pytest.raises(InputError, match=message):
        read_header(path)


def test_a_word_that_is_too_long_for_itks_reader_is_refused(tmp_path: Path) -> None:
    """It ends the process."""
    header = NRRD + f"# {'c' * 5000}\ncontent: a {'b' * 150}\nkinds: do{'a' * 5000} domain domain\n\n"
    with pytest.raises(InputError, match="whose field 'kinds' is too long"):
        read_header(write(tmp_path, "a.nrrd", header, RAW))


def test_a_file_is_read_as_what_its_name_says(tmp_path: Path) -> None:
    """ITK left to itself tries all formats that it knows."""
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.nii"))
    (tmp_path / "a.nii").rename(tmp_path / "a.nrrd")
    with pytest.raises(InputError, match="cannot be read as a volume"):
        read_header(tmp_path / "a.nrrd")


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe.nii", "pipe.nrrd", "pipe.mha"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is no file"):
        read_header(tmp_path / name)
    (tmp_path / f"zero.{name.rpartition('.')[2]}").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is no file"):
        read_header(tmp_path / f"zero.{name.rpartition('.')[2]}")


def test_a_header_that_tells_of_more_voxels_than_a_file_can_hold_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<3h", content, 42, 3000, 3000, 3000)
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    write(tmp_path, "a.nrrd", NRRD.replace("3 4 5", "3000 3000 3000") + "\n", RAW)
    write(tmp_path, "a.mha", META.replace("3 4 5", "3000 3000 3000") + "ElementDataFile = LOCAL\n", RAW)
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        with pytest.raises(InputError, match="its header tells of 54000000000 bytes of voxels, but the file has"):
            read_header(tmp_path / name)


def test_a_volume_of_one_value_but_a_few_compresses_and_is_read(tmp_path: Path) -> None:
    voxels = np.zeros((200, 200, 200), np.int16)
    voxels[100, 100, 100] = 1
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes(), 9))
    assert (tmp_path / "a.nii.gz").stat().st_size < voxels.nbytes / 500
    assert read_volume(tmp_path / "a.nii.gz").array.sum() == 1


@pytest.mark.parametrize(
    ("start", "length"), [(1 << 30, 1 << 30), (1e9, 16), (float("nan"), 16), (1000.0, -8), (0.0, 2**31 - 8)]
)
def test_extensions_of_absurd_length_are_not_read(tmp_path: Path, start: float, length: int) -> None:
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 108, start)
    content[348:352] = b"\1\0\0\0"
    content[352:360] = struct.pack("<2i", length, 6)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match=r"whose voxels begin at|a header extension of (-8|2147483640) bytes"):
        read_header(tmp_path / "a.nii.gz")


def test_extensions_as_they_are_written_are_let_through(tmp_path: Path) -> None:
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        image = kind(VOXELS, np.eye(4))
        for text in (b"a comment", b"x" * 100_000):
            image.header.extensions.append(nib.nifti1.Nifti1Extension(6, text))
        nib.save(image, tmp_path / "a.nii.gz")
        assert read_header(tmp_path / "a.nii.gz").shape == VOXELS.shape


def test_a_message_quotes_nothing_of_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "a.nrrd", "NRRD0004\nDOE^JANE: born 1970\n\n", RAW)
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert "JANE" not in str(caught.value)
    for header in ("data file: /data/DOE^JANE/a.raw\n", "kinds: domain DOE^JANE" + "x" * 300 + "\n\n"):
        with pytest.raises(InputError) as caught:
            read_header(write(tmp_path, "a.nhdr", NRRD + header))
        assert "JANE" not in str(caught.value)
