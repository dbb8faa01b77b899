"""ZIP archives from anyone: their table of contents is bounded before it is read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

MAX_DIRECTORY_BYTES = 1 << 20
"""Size of the largest table of contents that is read: ten thousand files."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64_BYTES = 20
_LONGEST_COMMENT = 1 << 16
_FULL = 0xFFFFFFFF


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive to read it.

    Raises:
        ValueError: its table of contents is larger than :data:`MAX_DIRECTORY_BYTES`.
        OSError, zipfile.BadZipFile: it cannot be read.
    """
    if _directory_bytes(path) > MAX_DIRECTORY_BYTES:
        raise ValueError(f"its table of contents is larger than {MAX_DIRECTORY_BYTES} bytes")
    try:
        return zipfile.ZipFile(path)
    except (struct.error, NotImplementedError, UnicodeDecodeError) as error:
        raise zipfile.BadZipFile(str(error)) from error


def is_canonical(path: Path) -> bool:
    """Whether an archive begins and ends with itself: nothing before or behind it, no comment, one table of contents.

    Readers look for the table in different ways; only in such an archive do all of them find the same one.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size - _END_64.size - _LOCATOR_64_BYTES))
        tail = file.read()
    if first != b"PK\x03\x04" or len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        return False
    *_, count, length, offset, comment = _END.unpack(tail[-_END.size :])
    behind = size - _END.size
    if tail.startswith(b"PK\x06\x06") and len(tail) == _END.size + _END_64.size + _LOCATOR_64_BYTES:
        behind = size - len(tail)
        *_, count_64, length_64, offset_64 = _END_64.unpack(tail[: _END_64.size])
        # The short record says the same, or that the long one says it.
        pairs = ((count, count_64, 0xFFFF), (length, length_64, _FULL), (offset, offset_64, _FULL))
        if any(short not in (long, full) for short, long, full in pairs):
            return False
        length, offset = length_64, offset_64
    return comment == 0 and offset + length == behind


def _directory_bytes(path: Path) -> int:
    """What the archive's end says of its table of contents, read where ``zipfile`` reads it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - _END.size - _LONGEST_COMMENT - _END_64.size - _LOCATOR_64_BYTES)
        file.seek(start)
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise zipfile.BadZipFile("it is no ZIP archive")
    declared: int = _END.unpack_from(tail, at)[5]
    at_64 = at - _LOCATOR_64_BYTES - _END_64.size
    if at_64 >= 0 and tail[at_64 : at_64 + 4] == b"PK\x06\x06":
        declared = max(declared if declared != 0xFFFFFFFF else 0, _END_64.unpack_from(tail, at_64)[8])
    return declared
