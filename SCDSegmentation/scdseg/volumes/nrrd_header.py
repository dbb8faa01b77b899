"""Headers of NRRD files."""

from __future__ import annotations

import math
import re
from pathlib import Path

from scdseg.errors import InputError
from scdseg.volumes.data_files import DataFiles, expanded

# Anywhere at the beginning of the file, also behind what looks like the header's end: in doubt, a name counts.
_DATA_FILE = re.compile(rb"(?:^|[\r\n])data ?file:[ \t]*([^\r\n]*)", re.IGNORECASE)
# ITK's reader takes a name with such a part in it for a pattern.
_PATTERN = re.compile(rb"%[^%]{0,40}d")
_LONGEST_NAME = 4096
# The reader copies their words to where it has room for so many bytes.
_FIELDS_OF_WORDS = {
    *(b"type", b"encoding", b"endian", b"space", b"kinds", b"centers", b"centerings", b"units", b"space units"),
    *(b"sizes", b"dimension", b"space dimension", b"spacings", b"axis mins", b"axis maxs", b"thicknesses"),
    *(b"space directions", b"space origin", b"measurement frame", b"sample units", b"labels"),
}
_LONGEST_WORD = 200
_TYPE_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("double", "longlong", "long long", "int64", "int64_t", "ulonglong", "uint64", "uint64_t"), 8),
}


def read_nrrd_header(path: Path, content: bytes) -> DataFiles:
    """Check a header's words and names, and tell where its voxels are.

    Args:
        path: for messages.
        content: of the file's beginning.

    Raises:
        InputError: a word is longer than ITK's reader has room for, or a name is none.
    """
    fields = _fields(path, content)
    names: list[bytes] = []
    for found in _DATA_FILE.finditer(content):
        value = found[1].strip()
        if value.upper().startswith(b"LIST"):
            names += [line.strip() for line in content[found.end() :].splitlines() if line.strip()]
        elif value.startswith(b"="):
            continue  # a key with a value
        elif _PATTERN.search(value[:_LONGEST_NAME]) or len(value) > _LONGEST_NAME:
            names += expanded(path, value)
        else:
            names.append(value)
    skips = fields.keys() & {b"line skip", b"lineskip", b"byte skip", b"byteskip"}
    raw = None if skips or fields.get(b"encoding") != b"raw" else _voxel_bytes(fields)
    parts = max(1, len(names))
    raw = raw // parts if raw is not None and raw % parts == 0 else None
    # The first empty line ends the header.
    ends = [at + len(end) for end in (b"\n\n", b"\n\r\n") if (at := content.find(end)) >= 0]
    offset = 0 if names else min(ends, default=len(content))
    return DataFiles(tuple(name.decode("utf-8", "surrogateescape") for name in names), raw, offset)


def _fields(path: Path, content: bytes) -> dict[bytes, bytes]:
    """The fields up to the first empty line."""
    fields = {}
    for line in content.splitlines():
        if not line:
            break
        name, separator, text = line.partition(b": ")
        name = name.lower()
        if not separator or (name not in _FIELDS_OF_WORDS and b"skip" not in name):
            continue
        if any(len(word) > _LONGEST_WORD for word in text.split()):
            raise InputError(f"{path} has a header whose field {name.decode()!r} is too long: export the volume again")
        fields[name] = text.strip()
    return fields


def _voxel_bytes(fields: dict[bytes, bytes]) -> int | None:
    """What the voxels take, if type and sizes are plain."""
    size = _TYPE_BYTES.get(fields.get(b"type", b"").decode("ascii", "replace"))
    sizes = fields.get(b"sizes", b"").split()
    if size is None or not sizes or not all(value.isdigit() and len(value) < 10 for value in sizes):
        return None
    return size * math.prod(map(int, sizes))
