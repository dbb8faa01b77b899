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

from dicom_series import STEP, VOXELS, write_series
from scdseg.errors import InputError
from scdseg.volumes import read_header, read_volume
from scdseg.volumes.dicom_lengths import check_lengths

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


def element(explicit: bool, tag: tuple[int, int], kind: bytes, length: int, value: bytes = b"") -> bytes:
    """An element whose length need not be its value's."""
    head = struct.pack("<2H2sHL", *tag, kind, 0, length) if explicit else struct.pack("<2HL", *tag, length)
    return head + value


def item(length: int, value: bytes) -> bytes:
    return struct.pack("<2HL", 0xFFFE, 0xE000, length) + value


def insert(path: Path, elements: bytes) -> None:
    """Put elements before the slice's position."""
    content = path.read_bytes()
    at = content.index(struct.pack("<2H", 0x0020, 0x0032), 132)
    path.write_bytes(content[:at] + elements + content[at:])


# The writer's files are compressed with types written, and uncompressed without.
TYPED = pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
UNDEFINED = 2**32 - 1


@TYPED
@pytest.mark.parametrize("length", [2**32 - 2, 2**30])
def test_a_dicom_element_longer_than_its_file_is_refused(tmp_path: Path, explicit: bool, length: int) -> None:
    """GDCM takes that much memory before it notices."""
    write_series(tmp_path, [i * STEP for i in range(5)], compressed=explicit)
    insert(next(tmp_path.iterdir()), element(explicit, (0x0019, 0x1001), b"OB", length))
    with pytest.raises(InputError, match=rf"an element \(0019,1001\) tells of {length} bytes"):
        read_header(tmp_path)


@TYPED
def test_a_long_element_within_sequences_is_found(tmp_path: Path, explicit: bool) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)], compressed=explicit)
    hidden = element(explicit, (0x0019, 0x1001), b"UT", 2**31)
    inner = item(len(hidden), hidden)
    insert(next(tmp_path.iterdir()), element(explicit, (0x0018, 0x9999), b"SQ", len(inner), inner))
    with pytest.raises(InputError, match=r"an element \(0019,1001\) tells of"):
        read_header(tmp_path)


@TYPED
def test_private_tags_and_sequences_are_no_harm(tmp_path: Path, explicit: bool) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)], compressed=explicit)
    inner = element(explicit, (0x0019, 0x1001), b"UN", 4, b"1234")
    ends = [struct.pack("<2HL", 0xFFFE, end, 0) for end in (0xE00D, 0xE0DD)]
    closed = element(explicit, (0x0018, 0x9998), b"SQ", len(inner) + 8, item(len(inner), inner))
    open_ = element(explicit, (0x0018, 0x9999), b"SQ", UNDEFINED, item(UNDEFINED, inner + ends[0]) + ends[1])
    for path in tmp_path.iterdir():
        insert(path, closed + open_ + inner)
    np.testing.assert_array_equal(read_volume(tmp_path).array, VOXELS)


def test_a_cut_slice_behind_a_private_sequence_is_not_lost_silently(tmp_path: Path) -> None:
    """The private sequence is written without types of its own, and its end is where the walk goes on."""
    write_series(tmp_path, [i * STEP for i in range(5)], compressed=True)
    inner = element(False, (0x0019, 0x1001), b"", 4, b"1234")
    ends = [struct.pack("<2HL", 0xFFFE, end, 0) for end in (0xE00D, 0xE0DD)]
    private = element(True, (0x0019, 0x1000), b"UN", UNDEFINED, item(UNDEFINED, inner + ends[0]) + ends[1])
    for path in tmp_path.iterdir():
        insert(path, private)
    np.testing.assert_array_equal(read_volume(tmp_path).array, VOXELS)
    path = next(tmp_path.iterdir())
    insert(path, element(True, (0x0019, 0x1002), b"OB", 10**6))
    with pytest.raises(InputError, match=r"an element \(0019,1002\) tells of"):
        read_header(tmp_path)


def test_a_file_that_is_dicom_and_of_no_series_is_a_slice_that_would_be_missed(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)])
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert read_header(tmp_path).shape == (10, 12, 5)
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="holds 1 DICOM files that are not of its series or cannot be read"):
        read_header(tmp_path)


def test_usual_ways_of_writing_are_let_through(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)])
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        content = path.read_bytes()
        group = struct.unpack("<L", content[140:144])[0]
        if number == 0:
            content = content[132:]  # without a preamble
        elif number == 1:
            content = content[:132] + content[144 + group :]  # with one, but without the file's own group
        elif number == 2:
            content = content[144 + group :]  # with neither
        (tmp_path / path.name).write_bytes(content)
        assert check_lengths(path) == (number not in (0, 2))


def test_voxels_that_look_like_items_are_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    syntax = struct.pack("<2H2sH", 2, 0x10, b"UI", 18) + b"1.2.840.10008.1.2\0"
    voxels = struct.pack("<2hL", -2, -8192, 10**9) + bytes(8)
    path.write_bytes(bytes(128) + b"DICM" + syntax + element(False, (0x7FE0, 0x10), b"", len(voxels), voxels))
    assert check_lengths(path)


def test_zeros_behind_the_magic_word_are_judged_at_once(tmp_path: Path) -> None:
    path = tmp_path / "zeros.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(16 << 20))
    began = time.perf_counter()
    check_lengths(path)
    assert time.perf_counter() - began < 1


def test_compressed_slices_are_read(tmp_path: Path) -> None:
    """Encapsulated pixel data: fragments of lengths of their own behind a length that is not told."""
    write_series(tmp_path, [i * STEP for i in range(5)], compressed=True)
    assert b"1.2.840.10008.1.2.4" in next(tmp_path.iterdir()).read_bytes()
    np.testing.assert_array_equal(read_volume(tmp_path).array, VOXELS)


def test_deflated_dicom_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)])
    path = next(tmp_path.iterdir())
    plain, deflated = b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1.99"
    content = path.read_bytes().replace(b"UI\x12\0" + plain, b"UI\x16\0" + deflated)
    assert deflated in content
    path.write_bytes(content)
    with pytest.raises(InputError, match="is deflated DICOM"):
        read_header(tmp_path)


def test_a_position_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [i * STEP for i in range(5)], tags={"0020|0032": "left\\right\\top"})
    with pytest.raises(InputError, match=r"whose position is not three numbers|cannot be read|several slices"):
        read_header(tmp_path)


def test_a_message_quotes_nothing_of_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "a.nrrd", "NRRD0004\nDOE^JANE: born 1970\n\n", RAW)
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert "JANE" not in str(caught.value)
    for header in ("data file: /data/DOE^JANE/a.raw\n", "kinds: domain DOE^JANE" + "x" * 300 + "\n\n"):
        with pytest.raises(InputError) as caught:
            read_header(write(tmp_path, "a.nhdr", NRRD + header))
        assert "JANE" not in str(caught.value)
