"""Headers of MetaImage files."""

from __future__ import annotations

import math
import re
from pathlib import Path

from scdseg.errors import InputError
from scdseg.volumes.data_files import DataFiles, expanded, is_pattern

_LAST = b"ElementDataFile"
# ITK's reader also takes a colon, and blanks of all kinds, and stops at zeros: nobody writes these.
_LINE = re.compile(rb"([!-9;<>-~]+)[ \t]*=[ \t]*([^\x00-\x08\x0b-\x1f]*)")
_LONGEST_VALUE = 4096
# Fields of as many numbers as there are dimensions, to the power given.
_VECTORS = {
    **dict.fromkeys((b"ElementSpacing", b"ElementSize", b"Offset", b"Position", b"Origin", b"CenterOfRotation"), 1),
    **dict.fromkeys((b"TransformMatrix", b"Rotation", b"Orientation"), 2),
}
_ELEMENT_BYTES = {
    **dict.fromkeys((b"MET_CHAR", b"MET_UCHAR"), 1),
    **dict.fromkeys((b"MET_SHORT", b"MET_USHORT"), 2),
    **dict.fromkeys((b"MET_INT", b"MET_UINT", b"MET_FLOAT"), 4),
    **dict.fromkeys((b"MET_DOUBLE", b"MET_LONG_LONG", b"MET_ULONG_LONG"), 8),
}


def read_meta_header(path: Path, content: bytes) -> DataFiles:
    """Check a header field by field, and tell where its voxels are.

    Args:
        path: for messages.
        content: of the file's beginning.

    Raises:
        InputError: a line is no field, or a field is not as ITK's reader needs it.
    """
    fields: dict[bytes, bytes] = {}
    position = 0
    while _LAST not in fields:
        end = content.find(b"\n", position)
        if end < 0:
            raise _refusal(path, "lacks the field ElementDataFile")
        line = content[position:end].rstrip(b"\r")
        position = end + 1
        if not line.strip(b" \t"):
            continue
        found = _LINE.fullmatch(line)
        if not found or len(found[2]) > _LONGEST_VALUE:
            raise _refusal(path, "has a line that is no field")
        if found[1] in fields and found[1] in (b"NDims", b"DimSize", b"ElementType", b"CompressedData"):
            raise _refusal(path, f"has the field {found[1].decode()} twice")
        fields[found[1]] = found[2].strip()
        _check_field(path, found[1], fields)
    return _data_files(path, fields, content, position)


def _check_field(path: Path, name: bytes, fields: dict[bytes, bytes]) -> None:
    values = fields[name].split()
    dimensions = int(fields.get(b"NDims", b"0")) if fields.get(b"NDims", b"0").isdigit() else 0
    if name == b"NDims":
        good = len(values) == 1 and values[0] in (b"1", b"2", b"3", b"4")
        wanted = "one whole number from 1 to 4"
    elif name == b"DimSize":
        good = len(values) == dimensions > 0 and all(len(v) < 10 and v.isdigit() and int(v) > 0 for v in values)
        wanted = "a size for each of its dimensions, behind NDims"
    elif name in _VECTORS:
        good = len(values) == dimensions ** _VECTORS[name] and dimensions > 0 and all(map(_is_number, values))
        wanted = "numbers for each of its dimensions, behind NDims"
    elif name == b"ElementNumberOfChannels":
        good, wanted = len(values) == 1 and len(values[0]) < 5 and values[0].isdigit(), "one whole number"
    elif name == b"HeaderSize":
        good, wanted = values == [b"-1"] or (len(values) == 1 and values[0].isdigit()), "one whole number"
    else:
        return
    if not good:
        raise _refusal(path, f"has a header whose {name.decode()} is not {wanted}")


def _data_files(path: Path, fields: dict[bytes, bytes], content: bytes, end: int) -> DataFiles:
    if b"DimSize" not in fields:
        raise _refusal(path, "lacks the field DimSize")
    sizes = [int(value) for value in fields[b"DimSize"].split()]
    channels = int(fields.get(b"ElementNumberOfChannels", b"1"))
    element = _ELEMENT_BYTES.get(fields.get(b"ElementType", b"").removesuffix(b"_ARRAY"), 1) * channels
    compressed = fields.get(b"CompressedData", b"")[:1] in (b"T", b"t", b"1")

    def raw(parts: int) -> int | None:
        return None if compressed else math.prod(sizes) * element // parts

    value = fields[_LAST]
    if value.upper() == b"LOCAL":
        return DataFiles((), raw(1), end)
    words = value.split()
    if words and words[0].upper() == b"LIST":
        dimension = words[1].rstrip(b"dD") if len(words) == 2 else b"%d" % (len(sizes) - 1)
        if len(words) > 2 or not dimension.isdigit() or not 0 < int(dimension) < len(sizes):
            raise _refusal(path, "has a list of files that ITK does not know")
        parts = math.prod(sizes[int(dimension) :])
        names = [line.strip() for line in content[end:].splitlines() if line.strip()]
    elif is_pattern(value):
        names, parts = expanded(path, value), sizes[-1]
    else:
        names, parts = [value], 1
    if len(names) != parts:
        raise _refusal(path, f"names {len(names)} files for {parts} parts of the volume")
    return DataFiles(tuple(name.decode("utf-8", "surrogateescape") for name in names), raw(parts))


def _is_number(text: bytes) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _refusal(path: Path, problem: str) -> InputError:
    return InputError(f"{path} {problem}: export the volume again")
