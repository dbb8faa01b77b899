"""Panels with workers that say what a test tells them to."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SCDSegmentationLib.worker_process import WorkerProcess
from slicer_module.helpers import add_volume, apply, choose

SCRIPTED = Path(__file__).with_name("scripted_worker.py")
READY = '{"event": "ready", "pid": @PID@, "protocol": 1, "version": "0"}'
GREETING = ({"say": READY}, {"say": '{"event": "loaded", "seconds": 0.1}'})
WINDOW = '{"event": "progress", "id": @ID@, "step": "windows", "done": 1, "total": 9, "seconds_left": 3.0}'


@contextmanager
def worker(widget: Any, *command: str | Path) -> Iterator[WorkerProcess]:
    """Let the panel have another worker: this command of Python."""
    logic, good = widget.logic, widget.logic.worker
    logic.stopWorker()
    logic.worker = WorkerProcess(sys.executable, [str(part) for part in command])
    logic.worker.log.connect(logic.log.emit)
    try:
        yield logic.worker
    finally:
        logic.worker.stop()
        logic.worker = good


@contextmanager
def scripted(
    widget: Any,
    folder: Path,
    answer: Sequence[dict[str, Any]],
    greeting: Sequence[dict[str, Any]] = GREETING,
    cpu: Sequence[dict[str, Any]] = (),
) -> Iterator[WorkerProcess]:
    """Let the panel have a worker that greets and answers so; see ``scripted_worker.py``."""
    script = folder / "script.json"
    actions = {"greeting": list(greeting), "answer": list(answer), "cpu": list(cpu)}
    script.write_text(json.dumps(actions), encoding="utf-8")
    with worker(widget, SCRIPTED, script) as process:
        yield process


def started(folder: Path) -> list[int]:
    """Numbers of the processes that were started with the folder's script."""
    return [int(line) for line in (folder / "pids").read_text(encoding="utf-8").split()]


@dataclass(frozen=True)
class Recording:
    """A run of the tiny model on ``add_volume()``.

    Args:
        events: of the run, in their order; the last is its result.
        folder: with the result's files.
    """

    events: tuple[dict[str, Any], ...]
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """A copy of the result's report."""
        return deepcopy(self.events[-1]["report"])

    def actions(self, count: int | None = None) -> list[dict[str, Any]]:
        """What a scripted worker does to say the first events."""
        lines = [{"say": json.dumps({**event, "id": 0}).replace('"id": 0', '"id": @ID@', 1)} for event in self.events]
        return [{"copy": str(self.folder)}, *lines[:count]]

    def resultWith(self, report: Any) -> list[dict[str, Any]]:
        """What a scripted worker does to say another report."""
        return replace(self, events=(*self.events[:-1], {**self.events[-1], "report": report})).actions()


def record(widget: Any, folder: Path) -> Recording:
    """Run once, and keep what the worker said and wrote."""
    events: list[dict[str, Any]] = []

    def onEvent(event: dict[str, Any]) -> None:
        if widget.logic.run is not None:
            events.append(deepcopy(event))
            if "report" in event:
                shutil.copytree(widget.logic.run._folder, folder)

    choose(widget, add_volume())
    widget.logic.worker.event.connect(onEvent)
    try:
        assert apply(widget).startswith("Found")
    finally:
        widget.logic.worker.event.disconnect(onEvent)
    return Recording(tuple(event for event in events if event["id"] == events[-1]["id"]), folder)
