"""Lines that are no requests are refused before any work, and the worker goes on."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from scdseg.worker.requests import ProtocolError, parse_request

SEGMENT = {"request": "segment", "id": 7, "images": ["a.nrrd"], "model": "m", "outputs": {"labels": "o.nrrd"}}
SWEEP = {
    "request": "sweep",
    "id": 7,
    "images": ["a.nrrd"],
    "model": "m",
    "keep_ratios": [1],
    "outputs": {"folder": "f"},
}
INFLUENCE = {**SEGMENT, "request": "influence", "outputs": {"influence": "i.nrrd"}}


def changed(request: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({**request, **fields}).encode()


BAD_LINES = {
    "empty line": (b"", None, "is not JSON"),
    "no JSON": (b"segment a.nrrd", None, "is not JSON"),
    "no UTF-8": (b'{"id": 7, "request": "\xff"}', None, "is not JSON"),
    "too deep": (b"[" * 100_000, None, "is not JSON"),
    "NaN": (b'{"id": 7, "request": "cancel", "target": NaN}', None, "NaN is not a number that JSON has"),
    "no object": (b"[1, 2]", None, "holds no JSON object"),
    "no request": (
        b'{"id": 7}',
        7,
        "request None is unknown: use one of probe, segment, sweep, influence, cancel, quit",
    ),
    "unknown request": (b'{"id": 7, "request": "dance"}', 7, "request 'dance' is unknown"),
    "request of wrong kind": (b'{"id": 7, "request": ["probe"]}', 7, "request ['probe'] is unknown"),
    "no id": (b'{"request": "probe"}', None, "probe lacks the field 'id'"),
    "id of wrong kind": (b'{"id": "7", "request": "probe"}', None, "field 'id' of probe is '7': give a whole number"),
    "true as id": (b'{"id": true, "request": "probe"}', None, "field 'id' of probe is True"),
    "unknown field": (changed(SEGMENT, keepratio=0.5), 7, "segment has no field 'keepratio'"),
    "missing field": (b'{"id": 7, "request": "cancel"}', 7, "cancel lacks the field 'target'"),
    "no image": (changed(SEGMENT, images=[]), 7, "field 'images' of segment is []"),
    "one image as text": (changed(SEGMENT, images="a.nrrd"), 7, "field 'images' of segment is 'a.nrrd'"),
    "a path that is none": (changed(SEGMENT, images=["a\0.nrrd"]), 7, "field 'images' of segment"),
    "no output": (changed(SEGMENT, outputs={}), 7, "field 'outputs' of segment is {}"),
    "unknown output": (changed(SEGMENT, outputs={"mask": "o.nrrd"}), 7, "field 'outputs' of segment"),
    "ratio as text": (changed(SEGMENT, keep_ratio="0.5"), 7, "field 'keep_ratio' of segment is '0.5'"),
    "infinite ratio": (changed(SEGMENT, keep_ratio=0).replace(b": 0", b": 1e999"), 7, "field 'keep_ratio' of segment"),
    "ratio of 400 digits": (changed(SEGMENT, keep_ratio=10**400), 7, "field 'keep_ratio' of segment is 1000"),
    "compress as number": (changed(SEGMENT, compress=1), 7, "field 'compress' of segment is 1: give true or false"),
    "no threads": (
        changed(SEGMENT, threads=0),
        7,
        "field 'threads' of segment is 0: give a whole number from 1 or null",
    ),
    "half a thread": (changed(SWEEP, threads=1.5), 7, "field 'threads' of sweep is 1.5"),
    "true as threads": (changed(SEGMENT, threads=True), 7, "field 'threads' of segment is True"),
    "no ratios": (changed(SWEEP, keep_ratios=[]), 7, "field 'keep_ratios' of sweep is []"),
    "null among ratios": (changed(SWEEP, keep_ratios=[1, None]), 7, "field 'keep_ratios' of sweep"),
    "tolerance as text": (changed(SWEEP, tolerance="high"), 7, "field 'tolerance' of sweep is 'high': give a number"),
    "influence of a label that is none": (changed(INFLUENCE, label=1.5), 7, "field 'label' of influence is 1.5"),
    "influence with other outputs": (changed(INFLUENCE, outputs={"labels": "o.nrrd"}), 7, "of influence"),
    "sweep without folder": (changed(SWEEP, outputs={"labels": "o.nrrd"}), 7, "field 'outputs' of sweep"),
}


def test_no_half_of_a_character_is_a_path_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one of those that stand for bytes elsewhere; Windows's own encoding would let all of them through."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("utf-8", "surrogatepass"))
    assert parse_request(changed(SEGMENT, images=["größer 体积.nrrd"])).id == 7
    for name in ("\ud800", "a\udfff", "a\udcff"):
        with pytest.raises(ProtocolError, match="field 'images' of segment"):
            parse_request(changed(SEGMENT, images=[name]))


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_line_that_is_no_request_is_one_protocol_error(worker: Any, kind: str) -> None:
    line, request_id, message = BAD_LINES[kind]
    worker.send_line(line)
    error, before = worker.wait_for(lambda event: event["event"] == "error")
    assert before == []
    assert error["code"] == "protocol"
    assert error["id"] == request_id
    assert message in error["message"]
    assert len(error["message"]) < 600


def test_the_worker_still_answers_after_all_of_them(worker: Any) -> None:
    for line, _, _ in BAD_LINES.values():
        worker.send_line(line)
    answer, before = worker.closing(worker.send("probe"))
    assert answer["event"] == "result"
    assert [event["code"] for event in before] == ["protocol"] * len(BAD_LINES)
