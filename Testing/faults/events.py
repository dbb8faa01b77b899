"""A worker that says what no worker may, or dies between any two things that it says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from faults.fault import Fault
from faults.world import World

_Actions = Sequence[dict[str, Any]]
_EVENTS = 16  # at which a worker dies; a run has more, of the same kinds


def faults(seed: int) -> Iterator[Fault]:
    """Deaths by number of events, and events that are not the protocol's."""
    del seed
    for count in range(_EVENTS):
        yield Fault("worker dies between events", f"after {count} events", partial(_dies, count))
    yield Fault("worker dies between events", "in the middle of its result", _dies_in_result)
    yield Fault("worker dies between events", "before it greets", partial(_scripted, (), greeting=({"exit": 1},)))
    for name, line in _lines().items():
        yield Fault("events spoiled", name, partial(_scripted, ({"say": line},)))
    for name, change in _REPORTS.items():
        yield Fault("results spoiled", name, partial(_reported, change))
    for name, actions in _FLOODS.items():
        yield Fault("floods", name, partial(_scripted, actions))


_ENDLESS = '{"event": "log", "level": "info", "text": "again and again"}'
_FLOODS: dict[str, _Actions] = {
    "log lines without end": ({"flood": _ENDLESS},),
    "one line without end": ({"write": "x" * (1 << 20)},) * 40,
    "progress without end": ({"flood": '{"event": "progress", "id": 1, "step": "windows", "done": 1, "total": 9, '
                              '"seconds_left": 3}'},),
    "a million lines on stderr": ({"flood": "again", "times": 1_000_000, "stream": "stderr"}, {"exit": 3}),
    "stderr without a line's end": ({"write": "y" * (1 << 20), "stream": "stderr"},) * 30 + ({"exit": 3},),
}  # fmt: skip


def _lines() -> dict[str, str]:
    from slicer_module.test_worker_events import BAD_EVENTS, NO_EVENTS

    lines = {**BAD_EVENTS, **NO_EVENTS}
    # Events of another request, and the greeting of another worker, are none of this run's.
    return {
        name: line.replace('"id": 7', '"id": @ID@') if isinstance(line, str) else line for name, line in lines.items()
    }


def _without(key: str) -> Any:
    return lambda report: {name: value for name, value in report.items() if name != key}


def _with(key: str, value: Any) -> Any:
    return lambda report: {**report, key: value}


_REPORTS = {
    "no report": lambda report: None,
    "a list for a report": lambda report: [report],
    **{f"no {key}": _without(key) for key in ("labels", "tokens", "warnings", "device", "seconds")},
    **{f"{key} of text": _with(key, "text") for key in ("labels", "tokens", "warnings", "device", "seconds")},
    **{f"{key} of a number": _with(key, 10**30) for key in ("labels", "tokens", "warnings", "device", "seconds")},
    "labels without values": lambda report: {**report, "labels": [{"name": "x"}]},
    "voxels of text": lambda report: {**report, "labels": [{**report["labels"][0], "voxels": "many"}]},
    "values that are lists": lambda report: {**report, "labels": [{**report["labels"][0], "value": [1]}]},
    "tokens of 400 digits": lambda report: {**report, "tokens": {**report["tokens"], "count": 10**400}},
    "stages of text": lambda report: {**report, "tokens": {**report["tokens"], "stages": "all"}},
}


def _dies(count: int, world: World) -> str:
    recording = _recording(world)
    return _scripted([*recording.actions(count), {"exit": 9}], world)


def _dies_in_result(world: World) -> str:
    actions = _recording(world).actions()
    last = actions[-1]["say"]
    return _scripted([*actions[:-1], {"write": last[: len(last) // 2]}, {"exit": 9}], world)


def _reported(change: Any, world: World) -> str:
    recording = _recording(world)
    return _scripted(recording.resultWith(change(deepcopy(recording.report))), world)


def _recording(world: World) -> Any:
    """A run of the real worker on the world's volume, recorded once."""
    from slicer_module.worker_scripts import Recording

    if world.recording is None:
        events: list[dict[str, Any]] = []
        folder = Path(tempfile.mkdtemp(prefix="recorded-"))

        def on_event(event: dict[str, Any]) -> None:
            if world.logic.run is not None:
                events.append(deepcopy(event))
                if event["event"] == "result":
                    for path in world.logic.run._folder.iterdir():
                        (folder / path.name).write_bytes(path.read_bytes())

        world.logic.worker.event.connect(on_event)
        try:
            world.disturbed(lambda: None, 0)
        finally:
            world.logic.worker.event.disconnect(on_event)
        world.restore()
        own = tuple(event for event in events if event["id"] == events[-1]["id"])
        world.recording = Recording(own, folder)
    return world.recording


def _scripted(actions: _Actions, world: World, greeting: _Actions | None = None) -> str:
    """A run with a worker that does this."""
    from slicer_module.worker_scripts import GREETING, scripted

    with (
        tempfile.TemporaryDirectory(prefix="script-") as folder,
        scripted(world.widget, Path(folder), list(actions), greeting or GREETING),
    ):
        return world.disturbed(lambda: None, 0)
