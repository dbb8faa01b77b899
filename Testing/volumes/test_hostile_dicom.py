"""DICOM files that were made to harm are refused, and all usual ways of writing are not."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest

from dicom_series import STEP, VOXELS, write_series
from scdseg.errors import InputError
from scdseg.volumes import read_header, read_volume
from scdseg.volumes.dicom_lengths import check_lengths


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
