"""Lines of the worker as events: each is checked whole before anything uses it.

The worker is a process of its own, which may be damaged, out of memory or of another version: nothing that it says is
believed because it said it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from scdseg.strict_json import no_constant, walk

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_TEXT = 2000  # characters of a message; it is cut behind them
_MAX_WORD = 100  # characters of a name: of a step, a device, a code
_MAX_VALUES = 200_000  # in one event: more would take long enough to be felt
_MAX_DEPTH = 32
_MAX_DEVICES = 100
_MAX_INTEGER = 2**53  # whole numbers up to this are numbers in every program that reads JSON
_MAX_NUMBER = 1e9  # of seconds, windows and steps


class NoEventError(ValueError):
    """A line that is no event at all; the launcher or Python itself may have written it."""


class BadEventError(ValueError):
    """An event that is not as the protocol has it."""


def parseEvent(line: bytes) -> dict[str, Any]:
    """An event, its texts cut to what a person reads.

    Raises:
        NoEventError: the line is none.
        BadEventError: its name is unknown, or a field is missing or wrong.
    """
    if len(line) > MAX_LINE_BYTES or line.count(b",") > _MAX_VALUES:
        raise BadEventError("an event is too long")
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise NoEventError(f"it is not JSON: {error}") from error
    if not isinstance(event, dict) or "event" not in event:
        raise NoEventError("it has no event")
    _checkValues(event)
    kind = event["event"]
    fields = _EVENTS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise BadEventError("the event is unknown")
    for name, field in fields.items():
        if name in event or name not in _MAY_LACK:
            event[name] = _read(event, name, field)
    if kind == "progress" and event["done"] > event["total"]:
        raise BadEventError("more is done than there is")
    return event


def ownProcess(pid: int, started: int) -> Any:
    """The process of a number that a worker gave, as psutil's object, which tells it from a later one of that number.

    Args:
        pid: the number that was given.
        started: number of the process that was started: the worker, or a launcher before it; 0 if it has ended.

    Returns:
        None if there is nothing to end: one of both is gone, or packages are missing, which the worker itself tells.

    Raises:
        BadEventError: the process is neither the one that was started nor one of those that it has started.
    """
    try:
        import psutil  # installed with the packages of the worker, so not before the module is loaded
    except ImportError:
        return None
    if not started:
        return None
    try:
        process = psutil.Process(pid)
        if _descends(process, started):
            return process
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as error:
        raise BadEventError("the process cannot be asked whose it is") from error
    raise BadEventError("the process is another's")


def isOwn(process: Any, started: int) -> bool:
    """Whether what :func:`ownProcess` found is still there, and still belongs to the process that was started."""
    import psutil

    try:
        return process.is_running() and _descends(process, started)
    except psutil.Error:
        return False


def _descends(process: Any, started: int) -> bool:
    return started in (each.pid for each in (process, *process.parents()))


def shortened(text: str, characters: int = MAX_TEXT) -> str:
    """A text of at most so many characters, with "…" where it was cut."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def isNumber(value: Any, most: float) -> bool:
    """Whether it is a number from 0 to ``most``; True and NaN are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def isCount(value: Any, most: float) -> bool:
    """Whether it is a whole number from 0 to ``most``."""
    return isinstance(value, int) and isNumber(value, most)


def _read(fields: Mapping[str, Any], name: str, field: Callable[[Any], Any]) -> Any:
    try:
        return field(fields.get(name))
    except ValueError as error:
        raise BadEventError(f"field '{name}' {error}") from error


def _checkValues(event: dict[str, Any]) -> None:
    """Check what holds for all values, however deep: numbers that can be computed with, text that can be shown."""
    for value, depth in walk(event):
        if depth > _MAX_DEPTH:
            raise BadEventError("values are nested too deep")
        if isinstance(value, str):
            _checkText(value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise BadEventError("a number is too large")
        elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
            raise BadEventError("a whole number is too large")


def _checkText(text: str) -> None:
    # Neither Qt nor VTK take half a character (a lone surrogate) or a zero.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadEventError("a text holds half a character") from error
    if "\0" in text:
        raise BadEventError("a text holds a zero character")


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("is no whole number")
    return value


def _pid(value: Any) -> int:
    # It is killed one day: 0, 1 and negative numbers would mean others, and groups of processes. Whose process it is
    # tells ``ownProcess``.
    if not 1 < _integer(value) < 2**31 or value == os.getpid():
        raise ValueError("is not the number of a process that could be the worker")
    return value


def _count(value: Any) -> int:
    if not isCount(value, _MAX_NUMBER):
        raise ValueError("is no whole number from 0 on")
    return value


def _bytes(value: Any) -> int:
    if not isCount(value, _MAX_INTEGER):
        raise ValueError("is no number of bytes")
    return value


def _seconds(value: Any) -> float:
    if not isNumber(value, _MAX_NUMBER):
        raise ValueError("is no number of seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    return shortened(value)


def _word(value: Any) -> str:
    return shortened(_text(value), _MAX_WORD)


def _orNone(field: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else field(value)


def _devices(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > _MAX_DEVICES or not all(isinstance(each, dict) for each in value):
        raise ValueError("is no list of devices")
    return [{name: _read(device, name, field) for name, field in _DEVICE.items()} for device in value]


def _precisions(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict) or not all(isinstance(each, list) for each in value.values()):
        raise ValueError("has no list of precisions for each device")
    return {_word(name): [_word(each) for each in precisions] for name, precisions in value.items()}


def _versions(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("has no version for each name")
    return {_word(name): _word(version) for name, version in value.items()}


# The version of the protocol is compared by who starts the process: another one has a message of its own.
_EVENTS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "ready": {"pid": _pid},
    "loaded": {"seconds": _seconds},
    "progress": {
        "id": _integer,
        "step": _word,
        "done": _count,
        "total": _count,
        "seconds_left": _orNone(_seconds),
        "device": _orNone(_word),
    },
    "log": {"id": _orNone(_integer), "level": _word, "text": _text},
    # What a probe found, and what every result has; reports and rows are checked by the runs that asked for them.
    "result": {
        "id": _integer,
        "partial": _flag,
        "devices": _devices,
        "precision": _precisions,
        "versions": _versions,
    },
    "error": {"id": _orNone(_integer), "code": _word, "message": _text, "device": _orNone(_word)},
}
_MAY_LACK = ("partial", "device", "devices", "precision", "versions")
_DEVICE: dict[str, Callable[[Any], Any]] = {
    "name": _word,
    "title": _word,
    "free_bytes": _orNone(_bytes),
    "total_bytes": _orNone(_bytes),
    "works": _flag,
    "problem": _orNone(_text),
}
