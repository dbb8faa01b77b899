"""Whatever a worker process sends, the run ends with a sentence, nothing is changed, and the next Apply works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import slicer

from embedded_slicer.gui import pythonqt
from measure_panel import Heartbeat
from SCDSegmentationLib import worker_process
from SCDSegmentationLib.worker_events import BadEventError, NoEventError, isOwn, ownProcess, parseEvent
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until
from slicer_module.test_faults import ready
from slicer_module.worker_scripts import GREETING, READY, SCRIPTED, WINDOW, scripted, started, worker

AGAIN = "and was stopped. Press Apply to start it again"
GARBAGE = "sent what cannot be understood ("
LONGEST_BLOCK_S = 0.2


def progress(**changed: Any) -> str:
    event = {"event": "progress", "id": 7, "step": "windows", "done": 1, "total": 9, "seconds_left": 3.0, **changed}
    return json.dumps({name: value for name, value in event.items() if value != "left out"})


BAD_EVENTS = {
    "unknown": '{"event": "explode", "id": 7}',
    "unhashable": '{"event": ["progress"], "id": 7}',
    "no id": progress(id="left out"),
    "id of text": progress(id="7"),
    "id of a fraction": progress(id=7.0),
    "id of truth": progress(id=True),
    "step of no text": progress(step=["windows"]),
    "done of text": progress(done="many"),
    "more done than there is": progress(done=10),
    "less than nothing done": progress(done=-1),
    "no total": progress(total=None),
    "far too much": progress(total=10**10),
    "past": progress(seconds_left=-1.0),
    "infinite": progress().replace("3.0", "1e999"),
    "a number of 400 digits": progress(more=10**400),
    "half a character": progress(step="\ud800"),
    "a zero character": progress(step="win\0dows"),
    "nested": progress().replace("3.0", "[" * 40 + "]" * 40),
    "many values": progress(more=[0] * 250_000),
    "pid of a group": READY.replace("@PID@", "-1"),
    "pid of the system": READY.replace("@PID@", "1"),
    "pid of ourselves": READY.replace("@PID@", str(os.getpid())),
    "pid of no machine": READY.replace("@PID@", str(2**31)),
    "pid of text": READY.replace("@PID@", '"4711"'),
    "seconds of text": '{"event": "loaded", "seconds": "4.2"}',
    "log of no text": '{"event": "log", "id": 7, "level": "info", "text": 5}',
    "error without message": '{"event": "error", "id": 7, "code": "input"}',
    "error on a device without name": '{"event": "error", "id": 7, "code": "input", "message": "", "device": 1}',
    "devices of text": '{"event": "result", "id": 7, "devices": "cuda:0"}',
    "device without title": '{"event": "result", "id": 7, "devices": [{"name": "cpu", "works": true}]}',
    "partly": '{"event": "result", "id": 7, "partial": "no"}',
}
NO_EVENTS = {
    "no JSON": "Segmentation fault",
    "half": progress()[:-1],
    "not a number": progress().replace("3.0", "NaN"),
    "infinity": progress().replace("3.0", "Infinity"),
    "a list": "[1]",
    "a text": '"event"',
    "nested too deep to be read": "[" * 100_000,
    "a number of 10 000 digits": progress().replace("3.0", "9" * 10_000),
    "no name": '{"id": 7}',
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_an_event_that_is_not_as_the_protocol_has_it_is_refused(name: str) -> None:
    with pytest.raises(BadEventError):
        parseEvent(BAD_EVENTS[name].encode("utf-8", errors="surrogatepass"))


@pytest.mark.parametrize("name", NO_EVENTS)
def test_a_line_that_is_no_event_is_told_from_one(name: str) -> None:
    with pytest.raises(NoEventError):
        parseEvent(NO_EVENTS[name].encode("utf-8"))


def test_an_event_may_have_more_fields_than_are_known_and_its_texts_are_cut() -> None:
    event = parseEvent(progress(step="w" * 5000, new={"a": [1]}).encode("utf-8"))
    assert (event["done"], event["new"], len(event["step"])) == (1, {"a": [1]}, 100)
    error = parseEvent(json.dumps({"event": "error", "id": None, "code": "input", "message": "m" * 5000}).encode())
    assert error["message"] == "m" * 1999 + "…"


def fails(widget: Any, tmp_path: Path, answer: list[dict[str, Any]], **others: Any) -> str:
    """Apply with a worker that answers so, and check that all is well behind it; returns what the panel says."""
    choose(widget, add_volume())
    nodes = scene_state()
    with scripted(widget, tmp_path, answer, **others):
        message = apply(widget)
        assert ready(widget)
        assert scene_state() == nodes
    assert apply(widget).startswith("Found"), "the real worker does not work any more"
    return message


@pytest.mark.parametrize("name", ["unhashable", "far too much", "infinite", "seconds of text", "log of no text"])
def test_a_bad_event_ends_the_run(widget: Any, tmp_path: Path, name: str) -> None:
    message = fails(widget, tmp_path, [{"say": WINDOW}, {"say": BAD_EVENTS[name]}])
    assert GARBAGE in message
    assert AGAIN in message


def test_a_line_that_is_nested_too_deep_ends_the_run(widget: Any, tmp_path: Path) -> None:
    assert GARBAGE in fails(widget, tmp_path, [{"say": "[" * 100_000}])


@pytest.mark.parametrize("pid", ["-1", "0", "1", "true", str(os.getpid())])
def test_no_other_process_is_killed_whatever_number_the_worker_gives(
    widget: Any, tmp_path: Path, pid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(worker_process.os, "kill", lambda number, signal: killed.append(number))
    choose(widget, add_volume())
    nodes = scene_state()
    with scripted(widget, tmp_path, [], greeting=[{"say": READY.replace("@PID@", pid)}]):
        assert GARBAGE in apply(widget)
        assert scene_state() == nodes
    assert killed == []


def test_a_foreign_process_that_the_worker_names_survives(widget: Any, tmp_path: Path) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        greeting = [{"say": READY.replace("@PID@", str(foreign.pid))}]
        assert GARBAGE in fails(widget, tmp_path, [{"say": "Segmentation fault"}], greeting=greeting)
        with pytest.raises(subprocess.TimeoutExpired):
            foreign.wait(0.5)
    finally:
        foreign.kill()
        foreign.wait()


def test_the_worker_behind_a_launcher_is_killed_and_no_other(
    widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    kill = os.kill
    monkeypatch.setattr(worker_process.os, "kill", lambda pid, number: (killed.append(pid), kill(pid, number)))
    launcher = "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])"
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"greeting": GREETING, "answer": [{"say": "Segmentation fault"}]}), encoding="utf-8")
    choose(widget, add_volume())
    with worker(widget, "-c", launcher, SCRIPTED, script):
        assert GARBAGE in apply(widget)
    assert killed == started(tmp_path)
    wait_until(lambda: not psutil.pid_exists(killed[0]), 5)


def test_a_process_is_the_workers_only_while_it_is_below_what_was_started() -> None:
    child, sibling = (subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2))
    own = ownProcess(child.pid, os.getpid())
    assert own.pid == child.pid
    assert isOwn(own, os.getpid())
    assert isOwn(own, child.pid)
    assert not isOwn(own, sibling.pid)
    for foreign in (os.getpid(), child.pid):
        with pytest.raises(BadEventError):
            ownProcess(foreign, sibling.pid)
    child.communicate()
    assert not isOwn(own, os.getpid())
    assert ownProcess(child.pid, os.getpid()) is None
    assert ownProcess(sibling.pid, 0) is None
    sibling.communicate()


def test_a_later_process_of_the_workers_number_is_not_killed(
    widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(worker_process.os, "kill", lambda pid, number: killed.append(pid))
    choose(widget, add_volume())
    monkeypatch.setattr(psutil.Process, "is_running", lambda _: False)
    with scripted(widget, tmp_path, [{"say": "Segmentation fault"}]):
        assert GARBAGE in apply(widget)
    assert killed == []


def test_a_worker_of_another_version_is_told_from_a_broken_one(widget: Any, tmp_path: Path) -> None:
    greeting = [{"say": READY.replace('"protocol": 1', '"protocol": 2')}]
    message = fails(widget, tmp_path, [], greeting=greeting)
    assert "speaks version 2 of the protocol and the panel version 1" in message
    assert "Install the extension again" in message


def test_what_comes_before_the_worker_is_ready_is_logged_and_no_event_is(widget: Any, tmp_path: Path) -> None:
    chatter = {"say": "Switch to module: SCDSegmentation"}
    message = fails(widget, tmp_path, [], greeting=[chatter, {"say": WINDOW.replace("@ID@", "1")}])
    assert GARBAGE in message
    assert chatter["say"] in widget.panel.ui.logTextEdit.plainText


def test_events_of_requests_that_nobody_made_or_that_are_closed_are_not_heard(widget: Any, tmp_path: Path) -> None:
    foreign = '{"event": "error", "id": 4711, "code": "input", "message": "not yours"}'
    own = foreign.replace("4711", "@ID@").replace("not yours", "yours")
    heard: list[str] = []
    choose(widget, add_volume())
    with scripted(widget, tmp_path, [{"say": foreign}, {"say": own}, {"say": own}, {"exit": 0}]) as worker:
        worker.event.connect(lambda event: heard.append(event["message"]))
        assert apply(widget) == "Yours"
        wait_until(lambda: not worker.running)
    assert heard == ["yours"]


def test_a_worker_that_stalls_in_the_middle_of_a_line_can_be_cancelled(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    with scripted(widget, tmp_path, [{"say": WINDOW}, {"write": WINDOW[:40]}]):
        widget.panel.ui.applyButton.click()
        run = widget.logic.run
        wait_until(lambda: "first window" in run.seconds)
        heartbeat = Heartbeat()
        wait_until(lambda: heartbeat._last and time.perf_counter() > run._began + 1.5)
        assert widget.logic.run is run
        began = time.perf_counter()
        widget.panel.ui.applyButton.click()
        wait_until(lambda: widget.logic.run is None, 5)
        assert time.perf_counter() - began < 1.0
        assert heartbeat.stop() < LONGEST_BLOCK_S
        assert scene_state() == nodes
    assert apply(widget).startswith("Found")


FLOODS = {
    "progress": ([{"say": WINDOW}, {"flood": WINDOW}], "sent more than can be read and was stopped"),
    "empty lines": ([{"flood": ""}], "sent more than can be read and was stopped"),
    "chatter": ([{"flood": "Segmentation fault"}], GARBAGE),
    "a line without an end": ([{"write": '{"event": "' + "x" * 20_000_000}], GARBAGE),
    "one large event": (
        [{"say": WINDOW.replace("3.0", '3.0, "more": [' + "{}," * 1_000_000 + "{}]")}],
        GARBAGE,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_ended_without_anybody_noticing(widget: Any, tmp_path: Path, name: str) -> None:
    answer, expected = FLOODS[name]
    choose(widget, add_volume())
    nodes = scene_state()
    longest = []
    for _ in range(3):  # the machine's other work may hold up one of them
        with scripted(widget, tmp_path, answer):
            before = psutil.Process().memory_info().rss
            widget.logic.worker.start()
            wait_until(lambda: widget.logic.worker._ready)
            heartbeat = Heartbeat()
            message = apply(widget)
            longest.append(heartbeat.stop())
            assert expected in message
            assert scene_state() == nodes
            assert psutil.Process().memory_info().rss - before < 100e6
        if longest[-1] < LONGEST_BLOCK_S:
            break
    assert min(longest) < LONGEST_BLOCK_S, longest
    assert apply(widget).startswith("Found")


ERROR = '{"event": "error", "id": @ID@, "code": "input", "message": "the end"}'
STDERR_FLOODS = {
    "a million lines": [{"flood": "warning: this is fine", "times": 1_000_000, "stream": "stderr"}, {"say": ERROR}],
    "a million empty lines": [{"flood": "", "times": 1_000_000, "stream": "stderr"}, {"say": ERROR}],
    "200 MB without an end": [{"write": "x" * 10_000_000, "stream": "stderr"}] * 20 + [{"say": ERROR}],
}


@pytest.mark.parametrize("name", STDERR_FLOODS)
def test_what_the_worker_writes_to_stderr_is_bounded_and_the_run_goes_on(
    widget: Any, tmp_path: Path, name: str
) -> None:
    choose(widget, add_volume())
    log = widget.panel.ui.logTextEdit
    log.clear()
    longest = []
    for _ in range(3):
        with scripted(widget, tmp_path, STDERR_FLOODS[name]):
            before = psutil.Process().memory_info().rss
            heartbeat = Heartbeat()
            assert apply(widget) == "The end"
            longest.append(heartbeat.stop())
            assert psutil.Process().memory_info().rss - before < 100e6
            if name == "a million lines":
                wait_until(lambda: "more lines were left out" in log.plainText, 3)
        if longest[-1] < LONGEST_BLOCK_S:
            break
    assert min(longest) < LONGEST_BLOCK_S, longest
    assert log.blockCount <= 2000
    assert max(map(len, log.plainText.splitlines())) < 1100


def test_the_log_of_the_worker_is_bounded_too(widget: Any, tmp_path: Path) -> None:
    line = json.dumps({"event": "log", "id": None, "level": "info", "text": "many words " * 1000})
    answer = [{"say": line.replace("null", "@ID@")}] * 300 + [{"say": ERROR}]
    choose(widget, add_volume())
    log = widget.panel.ui.logTextEdit
    log.clear()
    with scripted(widget, tmp_path, answer):
        assert apply(widget) == "The end"
        wait_until(lambda: "more lines were left out" in log.plainText, 3)
    lines = log.plainText.splitlines()
    assert sum("many words" in each for each in lines) <= 200
    assert max(map(len, lines)) < 1100


def test_all_that_was_said_before_the_end_is_heard_in_its_order(widget: Any, tmp_path: Path) -> None:
    """Also when it takes many turns of the event loop, and the process is gone long before."""
    windows = [WINDOW.replace('"done": 1, "total": 9', f'"done": {n}, "total": 400') for n in range(401)]
    answer = [{"say": window} for window in windows] + [{"exit": 3}]
    seen: list[int] = []
    choose(widget, add_volume())
    with scripted(widget, tmp_path, answer) as worker:
        worker.event.connect(lambda event: (seen.append(event["done"]), time.sleep(0.004)))
        heartbeat = Heartbeat()
        assert "ended unexpectedly" in apply(widget)
        assert heartbeat.stop() < 0.8, "all events, 1.6 s of them, were handled in few turns of the event loop"
    assert seen == list(range(401))


def test_an_error_of_one_who_listens_does_not_keep_the_rest_from_being_heard(
    widget: Any, recording: Any, tmp_path: Path
) -> None:
    """Also when all of a run is there at once."""
    ended: list[Any] = []
    before = len(pythonqt.failures)
    with scripted(widget, tmp_path, [*recording.actions(), {"exit": 0}]):
        widget.logic.startSegmentation(
            add_volume(), model="tiny", onProgress=lambda only: None, onFinished=ended.append, onFailed=ended.append
        )
        wait_until(lambda: ended)
    assert ended[0].report == recording.report
    assert len(pythonqt.failures) > before
    assert all(isinstance(failure, TypeError) for failure in pythonqt.failures[before:])
    del pythonqt.failures[before:]


def test_a_file_in_the_current_folder_is_never_run(
    widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "was run"
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("queue", "json", "torch", "safetensors", "monai"):
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n", encoding="utf-8")
    widget.logic.stopWorker()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", ""))  # an empty part: this folder
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")
    assert not marker.exists()
    widget.logic.stopWorker()


def test_devices_that_cannot_be_understood_leave_the_list_as_it_is(widget: Any, tmp_path: Path) -> None:
    ui = widget.panel.ui
    wait_until(lambda: ui.deviceComboBox.findData("cpu") >= 0, 60)
    before = ui.deviceComboBox.count
    hostile = json.dumps({"event": "result", "id": 1, "devices": [{"name": "cpu", "title": 5, "works": True}]})
    with scripted(widget, tmp_path, [], greeting=[*GREETING, {"say": hostile}]) as worker:
        failed: list[Any] = []
        worker.failed.connect(failed.append)
        widget.logic.probe()
        wait_until(lambda: failed, 10)
        assert GARBAGE in str(failed[0])
        assert widget.logic._probeId is None
    assert ui.deviceComboBox.count == before
    assert slicer.mrmlScene.GetNumberOfNodes() > 0


def test_a_worker_that_is_asked_to_end_by_others_is_no_users_cancel(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    line = '{"event": "error", "id": @ID@, "code": "cancelled", "message": "cancelled: nothing was written"}'
    with scripted(widget, tmp_path, [{"say": WINDOW}, {"say": line}]):
        message = apply(widget)
    assert message.startswith("The segmentation process was ended by the system or by another program: press Apply")
    assert scene_state() == nodes
