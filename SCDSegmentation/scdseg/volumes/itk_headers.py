"""Headers of NRRD and MetaImage files, looked through before ITK believes them."""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from scdseg.errors import InputError

_MAX_HEADER_BYTES = 1 << 20
# Anywhere at the beginning of the file, also behind what looks like the header's end: in doubt, a name counts.
_NRRD_FIELD = re.compile(rb"(?:^|[\r\n])data ?file:[ \t]*([^\r\n]*)", re.IGNORECASE)
_META_FIELD = re.compile(rb"(?:^|[\r\n])[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)")
# A row of files, such as "name%03d.raw 1 20 1".
_PATTERN = re.compile(rb"[^%]*%(0?[1-9])?d[^%]*?( +[0-9]{1,6}){2,4}")
# Paths may be longer, but no kind, unit or number is.
_LONGEST_WORD = 200
# Fields of as many numbers as there are dimensions, to the power given.
_META_VECTORS = {
    **dict.fromkeys(("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation"), 1),
    **dict.fromkeys(("TransformMatrix", "Rotation", "Orientation"), 2),
}


def check_itk_header(path: Path) -> int | None:
    """Check that a NRRD or MetaImage header takes its voxels from itself or from files of its own folder, and that the
    fields hold what they may.

    Whatever path stands in a header is opened by ITK, so a header from somebody else could read any file of the user's,
    or a device that never ends. And ITK's reader of MetaImages ends the process where dimensions make no sense.

    Args:
        path: of the header.

    Returns:
        Size in bytes of the header and these files together; None if it gives a pattern of names.

    Raises:
        InputError: it names a file elsewhere, or no file, its header is larger than any, or a field is wrong.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_HEADER_BYTES)
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    ended = b"\n\n" in content or b"\n\r\n" in content if nrrd else _META_FIELD.search(content)
    if not ended and len(content) == _MAX_HEADER_BYTES:
        raise InputError(f"{path} has a header of more than {_MAX_HEADER_BYTES} bytes: export the volume again")
    (_check_nrrd_fields if nrrd else _check_meta_fields)(path, content)
    size = path.stat().st_size
    names = _names(content, nrrd)
    for name in names:
        text = name.decode("utf-8", errors="surrogateescape")
        parts = (PurePosixPath(text), PureWindowsPath(text))
        if any(part.is_absolute() or part.drive or part.root or ".." in part.parts for part in parts):
            raise InputError(
                f"{path} takes its voxels from {text!r:.200}, outside its own folder: put that file beside it and "
                "correct the header, or export the volume as one file"
            )
        if b"%" in name:
            # ITK hands the pattern to C's printf as it is.
            if not _PATTERN.fullmatch(name):
                raise InputError(f"{path} takes its voxels from {text!r:.200}, which names no files: export it again")
            continue
        target = path.parent / text
        if target.exists() and not target.is_file():
            raise InputError(f"{path} takes its voxels from {text!r:.200}, which is no file: export the volume again")
        size += target.stat().st_size if target.exists() else 0
    return None if any(b"%" in name for name in names) else size


def _check_nrrd_fields(path: Path, content: bytes) -> None:
    """Check that no word of a NRRD header's fields is longer than ITK's reader has room for.

    Raises:
        InputError: naming the field.
    """
    for line in content.splitlines():
        if not line:
            return
        field, separator, text = line.partition(b": ")
        if separator and any(len(word) > _LONGEST_WORD for word in text.split()) and not line.startswith(b"#"):
            name = field[:40].decode("ascii", "replace")
            raise InputError(f"{path} has a header whose field {name!r} is too long: export the volume again")


def _check_meta_fields(path: Path, content: bytes) -> None:
    """Check the numbers of a MetaImage header: as many as there are dimensions, and each a number.

    Raises:
        InputError: naming the field.
    """
    dimensions = 0
    for line in content.splitlines():
        field, separator, text = line.partition(b"=")
        name = field.strip().decode("ascii", "replace")
        if name == "ElementDataFile":
            return
        values = text.split()
        if name == "NDims":
            wanted = "one whole number from 1 to 4, once"
            good = not dimensions and len(values) == 1 and values[0] in (b"1", b"2", b"3", b"4")
            dimensions = int(values[0]) if good else 0
        elif name == "DimSize":
            wanted = "a size for each of its dimensions, behind NDims"
            good = len(values) == dimensions and all(v.isdigit() and 0 < int(v) < 1 << 31 for v in values)
        elif name in _META_VECTORS:
            wanted = "numbers for each of its dimensions, behind NDims"
            good = len(values) == dimensions ** _META_VECTORS[name] and all(map(_is_number, values))
        elif name == "ElementNumberOfChannels":
            wanted, good = "one whole number", len(values) == 1 and values[0].isdigit() and len(values[0]) < 5
        else:
            continue
        if not separator or not good:
            raise InputError(f"{path} has a header whose {name} is not {wanted}: export the volume again")


def _is_number(text: bytes) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _names(content: bytes, nrrd: bool) -> list[bytes]:
    """The names of files that a header gives."""
    names: list[bytes] = []
    for found in (_NRRD_FIELD if nrrd else _META_FIELD).finditer(content):
        value = found[1].strip()
        if value.upper().startswith(b"LIST"):
            names += [line.strip() for line in content[found.end() :].splitlines() if line.strip()]
        elif value.upper() != b"LOCAL":
            names.append(value)
    return names
