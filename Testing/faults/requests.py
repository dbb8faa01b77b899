"""Requests that no panel sends, at the real worker: it answers each, and works on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from faults.fault import Fault, Violation
from faults.world import World

_SEGMENT = {"request": "segment", "images": ["a.nrrd"], "model": "tiny", "outputs": {"labels": "l.nrrd"}}
_LINES: dict[str, bytes] = {
    "no JSON": b"segment please",
    "nothing": b"{}",
    "a list": b"[1, 2]",
    "a number": b"7",
    "null": b"null",
    "half an object": b'{"id": 4, "request": "segm',
    "nesting": b"[" * 100_000,
    "not UTF-8": b'{"id": 1, "request": "\xff\xfe"}',
    "another alphabet": '{"id": 1, "request": "probe"}'.encode("utf-16"),
    "zeros": bytes(1000),
    "longer than allowed": b'{"id": 1, "request": "probe", "x": "' + b"x" * 3_000_000 + b'"}',
    "a number of 5000 digits": b'{"id": ' + b"9" * 5000 + b', "request": "probe"}',
    "NaN": b'{"id": NaN, "request": "probe"}',
    "no id": b'{"request": "probe"}',
    "an id of text": b'{"id": "1", "request": "probe"}',
    "an unknown request": b'{"request": "format"}',
    "a request that is a list": b'{"request": ["probe"]}',
    "an unknown field": b'{"request": "probe", "shell": "true"}',
    "a very long field": b'{"request": "probe", "' + b"y" * 100_000 + b'": 1}',
}
_FIELDS: dict[str, dict[str, Any]] = {
    "no images": {"images": []},
    "images of text": {"images": "a.nrrd"},
    "an image with a zero in its name": {"images": ["a\0b.nrrd"]},
    "an image of half a character": {"images": ["\ud800.nrrd"]},
    "no model": {"model": ""},
    "a model that leads out": {"model": "../../../etc"},
    "a model that is a file": {"model": "/etc/passwd"},
    "an unknown model": {"model": "nobody"},
    "a keep ratio of nothing": {"keep_ratio": 0},
    "a keep ratio above one": {"keep_ratio": 2.5},
    "a negative keep ratio": {"keep_ratio": -1},
    "a keep ratio of text": {"keep_ratio": "all"},
    "an overlap of one": {"overlap": 1.0},
    "an unknown device": {"device": "quantum"},
    "an unknown precision": {"precision": "fp2"},
    "an unknown output": {"outputs": {"shell": "x"}},
    "no outputs": {"outputs": {}},
    "an output that is a folder": {"outputs": {"labels": "/tmp"}},
    "an output of no known kind": {"outputs": {"labels": "/tmp/labels.exe"}},
    "an output where nobody may write": {"outputs": {"labels": "/proc/labels.nrrd"}},
    "an output in no folder": {"outputs": {"labels": "/nowhere/labels.nrrd"}},
    "outputs of one name": {"outputs": {"labels": "/tmp/same.nrrd", "importance": "/tmp/same.nrrd"}},
}


def faults(seed: int) -> Iterator[Fault]:
    """Lines and fields."""
    del seed
    for name, line in _LINES.items():
        yield Fault("requests spoiled", name, partial(_line, line))
    for name, fields in _FIELDS.items():
        yield Fault("requests spoiled", name, partial(_fields, fields))


def _line(line: bytes, world: World) -> str:
    """A line; the worker answers by an error, which has the line's id or goes into the log."""
    worker = world.logic.worker
    pid = world.worker().pid
    told: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "error":
            told.append(str(event["message"]))

    def on_log(text: str) -> None:
        if text.startswith("error"):
            told.append(text)

    worker.log.connect(on_log)
    worker.event.connect(on_event)
    try:
        worker._process.write(line + b"\n")
        # Requests are read in their order.
        world.ask("probe")
    finally:
        worker.log.disconnect(on_log)
        worker.event.disconnect(on_event)
    if worker._pid != pid:
        raise Violation("stuck", "the worker ended")
    return told[0] if told else "nothing was told"


def _fields(fields: dict[str, Any], world: World) -> str:
    document = json.loads(json.dumps(_SEGMENT)) | fields
    pid = world.worker().pid
    answer = world.ask(document.pop("request"), **document)
    if world.logic.worker._pid != pid:
        raise Violation("stuck", "the worker ended")
    return str(answer.get("message", "it was done"))
