"""Headers that name the files of their voxels: these must lie beside the header."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from scdseg.errors import InputError

_MAX_HEADER_BYTES = 1 << 20
# Anywhere at the beginning of the file, also behind what looks like the header's end: in doubt, a name counts.
_NRRD_FIELD = re.compile(rb"(?:^|[\r\n])data ?file:[ \t]*([^\r\n]*)", re.IGNORECASE)
_META_FIELD = re.compile(rb"(?:^|[\r\n])[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)")


def check_data_files(path: Path) -> None:
    """Check that a NRRD or MetaImage header takes its voxels from itself or from files of its own folder.

    Whatever path stands in a header is opened by ITK, so a header from somebody else could read any file of the user's,
    or a device that never ends.

    Args:
        path: of the header.

    Raises:
        InputError: it names a file elsewhere, or no file, or its header is larger than any.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_HEADER_BYTES)
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    ended = b"\n\n" in content or b"\n\r\n" in content if nrrd else _META_FIELD.search(content)
    if not ended and len(content) == _MAX_HEADER_BYTES:
        raise InputError(f"{path} has a header of more than {_MAX_HEADER_BYTES} bytes: export the volume again")
    for name in _names(content, nrrd):
        text = name.decode("utf-8", errors="surrogateescape")
        parts = (PurePosixPath(text), PureWindowsPath(text))
        if any(part.is_absolute() or part.drive or part.root or ".." in part.parts for part in parts):
            raise InputError(
                f"{path} takes its voxels from {text!r:.200}, outside its own folder: put that file beside it and "
                "correct the header, or export the volume as one file"
            )
        target = path.parent / text
        if "%" not in text and target.exists() and not target.is_file():
            raise InputError(f"{path} takes its voxels from {text!r:.200}, which is no file: export the volume again")


def _names(content: bytes, nrrd: bool) -> list[bytes]:
    """The names of files that a header gives."""
    names: list[bytes] = []
    for found in (_NRRD_FIELD if nrrd else _META_FIELD).finditer(content):
        value = found[1].strip()
        if value.upper().startswith(b"LIST"):
            names += [line.strip() for line in content[found.end() :].splitlines() if line.strip()]
        elif value.upper() != b"LOCAL":
            # A row of files is written as "name%03d.raw 1 20 1".
            names.append(value.split(b" ")[0] if b"%" in value else value)
    return names
