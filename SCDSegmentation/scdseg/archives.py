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
