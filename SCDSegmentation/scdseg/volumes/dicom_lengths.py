"""The lengths of a DICOM file's elements, checked before GDCM takes memory for each of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from scdseg.errors import InputError

_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
# Their length has four bytes, behind two that are not used; that of other types has two.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_META_GROUP = 0x0002
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM = (0xFFFE, 0xE000)
_DELIMITERS = ((0xFFFE, 0xE00D), (0xFFFE, 0xE0DD))
_IMPLICIT = b"1.2.840.10008.1.2"
_BIG_ENDIAN = b"1.2.840.10008.1.2.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def check_lengths(path: Path) -> None:
    """Check that no element of a DICOM file claims to be longer than what is left of the file.

    What is no DICOM file is not judged.

    Raises:
        InputError: an element does, or the file is deflated.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(_PREAMBLE)
        with_preamble = file.read(4) == b"DICM"
        if not with_preamble:
            file.seek(0)
            # What GDCM takes for DICOM without a preamble begins with one of these groups.
            if file.read(2) not in (b"\x02\0", b"\x08\0"):
                return
            file.seek(0)
        _Walk(path, file, size).go(meta=with_preamble)


class _Walk:
    """From element to element, into sequences and their items."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size
        self._order, self._explicit = "<", True
        self._syntax = b""

    def go(self, meta: bool) -> None:
        """Walk to the end, or to where this is DICOM no more."""
        in_pixels = False
        while len(head := self._file.read(8)) == 8:
            if meta and struct.unpack("<H", head[:2])[0] != _META_GROUP:
                meta = False
                self._follow_syntax()
            if not meta and not self._syntax:
                # Without a preamble nothing says how the elements are written.
                self._explicit = head[4:6].isalpha() and head[4:6].isupper()
            tag = struct.unpack(f"{self._order}2H", head[:4])
            long, length = self._length(tag, head)
            if long is None:
                return
            if length == _UNDEFINED:
                if long == b"UN":
                    return  # its items are written in another way
                in_pixels = in_pixels or tag == _PIXEL_DATA
                continue
            left = self._size - self._file.tell()
            if length > left:
                raise InputError(
                    f"{self._path} is damaged or cut short: an element ({tag[0]:04x},{tag[1]:04x}) tells of {length} "
                    f"bytes, but {left} are left: copy or export the series again"
                )
            if tag == _TRANSFER_SYNTAX:
                self._syntax = self._file.read(length).rstrip(b"\0 ")
            elif not self._enters(tag, long, length, in_pixels):
                self._file.seek(length, 1)

    def _length(self, tag: tuple[int, ...], head: bytes) -> tuple[bytes | None, int]:
        """An element's type, empty where none is written, and its length; no type at all behind the file's end."""
        if not self._explicit or tag == _ITEM or tag in _DELIMITERS:
            return b"", struct.unpack(f"{self._order}L", head[4:])[0]
        kind = head[4:6]
        if kind not in _LONG:
            return kind, struct.unpack(f"{self._order}H", head[6:])[0]
        rest = self._file.read(4)
        return (kind, struct.unpack(f"{self._order}L", rest)[0]) if len(rest) == 4 else (None, 0)

    def _enters(self, tag: tuple[int, ...], kind: bytes, length: int, in_pixels: bool) -> bool:
        """Whether what follows is elements, not a value."""
        if tag == _ITEM:
            return not in_pixels
        if kind == b"SQ":
            return True
        if self._explicit or length < 8:
            return False
        # Without types, a sequence is known by the item that it begins with.
        begins = self._file.read(4)
        self._file.seek(-len(begins), 1)
        return begins == struct.pack(f"{self._order}2H", *_ITEM)

    def _follow_syntax(self) -> None:
        """How the elements behind the file's own are written."""
        if self._syntax == _DEFLATED:
            raise InputError(f"{self._path} is deflated DICOM, which is not read: save the series without compression")
        self._explicit = self._syntax != _IMPLICIT
        self._order = ">" if self._syntax == _BIG_ENDIAN else "<"
        self._syntax = self._syntax or b"none"
