"""Files that headers of NRRD and MetaImage take their voxels from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scdseg.errors import InputError

_LONGEST = 4096
_MOST_FILES = 100_000
_NAME = re.compile(rb"([^%]*)%(0?)([1-9]?)d([^%]*)")
_NUMBER = re.compile(rb"-?[0-9]{1,6}")


@dataclass(frozen=True)
class DataFiles:
    """Where a header takes its voxels from.

    Args:
        names: of the files beside it, in the order of the voxels; none if they follow the header.
        raw_bytes: that each of the files, or what follows the header, has at least; None if that cannot be told, as for
            compressed voxels.
        offset: of the voxels that follow the header, bytes.
    """

    names: tuple[str, ...] = ()
    raw_bytes: int | None = None
    offset: int = 0


def is_pattern(value: bytes) -> bool:
    """Whether ITK's reader of MetaImages takes a value for a pattern."""
    return b"%" in value


def expanded(path: Path, value: bytes) -> list[bytes]:
    """The names of a row, which headers write as ``slice%03d.raw 1 20 1``.

    Args:
        path: of the header, for messages.
        value: pattern, first number, last number, and how far it is from one to the next.

    Raises:
        InputError: it is no such row: ITK hands the pattern to C's ``printf`` as it is.
    """
    words = value.split(b" ") if len(value) <= _LONGEST else []
    numbers = [word for word in words[1:] if word]
    found = _NAME.fullmatch(words[0]) if words else None
    if not found or not 2 <= len(numbers) <= 4 or not all(map(_NUMBER.fullmatch, numbers)):
        raise _refusal(path)
    first, last, step = (*map(int, numbers[:3]), *([1] if len(numbers) == 2 else []))
    row = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    if not 0 < len(row) <= _MOST_FILES:
        raise _refusal(path)
    before, zero, width, behind = found.groups()
    form = "{:" + zero.decode() + width.decode() + "d}"
    return [before + form.format(number).encode() + behind for number in row]


def _refusal(path: Path) -> InputError:
    return InputError(f"{path} takes its voxels from a row of files that names none: export the volume again")
