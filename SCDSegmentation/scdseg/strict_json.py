"""JSON from anyone, read strictly and with the standard library alone, so that a user interface can do it, too."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scdseg.errors import ModelError

MAX_BYTES = 1 << 20
"""Size of the largest file that is read."""
MAX_VALUES = 50_000
"""How many values such a file may hold; a model of 255 labels has 5000."""
_MAX_DEPTH = 64
# Line breaks and tabs may stand in a description. The others drive terminals, turn the order of what is read, break
# lines where nobody expects it, or are there without being seen.
_CONTROL = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)


def read_json(path: Path) -> Any:
    """Read a small JSON file strictly.

    Args:
        path: the file, at most :data:`MAX_BYTES` of UTF-8.

    Raises:
        ModelError: it is missing or no file at all, too large, not JSON; or a key is there twice, a number is
            not finite, it nests too deep, or a text holds control characters.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is no file; get it again")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ModelError(f"{path}: larger than the {MAX_BYTES} bytes that such a file may have; get the file again")
        document = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=no_constant, parse_float=_finite
        )
        _check_values(document)
        return document
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check that the file is there") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a valid JSON file ({error}); get the file again or correct it") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r:.100} is there twice")
        result[key] = value
    return result


def no_constant(constant: str) -> float:
    """For ``parse_constant`` of :func:`json.loads`: refuses NaN and infinity."""
    raise ValueError(f"{constant} is not a number that JSON has")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.50} is too large a number")
    return number


def walk(document: Any) -> Iterator[tuple[Any, int]]:
    """All values of a document with their depth, from 1 on; keys too. Without recursion, however deep it is.

    What stands in several places is met in each of them.
    """
    left = [(document, 1)]
    while left:
        value, depth = left.pop()
        yield value, depth
        if isinstance(value, dict):
            left += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            left += [(part, depth + 1) for part in value]


def _check_values(document: Any) -> None:
    """Judge all values.

    Raises:
        ValueError: there are too many, too deep, or a text that is none.
    """
    for count, (value, depth) in enumerate(walk(document), start=1):
        if count > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values")
        if depth > _MAX_DEPTH:
            raise ValueError(f"it nests more than {_MAX_DEPTH} deep")
        if isinstance(value, str) and (found := _CONTROL.search(value)):
            raise ValueError(f"a text holds the control character U+{ord(found[0]):04X}")
