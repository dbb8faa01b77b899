"""What a worker tells of a result is checked whole before anything of the scene is touched."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import slicer

from embedded_slicer.gui import pythonqt
from SCDSegmentationLib import results as results_module
from SCDSegmentationLib.run_folder import makeFolder
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until
from slicer_module.sweep_helpers import compare, explorer
from slicer_module.test_faults import ready
from slicer_module.worker_scripts import scripted


def changed(report: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The report with another value, or without one, at a path such as ``tokens.stages.0.in``."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = report
    for part in parents:
        inner = inner[part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return report


CHANGES: dict[str, tuple[str, Any]] = {
    "no labels": ("labels", None),
    "labels that are no list": ("labels", {"value": 2}),
    "voxels of text": ("labels.0.voxels", "many"),
    "voxels of truth": ("labels.0.voxels", True),
    "a value that the model does not have": ("labels.0.value", 99),
    "a label twice": ("labels.1.value", 2),
    "a name of a number": ("labels.0.name", 5),
    "a name that fills the screen": ("labels.0.name", "x" * 100_000),
    "ml of a list": ("labels.0.ml", [1.0]),
    "more tokens than a table holds": ("tokens.labels.0.tokens", 2**40),
    "a stage too many": ("tokens.stages", [{"after_block": 1, "in": 1, "kept": 1, "pruned": 0}] * 3),
    "too few shares": ("tokens.outside.kept", [0.5]),
    "a window without stages": ("tokens_per_stage.scored", []),
    "no tokens": ("tokens", None),
    "a structure that was not found": ("tokens.labels.0.value", 3),
    "no device": ("device", None),
    "a device without a name": ("device", {}),
    "a warning of a number": ("warnings", [5]),
    "ten thousand warnings": ("warnings", ["careful"] * 10_000),
    "no hash": ("model.sha256", None),
    "seconds of text": ("seconds.total", "fast"),
    "versions of a list": ("versions", ["0.1"]),
    "size of text": ("windows.size", "16"),
    "nested": ("windows.more", json.loads("[" * 500 + "]" * 500)),
    "a number of 400 digits": ("labels.0.voxels", 10**400),
}


def content(widget: Any) -> list[Any]:
    """Voxels of the segments, by name."""
    parameters = widget.panel.parameters
    segmentation = parameters.segmentation
    return [
        (
            segmentation.GetSegmentation().GetSegment(name).GetName(),
            slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, parameters.inputVolume).tobytes(),
        )
        for name in segmentation.GetSegmentation().GetSegmentIDs()
    ]


def test_a_report_that_lacks_something_changes_nothing(widget: Any, recording: Any, tmp_path: Path) -> None:
    """Each change of a good report; the good one itself passes, so that it is the change that is refused."""
    choose(widget, add_volume())
    with scripted(widget, tmp_path, recording.actions()):
        assert apply(widget).startswith("Found")
    before, nodes = content(widget), scene_state()
    importance = slicer.util.arrayFromVolume(widget.panel.parameters.importance).copy()
    wrong: list[str] = []
    for name, (path, value) in CHANGES.items():
        with scripted(widget, tmp_path, recording.resultWith(changed(recording.report, path, value))):
            message = apply(widget)
        if "cannot be understood" not in message or "press apply to start it again" not in message.lower():
            wrong.append(f"{name}: {message}")
        assert content(widget) == before, name
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(widget.panel.parameters.importance), importance)
        assert scene_state() == nodes, name
        assert ready(widget)
    assert wrong == []


@pytest.mark.parametrize("report", [None, [], "report", 5, {}, {"labels": [[[]]]}])
def test_what_is_no_report_is_refused(widget: Any, recording: Any, tmp_path: Path, report: Any) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    with scripted(widget, tmp_path, recording.resultWith(report)):
        assert "sent an event that cannot be understood" in apply(widget)
        assert scene_state() == nodes


def test_a_result_is_taken_once(widget: Any, recording: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    actions = recording.actions()
    with scripted(widget, tmp_path, [*actions, *[actions[-1]] * 50, {"exit": 1}]):
        message = apply(widget)
    assert message.startswith("Found"), "the worker's end comes after the result, which does not need it"


def test_a_worker_that_dies_anywhere_in_a_run_ends_it(widget: Any, recording: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    for count in range(len(recording.events)):
        with scripted(widget, tmp_path, [*recording.actions(count)[1:], {"exit": 139}]):
            assert "ended unexpectedly" in apply(widget), count
            assert ready(widget)
            assert scene_state() == nodes
            assert list(Path(slicer.app.temporaryPath).iterdir()) == []
    with scripted(widget, tmp_path, [*recording.actions(), {"exit": 139}]):
        assert apply(widget).startswith("Found")


FILES: dict[str, Callable[[Path], None]] = {
    "labels cut short": lambda folder: os.truncate(folder / "labels.nrrd", 600),
    "labels of nothing": lambda folder: os.truncate(folder / "labels.nrrd", 0),
    "importance in place of the labels": lambda folder: shutil.copy(folder / "importance.nrrd", folder / "labels.nrrd"),
    "importance cut short": lambda folder: os.truncate(folder / "importance.nrrd", 300),
    "stages in place of the labels": lambda folder: shutil.copy(folder / "stage.nrrd", folder / "labels.nrrd"),
    "labels in place of the scores": lambda folder: shutil.copy(folder / "labels.nrrd", folder / "scores.nrrd"),
    "one score in place of two": lambda folder: shutil.copy(folder / "importance.nrrd", folder / "scores.nrrd"),
    "text": lambda folder: (folder / "survival.nrrd").write_text("survival", encoding="utf-8") and None,
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_fit_are_told(widget: Any, recording: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "files"
    shutil.copytree(recording.folder, folder)
    FILES[name](folder)
    choose(widget, add_volume())
    nodes = scene_state()
    with scripted(widget, tmp_path, [{"copy": str(folder)}, *recording.actions()[1:]]):
        message = apply(widget)
    assert "press Apply" in message
    assert "Internal error" not in message
    assert scene_state() == nodes


def test_whatever_fails_while_the_scene_is_changed_a_segmentation_keeps_what_it_holds(
    widget: Any, recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(widget, add_volume())
    with scripted(widget, tmp_path, recording.actions()):
        assert apply(widget).startswith("Found")
        before, nodes = content(widget), scene_state()

        def fail(*_: Any) -> None:
            raise RuntimeError("the scene is full")

        for name in ("prepareDisplay", "commitTables", "placeBelow"):
            with monkeypatch.context() as patch:
                patch.setattr(results_module, name, fail)
                assert apply(widget).startswith("Internal error: RuntimeError: the scene is full. Try again;")
            assert content(widget) == before, name
            assert scene_state() == nodes
            assert isinstance(pythonqt.failures.pop(), RuntimeError)
        assert apply(widget).startswith("Found")


ROW_CHANGES: dict[str, tuple[str, Any]] = {
    "a ratio that nobody asked for": ("keep_ratio", 0.7),
    "no agreement": ("agreement", None),
    "agreement of a list": ("agreement.labels", [1.0]),
    "agreement of a stranger": ("agreement.labels", {"99": 1.0}),
    "agreement of words": ("agreement.mean", "good"),
    "agreement of two": ("agreement.mean", 2.0),
    "tokens of text": ("tokens_kept", "4 2"),
    "more tokens than a table holds": ("tokens_scored", 2**40),
    "seconds below nothing": ("seconds_total", -1.0),
    "a file elsewhere": ("outputs.labels", "/etc/passwd"),
    "no file": ("outputs.scores", None),
    "a report without labels": ("report.labels", None),
}


def test_a_row_that_is_not_as_the_protocol_has_it_is_refused(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    events: list[dict[str, Any]] = []
    worker = widget.logic.worker
    worker.event.connect(events.append)
    assert compare(widget, "1, 0.5").startswith("Compared 2")
    worker.event.disconnect(events.append)
    explorer(widget).discard()
    rows = [event for event in events if event.get("partial")]
    last = next(event for event in events if event.get("partial") is False and "runs" in event)
    host_table = scene_state()

    def said(*told: dict[str, Any]) -> list[dict[str, str]]:
        lines = [
            json.dumps({**event, "id": 0}, ensure_ascii=False).replace('"id": 0', '"id": @ID@', 1) for event in told
        ]
        return [{"say": line.replace(folder, "@FOLDER@")} for line in lines]

    folder = str(Path(rows[0]["outputs"]["labels"]).parent)
    with scripted(widget, tmp_path, said(*rows, last)):
        assert compare(widget, "1, 0.5").startswith("Compared 2"), "the good rows pass"
    explorer(widget).discard()
    answers = {name: said(changed(json.loads(json.dumps(rows[0])), *change)) for name, change in ROW_CHANGES.items()}
    answers["a row twice"] = said(rows[0], rows[0])
    answers["an end without the rows"] = said(last)
    for name, answer in answers.items():
        with scripted(widget, tmp_path, answer):
            assert "cannot be understood" in compare(widget, "1, 0.5"), name
            assert scene_state() == host_table, name


def test_folders_of_applications_that_are_gone_are_removed_whatever_the_clock_says(widget: Any) -> None:
    folder = Path(slicer.app.temporaryPath)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not psutil.pid_exists(gone.pid)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine = f"scdseg-run-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}"
    hour, week, year = 3600, 7 * 24 * 3600, 365 * 24 * 3600
    # By name, with the age and whether it stays.
    folders = {
        f"{mine}-{gone.pid}-old": (hour + 60, False),
        f"{mine}-{gone.pid}-new": (hour - 60, True),
        f"{mine}-{gone.pid}-future": (-year, True),
        f"{mine}-{os.getpid()}-new": (hour - 60, True),
        # Of applications that are gone, whose numbers were given again.
        f"{mine}-{os.getpid()}-older-than-we-are": (year, False),
        f"{mine}-{other.pid}-older-than-it": (year, False),
        "scdseg-run-unnamed": (week - 60, True),
        "scdseg-run-ancient": (week + 60, False),
        f"{mine}-{10**30}-number": (week + 60, False),
        f"scdseg-run-0a1b2c3d-{gone.pid}-elsewhere": (hour + 60, True),
    }
    for name, (age, _) in folders.items():
        (folder / name).mkdir()
        (folder / name / "input_0.nrrd").touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    choose(widget, add_volume())
    widget.panel.ui.applyButton.click()
    own = widget.logic.run._folder
    assert own.name.startswith(f"{mine}-{os.getpid()}-")
    wait_until(lambda: widget.logic.run is None, 60)
    left = {path.name for path in folder.iterdir()}
    assert left == {name for name, (_, stays) in folders.items() if stays}
    for name in left:
        shutil.rmtree(folder / name)
    other.communicate()


@pytest.mark.parametrize("began", [-9 * 3600, 30 * 60, None])
def test_folders_of_an_application_that_runs_for_long_stay(
    widget: Any, monkeypatch: pytest.MonkeyPatch, began: float | None
) -> None:
    """One that began before the folder was made, at a later hour of a clock set back since, or that tells nothing."""

    def create_time(process: psutil.Process) -> float:
        if began is None:
            raise psutil.AccessDenied(process.pid)
        return time.time() + began

    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    folder = Path(slicer.app.temporaryPath) / f"scdseg-run-{machine}-{os.getpid()}-alive"
    folder.mkdir()
    os.utime(folder, (time.time() - 8 * 3600,) * 2)
    monkeypatch.setattr(psutil.Process, "create_time", create_time)
    made = makeFolder([add_volume()])
    assert folder.is_dir()
    made.rmdir()
    folder.rmdir()
