"""Requests: their fields, and the checks that a line passes before any work starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scdseg.strict_json import no_constant

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read as a request: a thousand paths of a kilobyte."""

OUTPUTS = ("labels", "importance", "survival", "stage", "scores", "report")


class ProtocolError(Exception):
    """A line that is no request.

    Args:
        message: what is wrong.
        request_id: of the request, None if it cannot be told.
    """

    def __init__(self, message: str, request_id: int | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


@dataclass(frozen=True)
class Probe:
    """Ask for devices and versions."""

    id: int


@dataclass(frozen=True)
class Run:
    """What segmentations have in common.

    Args:
        images: paths, one for each channel of the model.
        model: name or path.
        overlap: of windows; None: the model's own.
        device: ``"auto"`` or a device's name.
        precision: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        threads: that compute on the CPU; None: as many as there are free cores.
        compress: whether NRRD and MetaImage outputs are compressed.
        scratch: folder of the parent's temporary files, removed by the worker if nobody else is left to do it.
    """

    id: int
    images: tuple[str, ...]
    model: str
    overlap: float | None
    device: str
    precision: str
    threads: int | None
    compress: bool
    scratch: str | None


@dataclass(frozen=True)
class Segment(Run):
    """Segment once.

    Args:
        keep_ratio: None: the model's own.
        outputs: paths by the name of the result, at least one.
    """

    keep_ratio: float | None
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Sweep(Run):
    """Segment one image at several keep ratios.

    Args:
        keep_ratios: in any order; the densest runs first.
        tolerance: mean Dice with the densest run that the suggested keep ratio reaches.
        folder: that the results are written to.
    """

    keep_ratios: tuple[float, ...]
    tolerance: float
    folder: str


@dataclass(frozen=True)
class Influence(Run):
    """Tell how much each token moved the labels.

    Args:
        keep_ratio: of the labels; None: the model's own.
        label: name or value of a structure; None: all of them.
        outputs: a path under ``"influence"``.
    """

    keep_ratio: float | None
    label: str | int | None
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Cancel:
    """Stop another request, ``target``."""

    id: int
    target: int


@dataclass(frozen=True)
class Quit:
    """End the process."""

    id: int


Work = Probe | Segment | Sweep | Influence
Request = Work | Cancel | Quit


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        # Half of a surrogate pair, which JSON can write, is in no file's name. Where names are bytes, some stand for
        # those that are no UTF-8; Windows has no such names, and its ``os.fsencode`` would take every half.
        value.encode("utf-8") if sys.platform == "win32" else os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # The bound keeps out infinity, and whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9


def _is_count_or_null(value: Any) -> bool:
    return value is None or (_is_integer(value) and value > 0)


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def _is_outputs(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= set(OUTPUTS) and all(map(_is_text, value.values()))


def _is_influence(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"influence"} and _is_text(value["influence"])


def _is_label_or_null(value: Any) -> bool:
    return value is None or _is_text(value) or _is_integer(value)


def _is_folder(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"folder"} and _is_text(value["folder"])


@dataclass(frozen=True)
class _Field:
    """What a field of a request may hold."""

    check: Callable[[Any], bool]
    words: str
    required: bool = True
    default: Any = None


_ID = {"id": _Field(_is_integer, "a whole number")}
_RUN = {
    **_ID,
    "images": _Field(_is_list_of(_is_text), "a list of at least one path"),
    "model": _Field(_is_text, "a model's name or path"),
    "overlap": _Field(lambda value: value is None or _is_number(value), "a number or null", required=False),
    "device": _Field(_is_text, "a device's name", required=False, default="auto"),
    "precision": _Field(_is_text, "a precision's name", required=False, default="auto"),
    "threads": _Field(_is_count_or_null, "a whole number from 1 or null", required=False),
    "compress": _Field(lambda value: isinstance(value, bool), "true or false", required=False, default=True),
    "scratch": _Field(lambda value: value is None or _is_text(value), "a folder's path or null", required=False),
}
_KEEP_RATIO = {
    "keep_ratio": _Field(lambda value: value is None or _is_number(value), "a number or null", required=False)
}
_FIELDS: dict[str, dict[str, _Field]] = {
    "probe": _ID,
    "segment": {
        **_RUN,
        **_KEEP_RATIO,
        "outputs": _Field(_is_outputs, f"an object with at least one path under {', '.join(OUTPUTS)}"),
    },
    "sweep": {
        **_RUN,
        "keep_ratios": _Field(_is_list_of(_is_number), "a list of at least one number"),
        "tolerance": _Field(_is_number, "a number", required=False, default=0.98),
        "outputs": _Field(_is_folder, "an object with a path under folder"),
    },
    "influence": {
        **_RUN,
        **_KEEP_RATIO,
        "label": _Field(_is_label_or_null, "a label's name or value or null", required=False),
        "outputs": _Field(_is_influence, "an object with a path under influence"),
    },
    "cancel": {**_ID, "target": _Field(_is_integer, "the id of another request")},
    "quit": _ID,
}


def parse_request(line: bytes) -> Request:
    """The request that a line holds.

    Raises:
        ProtocolError: too long, no JSON object, an unknown request, or a field that is missing, unknown or of the wrong
            kind.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a line is longer than {MAX_LINE_BYTES} bytes: send one JSON object a line")
    try:
        document = json.loads(line.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line is not JSON ({error}): send one JSON object a line") from error
    if not isinstance(document, dict):
        raise ProtocolError("a line holds no JSON object: send one JSON object a line")
    number = document.get("id")
    request_id = number if _is_integer(number) else None
    kind = document.pop("request", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ProtocolError(f"request {kind!r:.200} is unknown: use one of {', '.join(_FIELDS)}", request_id)
    return _request(kind, _checked(kind, document, request_id))


def _checked(kind: str, document: Mapping[str, Any], request_id: int | None) -> dict[str, Any]:
    """The fields of a request, with defaults for those that may be left out."""
    fields = _FIELDS[kind]
    for name in document:
        if name not in fields:
            raise ProtocolError(f"{kind} has no field {name!r:.200}: use {', '.join(fields)}", request_id)
    for name, field in fields.items():
        if name not in document:
            if field.required:
                raise ProtocolError(f"{kind} lacks the field {name!r}: give {field.words}", request_id)
        elif not field.check(document[name]):
            raise ProtocolError(f"field {name!r} of {kind} is {document[name]!r:.200}: give {field.words}", request_id)
    return {name: document.get(name, field.default) for name, field in fields.items()}


def _request(kind: str, values: dict[str, Any]) -> Request:
    if kind in ("segment", "influence"):
        made = Segment if kind == "segment" else Influence
        return made(**{**values, "images": tuple(values["images"])})
    if kind == "sweep":
        folder = values.pop("outputs")["folder"]
        lists = {name: tuple(values[name]) for name in ("images", "keep_ratios")}
        return Sweep(**{**values, **lists, "folder": folder})
    if kind == "cancel":
        return Cancel(**values)
    return Probe(**values) if kind == "probe" else Quit(**values)
