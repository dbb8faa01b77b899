"""Lists of cases: text, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from scdseg.errors import InputError
from scdseg.volumes import READABLE_EXTENSIONS

if TYPE_CHECKING:
    from scdseg.bundle import Bundle

_NAME_COLUMN = "case"
_IMAGE_COLUMN = "image"


def read_list(file: Path, bundle: Bundle) -> list[tuple[str, tuple[str, ...]]]:
    """The cases that a list names.

    Args:
        file: ``.json``: a list of file names, of lists of file names (one for each channel of the model), or of objects
            with ``image`` (either of the two) and, if wanted, ``case``, the name. Anything else: one case a line,
            fields separated by commas in ``.csv`` and by tabs otherwise; one field for each channel, before them a name
            if wanted. A first line that begins with ``case`` names the columns: the model's channels in any order, or
            ``image`` for a model of one. Empty lines and lines that begin with
            ``#`` do not count.
        bundle: the model that the cases are for.

    Returns:
        Name (empty if none is given) and file names as they stand in the list.

    Raises:
        InputError: no such file, a file that is no list, or a line with the wrong number of files.
    """
    if file.name.lower().endswith(READABLE_EXTENSIONS):
        raise InputError(
            f"{file} is a single file: give its folder or a list of cases, or segment it with scdseg segment"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): give a folder or a list of cases") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8: give a folder or a list of cases") from error
    if file.suffix.lower() == ".json":
        return _from_json(file, text, bundle)
    return _from_lines(file, text, "," if file.suffix.lower() == ".csv" else "\t", bundle)


def _from_json(file: Path, text: str, bundle: Bundle) -> list[tuple[str, tuple[str, ...]]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is no JSON ({error}): correct it") from error
    if not isinstance(content, list):
        raise InputError(f"{file} holds no list of cases but {type(content).__name__}: give the list by itself")
    cases = []
    for number, entry in enumerate(content, 1):
        name, images = (
            (entry.get(_NAME_COLUMN, ""), entry.get(_IMAGE_COLUMN)) if isinstance(entry, dict) else ("", entry)
        )
        files = [images] if isinstance(images, str) else images
        if not isinstance(name, str) or not _are_names(files):
            raise InputError(
                f"{file}: case {number} is neither a file name, nor a list of them, nor an object with 'image' and, "
                "if wanted, 'case': correct it"
            )
        _check_count(file, f"case {number}", files, bundle)
        cases.append((name, tuple(files)))
    return cases


def _from_lines(file: Path, text: str, delimiter: str, bundle: Bundle) -> list[tuple[str, tuple[str, ...]]]:
    cases: list[tuple[str, tuple[str, ...]]] = []
    order: list[int] | None = None
    reader = csv.reader(StringIO(text), delimiter=delimiter)
    for fields in _rows(file, reader):
        where, channels = f"line {reader.line_num}", len(bundle.channels)
        if order is None and not cases and fields[0].lower() == _NAME_COLUMN and len(fields) > 1:
            order = _column_order(file, fields[1:], bundle)
            continue
        named = order is not None or len(fields) == channels + 1
        name, images = (fields[0], fields[1:]) if named else ("", fields)
        _check_count(file, where, images, bundle)
        if not all(images):
            raise InputError(f"{file}: {where} lacks a file name: give one for each channel")
        cases.append((name, tuple(images[column] for column in order or range(channels))))
    return cases


def _rows(file: Path, reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The fields of all lines that count."""
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields) and not fields[0].startswith("#"):
                yield fields
    except csv.Error as error:
        raise InputError(f"{file} is no list of cases ({error}): give text, CSV or JSON") from error


def _column_order(file: Path, columns: list[str], bundle: Bundle) -> list[int]:
    """For each channel of the model, the column of its files."""
    channels = [channel.lower() for channel in bundle.channels]
    given = [column.lower() for column in columns]
    if len(channels) == 1 and given == [_IMAGE_COLUMN]:
        return [0]
    if sorted(given) != sorted(channels):
        raise InputError(
            f"{file} has the columns {', '.join(columns)} behind {_NAME_COLUMN!r}, but model {bundle.name} takes "
            f"{', '.join(bundle.channels)}: name them so"
        )
    return [given.index(channel) for channel in channels]


def _check_count(file: Path, where: str, images: list[str], bundle: Bundle) -> None:
    expected = len(bundle.channels)
    if len(images) != expected:
        raise InputError(
            f"{file}: {where} has {len(images)} field{'s' * (len(images) != 1)}, but model {bundle.name} takes "
            f"{expected} file{'s' * (expected != 1)} a case ({', '.join(bundle.channels)}), and a name before if wanted"
        )


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)
