"""The lengths of a DICOM file's elements, checked before GDCM may take memory for each of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from scdseg.errors import InputError

_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
_MOST_ELEMENTS = 500_000
# Their length has four bytes, behind two that are not used; that of other types has two.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"),
    *(b"ST", b"TM", b"UI", b"UL", b"US"),
}
_META_GROUP = 0x0002
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM = (0xFFFE, 0xE000)
_END_OF_ITEM, _END_OF_SEQUENCE = (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_IMPLICIT = b"1.2.840.10008.1.2"
_BIG_ENDIAN = b"1.2.840.10008.1.2.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def check_lengths(path: Path) -> bool:
    """Check that no element of a DICOM file claims to be longer than what is left of the file.

    What is no DICOM file is not judged.

    Returns:
        Whether the file says that it is DICOM.

    Raises:
        InputError: an element does, there are more elements than any image has, or the file is deflated.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(_PREAMBLE)
        named = file.read(4) == b"DICM"
        if not named:
            file.seek(0)
            # What GDCM takes for DICOM without a preamble begins with one of these groups.
            if file.read(2) not in (b"\x02\0", b"\x08\0"):
                return False
            file.seek(0)
        _Walk(path, file, size).go()
    return named


class _Walk:
    """From element to element, into sequences and their items."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size
        self._order = "<"
        self._explicit: bool | None = True  # None: as each element looks, for nothing says it
        self._syntax = b""
        # How elements were written outside the sequences of undefined length that are open.
        self._outside: list[bool | None] = []
        self._fragments = False  # inside compressed voxels

    def go(self) -> None:
        """Walk to the end, or to where this is DICOM no more."""
        in_meta = True
        for _ in range(_MOST_ELEMENTS):
            head = self._file.read(8)
            if len(head) < 8 or head == bytes(8):
                return
            if in_meta and struct.unpack("<H", head[:2])[0] != _META_GROUP:
                in_meta = False
                self._follow_syntax()
            tag = struct.unpack(f"{self._order}2H", head[:4])
            kind, length = self._length(tag, head)
            if kind is None:
                return
            if tag == _END_OF_SEQUENCE and self._outside:
                self._explicit, self._fragments = self._outside.pop(), False
            if tag in (_END_OF_ITEM, _END_OF_SEQUENCE):
                continue
            if length == _UNDEFINED:
                self._open(tag, kind)
                continue
            left = self._size - self._file.tell()
            if length > left:
                raise InputError(
                    f"{self._path} is damaged or cut short: an element ({tag[0]:04x},{tag[1]:04x}) tells of {length} "
                    f"bytes, but {left} are left: copy or export the series again"
                )
            if tag == _TRANSFER_SYNTAX:
                self._syntax = self._file.read(length).rstrip(b"\0 ")
            elif not self._enters(tag, kind, length):
                self._file.seek(length, 1)
        raise InputError(
            f"{self._path} has more than {_MOST_ELEMENTS} elements, as no image has: export the series again"
        )

    def _length(self, tag: tuple[int, ...], head: bytes) -> tuple[bytes | None, int]:
        """An element's type, empty where none is written, and its length; no type at all behind the file's end."""
        kind = head[4:6]
        explicit = kind in _LONG | _SHORT if self._explicit is None else self._explicit
        if not explicit or tag[0] == _ITEM[0]:
            return b"", struct.unpack(f"{self._order}L", head[4:])[0]
        if kind not in _LONG:
            return kind, struct.unpack(f"{self._order}H", head[6:])[0]
        rest = self._file.read(4)
        return (kind, struct.unpack(f"{self._order}L", rest)[0]) if len(rest) == 4 else (None, 0)

    def _open(self, tag: tuple[int, ...], kind: bytes) -> None:
        """Go into what has no length of its own, but an end: an item, a sequence, or compressed voxels."""
        if tag == _ITEM:
            return
        self._outside.append(self._explicit)
        self._fragments = tag == _PIXEL_DATA
        if kind == b"UN":
            self._explicit = False  # DICOM PS3.5, 6.2.2

    def _enters(self, tag: tuple[int, ...], kind: bytes, length: int) -> bool:
        """Whether what follows is elements, not a value."""
        if tag == _ITEM:
            return not self._fragments
        if kind == b"SQ":
            return True
        if kind or length < 8 or tag == _PIXEL_DATA:
            return False
        # Without types, a sequence is known by the item that it begins with.
        begins = self._file.read(4)
        self._file.seek(-len(begins), 1)
        return begins == struct.pack(f"{self._order}2H", *_ITEM)

    def _follow_syntax(self) -> None:
        """How the elements behind the file's own are written."""
        if self._syntax == _DEFLATED:
            raise InputError(f"{self._path} is deflated DICOM, which is not read: save the series without compression")
        self._explicit = self._syntax != _IMPLICIT if self._syntax else None
        self._order = ">" if self._syntax == _BIG_ENDIAN else "<"
