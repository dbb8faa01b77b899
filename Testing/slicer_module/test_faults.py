"""Whatever goes wrong, the panel stays usable, says what happened and what to do, and leaves scene and disk as before.

That no temporary files are left is checked after every test by the ``widget`` fixture, whose temporary folder has
spaces and letters beyond ASCII in its name.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import slicer

from SCDSegmentationLib import run_folder
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.worker_process import WorkerProcess
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until

FAKE = Path(__file__).with_name("fake_worker.py")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


def ready(widget: Any) -> bool:
    ui = widget.panel.ui
    return ui.applyButton.text == "Apply" and ui.applyButton.enabled and not ui.progressBar.isVisibleTo(ui.progressBar)


def running(widget: Any) -> Any:
    """Click Apply and wait until the worker is at the windows."""
    widget.panel.ui.applyButton.click()
    run = widget.logic.run
    wait_until(lambda: "first window" in run.seconds or widget.logic.run is None, 60)
    assert widget.logic.run is run, widget.panel.ui.statusLabel.text
    return run


def slow(widget: Any) -> Any:
    """A volume that takes the tiny model a while, so that a test can interfere."""
    volume = add_volume("slow", (120, 120, 120))
    choose(widget, volume, "tiny", 1.0)
    widget.panel.ui.overlapSlider.setValue(0.9)
    return volume


@pytest.fixture
def slow_run(widget: Any) -> tuple[Any, Any, list[tuple[str, str]]]:
    volume = slow(widget)
    nodes = scene_state()
    return widget, volume, nodes


def worker_pid(widget: Any) -> int:
    return widget.logic.worker._pid


@contextmanager
def misbehaving(widget: Any, manner: str) -> Iterator[None]:
    """Let the panel have a worker that behaves in some manner."""
    logic, good = widget.logic, widget.logic.worker
    logic.stopWorker()
    bad = WorkerProcess(sys.executable, [str(FAKE), manner])
    bad.log.connect(logic.log.emit)
    logic.worker = bad
    try:
        yield
    finally:
        bad.stop()
        logic.worker = good


MANNERS = {
    "garbage": "sent what cannot be understood ('\ufffd\ufffd segment fault at 0x00 ') and was stopped",
    "endless line": "sent what cannot be understood ('xxxx",
    "exits": "ended unexpectedly; it may have run out of memory. Press Apply to start it again",
    "never starts": "Its last words: libtorch is missing",
    "wrong event": "sent an event that cannot be understood ('report')",
    "wrong step": "sent what cannot be understood",
    "internal error": "Internal error: device-side assert",
    "no files": "labels.nrrd cannot be read: press Apply to run again",
}


@pytest.mark.parametrize("manner", MANNERS)
def test_a_misbehaving_worker_ends_in_a_message_and_a_usable_panel(widget: Any, manner: str) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    with misbehaving(widget, manner):
        assert MANNERS[manner] in apply(widget)
        assert ready(widget)
        assert scene_state() == nodes
    assert apply(widget).startswith("Found"), "the real worker does not work any more"


@posix
def test_a_worker_that_is_killed_is_started_anew_by_the_next_apply(slow_run: tuple[Any, Any, Any]) -> None:
    widget, _, nodes = slow_run
    running(widget)
    os.kill(worker_pid(widget), signal.SIGKILL)
    wait_until(lambda: widget.logic.run is None, 5)
    assert "ended unexpectedly" in widget.panel.ui.statusLabel.text
    assert ready(widget)
    assert scene_state() == nodes
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")


@posix
def test_a_worker_that_died_while_nothing_ran_costs_no_click(widget: Any) -> None:
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")
    pid = worker_pid(widget)
    os.kill(pid, signal.SIGKILL)
    # At once: Qt has not heard of it.
    assert apply(widget).startswith("Found")
    assert worker_pid(widget) != pid


def test_cancel_gives_the_panel_back_within_a_second_and_leaves_the_scene(slow_run: tuple[Any, Any, Any]) -> None:
    widget, _, nodes = slow_run
    running(widget)
    pid = worker_pid(widget)
    assert widget.panel.ui.applyButton.text == "Cancel"
    began = time.perf_counter()
    widget.panel.ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 5)
    assert time.perf_counter() - began < 1.0
    assert widget.panel.ui.statusLabel.text == "The segmentation was cancelled; the scene is as it was."
    assert ready(widget)
    assert scene_state() == nodes
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")
    assert worker_pid(widget) == pid, "the worker should have been kept"


@posix
def test_cancel_ends_a_worker_that_does_not_answer(slow_run: tuple[Any, Any, Any]) -> None:
    widget, _, nodes = slow_run
    running(widget)
    pid = worker_pid(widget)
    os.kill(pid, signal.SIGSTOP)
    began = time.perf_counter()
    widget.panel.ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 5)
    assert time.perf_counter() - began < 1.0
    assert ready(widget)
    assert scene_state() == nodes
    wait_until(lambda: not alive(pid), 5)
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_cancel_before_the_worker_has_started_is_at_once(widget: Any) -> None:
    widget.logic.stopWorker()
    choose(widget, add_volume())
    nodes = scene_state()
    widget.panel.ui.applyButton.click()
    widget.panel.ui.applyButton.click()
    wait_until(lambda: widget.logic.run is None, 1)
    assert scene_state() == nodes
    assert apply(widget).startswith("Found")


def test_a_model_that_is_gone_is_named(widget: Any, tiny_models: Path, tmp_path: Path) -> None:
    gone = tiny_models / "gone"
    shutil.copytree(tiny_models / "tiny", gone)
    widget.panel.models.refresh()
    choose(widget, add_volume(), "gone")
    nodes = scene_state()
    shutil.rmtree(gone)
    widget.panel.ui.applyButton.click()
    assert widget.logic.run is None
    assert f"is no longer there ({gone}): choose another model" in widget.panel.ui.statusLabel.text
    assert scene_state() == nodes
    choose(widget, widget.panel.parameters.inputVolume, "tiny")
    assert apply(widget).startswith("Found")


def test_damaged_weights_are_named(widget: Any, tiny_models: Path) -> None:
    damaged = tiny_models / "damaged"
    shutil.copytree(tiny_models / "tiny", damaged)
    weights = damaged / "models" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    try:
        widget.panel.models.refresh()
        choose(widget, add_volume(), "damaged")
        nodes = scene_state()
        assert str(weights) in apply(widget)
        assert ready(widget)
        assert scene_state() == nodes
    finally:
        shutil.rmtree(damaged)


def test_deleting_the_input_cancels(slow_run: tuple[Any, Any, Any]) -> None:
    widget, volume, _ = slow_run
    running(widget)
    slicer.mrmlScene.RemoveNode(volume)
    left = scene_state()
    wait_until(lambda: widget.logic.run is None, 2)
    assert (
        widget.panel.ui.statusLabel.text
        == "The input volume was deleted, so the segmentation was cancelled: select another one."
    )
    assert scene_state() == left
    assert not widget.panel.ui.applyButton.enabled
    assert widget.panel.ui.applyButton.toolTip == "Select an input volume."


def test_closing_the_scene_cancels(slow_run: tuple[Any, Any, Any], host: Any) -> None:
    widget, _, _ = slow_run
    running(widget)
    host.clear_scene()
    empty = scene_state()
    wait_until(lambda: widget.logic.run is None, 2)
    assert (
        widget.panel.ui.statusLabel.text
        == "The scene was closed, so the segmentation was cancelled: load a volume to start anew."
    )
    assert scene_state() == empty
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")


def test_a_second_segmentation_is_refused_and_the_first_goes_on(slow_run: tuple[Any, Any, Any]) -> None:
    widget, volume, _ = slow_run
    run = running(widget)
    with pytest.raises(SegmentationError, match="A segmentation is running: wait for it, or cancel it"):
        widget.logic.startSegmentation(volume, model="tiny")
    assert widget.logic.run is run


def test_another_model_may_be_chosen_during_a_run_for_the_next_one(widget: Any) -> None:
    volume = add_volume(shape=(60, 60, 60))
    choose(widget, volume, "tiny", 1.0)
    run = running(widget)
    choose(widget, volume, "tiny4")
    wait_until(lambda: widget.logic.run is None, 60)
    assert run.request.model.name == "tiny"
    assert widget.panel.ui.statusLabel.text.startswith("Found")
    assert widget.panel.parameters.model == "tiny4"
    assert widget.panel.ui.applyButton.toolTip == "T2: Select an input volume."


def test_a_full_disk_is_told_before_anything_is_written(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    usage = SimpleNamespace(free=10)
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage)
    widget.panel.ui.applyButton.click()
    assert "has 0 MB left, but 0 MB are needed: free disk space" in widget.panel.ui.statusLabel.text
    assert scene_state() == nodes


@posix
def test_a_disk_that_fills_up_while_writing_is_told(widget: Any) -> None:
    choose(widget, add_volume(shape=(80, 80, 80)))
    nodes = scene_state()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        message = apply(widget)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Temporary files cannot be written to" in message
    assert "free disk space" in message
    assert ready(widget)
    assert scene_state() == nodes
    widget.logic.stopWorker()  # it may have inherited the limit
    assert apply(widget).startswith("Found")


def test_a_temporary_folder_that_cannot_be_made_is_told(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    before = slicer.app.temporaryPath
    (tmp_path / "file").touch()
    slicer.app.temporaryPath = str(tmp_path / "file")
    widget.panel.ui.applyButton.click()
    slicer.app.temporaryPath = before
    assert "cannot be used" in widget.panel.ui.statusLabel.text
    assert widget.logic.run is None


def test_what_a_crashed_application_left_is_removed_by_a_later_run(widget: Any) -> None:
    folder = Path(slicer.app.temporaryPath)
    old, new, foreign = folder / "scdseg-run-old", folder / "scdseg-run-new", folder / "scdseg-run-notes"
    for path in (old, new, foreign):
        path.mkdir()
        (path / ("thesis.txt" if path == foreign else "input_0.nrrd")).touch()
    for path in (old, foreign):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    choose(widget, add_volume())
    apply(widget)
    assert not old.exists()
    assert new.exists(), "it may belong to another Slicer that is running"
    assert foreign.exists(), "it holds what no run writes"
    shutil.rmtree(new)
    shutil.rmtree(foreign)


@posix
def test_a_python_that_cannot_be_executed_is_told(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    nodes = scene_state()
    logic, good = widget.logic, widget.logic.worker
    (tmp_path / "python").write_text("no program", encoding="utf-8")
    logic.worker = WorkerProcess(str(tmp_path / "python"))
    try:
        widget.panel.ui.applyButton.click()
        wait_until(lambda: logic.run is None, 5)
        assert "could not be started" in widget.panel.ui.statusLabel.text
        assert ready(widget)
        assert scene_state() == nodes
    finally:
        logic.worker = good


def test_a_volume_that_is_moved_during_the_run_is_refused(slow_run: tuple[Any, Any, Any]) -> None:
    widget, volume, nodes = slow_run
    widget.panel.ui.overlapSlider.setValue(0.0)
    running(widget)
    volume.SetOrigin(300, 0, 0)
    wait_until(lambda: widget.logic.run is None, 60)
    assert "changed its geometry during the run" in widget.panel.ui.statusLabel.text
    assert scene_state() == nodes


def constant() -> Any:
    volume = add_volume()
    slicer.util.arrayFromVolume(volume)[:] = 7
    return volume


def test_what_the_engine_refuses_is_told_with_the_name_of_the_volume(widget: Any) -> None:
    choose(widget, constant())
    nodes = scene_state()
    message = apply(widget)
    assert message.startswith("Volume 'head' is empty: every voxel has the value 7")
    assert str(slicer.app.temporaryPath) not in message
    assert scene_state() == nodes


def test_a_volume_without_image_cannot_be_applied(widget: Any) -> None:
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    choose(widget, empty)
    button = widget.panel.ui.applyButton
    assert not button.enabled
    assert button.toolTip == "The volume 'empty' has no image data: load it again or select another volume."
    with pytest.raises(SegmentationError, match="has no image data"):
        widget.logic.segment(empty, model="tiny")


def test_restarting_the_worker_during_a_run_ends_the_run(slow_run: tuple[Any, Any, Any]) -> None:
    widget, _, nodes = slow_run
    running(widget)
    pid = worker_pid(widget)
    widget.panel.ui.restartWorkerButton.click()
    assert widget.logic.run is None
    wait_until(lambda: not alive(pid), 5)
    assert scene_state() == nodes
    choose(widget, add_volume())
    assert apply(widget).startswith("Found")


def test_without_a_python_the_panel_says_so(widget: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    logic, good = widget.logic, widget.logic.worker
    logic.worker = WorkerProcess(str(tmp_path / "PythonSlicer"))
    try:
        widget.panel.ui.applyButton.click()
        assert "was not found, so the segmentation process cannot start" in widget.panel.ui.statusLabel.text
        assert ready(widget)
    finally:
        logic.worker = good
