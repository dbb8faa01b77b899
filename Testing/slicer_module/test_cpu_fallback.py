"""A run that fails on a GPU goes on with the CPU, once, if that is allowed, and only then."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import slicer

from SCDSegmentationLib.errors import SegmentationError
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until
from slicer_module.sweep_helpers import compare, explorer
from slicer_module.test_faults import ready
from slicer_module.worker_scripts import scripted, started, worker

GPU_WORKER = Path(__file__).with_name("gpu_worker.py")
HINT = "Or allow the CPU under Advanced."
GOING_ON = "going on with the CPU, as allowed under Advanced."


def progress(step: str, device: str | None = "cuda:0") -> dict[str, str]:
    event = {"event": "progress", "step": step, "done": 0, "total": 9, "seconds_left": None, "device": device}
    return {"say": json.dumps(event)[:-1] + ', "id": @ID@}'}


def error(code: str, message: str, device: str | None = "cuda:0") -> dict[str, str]:
    event = {"event": "error", "code": code, "message": message, "device": device}
    return {"say": json.dumps(event)[:-1] + ', "id": @ID@}'}


LOST = "device cuda:0 failed while computing"
# What a worker says before its GPU has failed, and what the panel says then.
FAILURES = {
    "before the model is loaded": ([error("device", LOST)], LOST),
    "in the windows": ([progress("load model"), progress("windows"), error("device", LOST)], LOST),
    "memory": ([progress("windows"), error("resource", "memory ran out")], "memory ran out"),
    "an error of the program": ([progress("load model"), error("internal", "assert", None)], "assert"),
    "its process dies": ([progress("windows"), {"exit": 139}], "ended unexpectedly"),
}
NO_FAILURES = {
    "on the CPU": [progress("windows", "cpu"), error("device", "scores are not numbers", "cpu")],
    "on the CPU by death": [progress("windows", "cpu"), {"exit": 139}],
    "nobody knows where": [progress("windows", None), error("device", "no device", None)],
    "a disk that is full": [progress("windows"), progress("write"), error("resource", "the disk is full")],
    "memory for the volume": [progress("read"), error("resource", "too little memory for the volume")],
    "an image": [progress("windows"), error("input", "the image is empty")],
}


@pytest.fixture
def gpu(widget: Any, recording: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that gives the panel a worker that fails so on a GPU, and on the CPU does what the real one did."""
    choose(widget, add_volume())
    widget.panel.ui.logTextEdit.clear()

    @contextmanager
    def failing(answer: list[dict[str, Any]], allowed: bool = True, cpu: Any = None) -> Iterator[Any]:
        widget.panel.ui.cpuFallbackCheckBox.setChecked(allowed)
        with scripted(widget, tmp_path, answer, cpu=recording.actions() if cpu is None else cpu) as process:
            yield process

    yield failing
    widget.panel.ui.cpuFallbackCheckBox.setChecked(False)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", FAILURES)
def test_a_run_goes_on_with_the_cpu_if_that_is_allowed(widget: Any, gpu: Any, tmp_path: Path, name: str) -> None:
    answer, words = FAILURES[name]
    with gpu(answer):
        widget.panel.ui.applyButton.click()
        run = widget.logic.run
        steps: list[str] = []
        run.progress.connect(lambda step, *_: steps.append(step))
        wait_until(lambda: widget.logic.run is None)
        assert widget.panel.ui.statusLabel.text.startswith("Found"), widget.panel.ui.statusLabel.text
        first, second = started(tmp_path)
        assert not alive(first), "a GPU that was lost stays lost to its process"
        assert alive(second)
        log = widget.panel.ui.logTextEdit.plainText
        assert log.count(GOING_ON) == 1
        assert words in log.lower()
        assert steps[-1] == "write", "progress goes on"
        assert run.request.device == "cpu"
        assert not run._folder.exists()


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_not_allowed_is_not_done_but_told(widget: Any, gpu: Any, tmp_path: Path, name: str) -> None:
    answer, words = FAILURES[name]
    nodes = scene_state()
    with gpu(answer, allowed=False):
        message = apply(widget)
        assert words in message.lower()
        assert message.endswith(HINT)
        assert len(started(tmp_path)) == 1
        assert scene_state() == nodes
        assert ready(widget)


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("name", NO_FAILURES)
def test_what_is_no_failure_of_a_gpu_is_not_tried_again(
    widget: Any, gpu: Any, tmp_path: Path, name: str, allowed: bool
) -> None:
    with gpu(NO_FAILURES[name], allowed):
        message = apply(widget)
        assert not message.startswith("Found")
        assert HINT not in message
        assert len(started(tmp_path)) == 1
        assert GOING_ON not in widget.panel.ui.logTextEdit.plainText


def test_an_error_on_the_cpu_is_the_one_that_is_told(widget: Any, gpu: Any, tmp_path: Path) -> None:
    nodes = scene_state()
    ends = [progress("windows", "cpu"), error("resource", "memory ran out on the CPU", "cpu")]
    with gpu(FAILURES["in the windows"][0], cpu=ends):
        assert apply(widget) == "Memory ran out on the CPU"
        assert len(started(tmp_path)) == 2
        assert scene_state() == nodes
        assert ready(widget)


def test_it_is_tried_once_even_if_the_worker_goes_on_naming_a_gpu(widget: Any, gpu: Any, tmp_path: Path) -> None:
    with gpu(FAILURES["in the windows"][0], cpu=FAILURES["in the windows"][0]):
        assert LOST in apply(widget).lower()
        assert len(started(tmp_path)) == 2


def test_a_device_that_was_asked_for_by_name_needs_no_word_of_the_worker(widget: Any, gpu: Any, tmp_path: Path) -> None:
    with gpu([error("device", "there is no device cuda:0", None)]):
        widget.panel.parameters.device = "cuda:0"
        try:
            assert apply(widget).startswith("Found")
        finally:
            widget.panel.parameters.device = "auto"
        assert len(started(tmp_path)) == 2


def test_cancel_works_before_and_after_the_change(widget: Any, gpu: Any, tmp_path: Path) -> None:
    nodes = scene_state()
    for answer in ([progress("windows")], FAILURES["in the windows"][0]):
        with gpu(answer, cpu=[]):
            widget.panel.ui.applyButton.click()
            run = widget.logic.run
            if len(answer) > 1:
                wait_until(lambda run=run: run.request.device == "cpu" and widget.logic.worker._ready)
            else:
                wait_until(lambda run=run: "first window" in run.seconds)
            began = time.perf_counter()
            widget.panel.ui.applyButton.click()
            wait_until(lambda: widget.logic.run is None, 5)
            assert time.perf_counter() - began < 1.0
            assert widget.panel.ui.statusLabel.text == "The segmentation was cancelled; the scene is as it was."
            assert scene_state() == nodes


def test_cancel_in_the_very_turn_of_the_change_ends_the_run(widget: Any, gpu: Any, tmp_path: Path) -> None:
    with gpu(FAILURES["in the windows"][0]):
        widget.panel.ui.applyButton.click()
        run = widget.logic.run
        run.progress.connect(lambda *_: run.cancel() if run.request.device == "cpu" else None)
        wait_until(lambda: widget.logic.run is None)
        assert widget.panel.ui.statusLabel.text == "The segmentation was cancelled; the scene is as it was."
        assert len(started(tmp_path)) == 1


def test_a_restart_by_the_user_is_no_failure_of_the_gpu(widget: Any, gpu: Any) -> None:
    with gpu([progress("windows")]):
        widget.panel.ui.applyButton.click()
        run = widget.logic.run
        wait_until(lambda: "first window" in run.seconds)
        widget.panel.ui.restartWorkerButton.click()
        assert widget.logic.run is None
        assert GOING_ON not in widget.panel.ui.logTextEdit.plainText


def test_scripts_allow_it_with_an_argument(widget: Any, gpu: Any) -> None:
    volume = widget.panel.parameters.inputVolume
    with gpu(FAILURES["memory"][0], allowed=False):
        with pytest.raises(SegmentationError, match="Memory ran out"):
            widget.logic.segment(volume, model="tiny")
        results = widget.logic.segment(volume, model="tiny", cpuFallback=True)
        assert results.report["device"]["type"] == "cpu"


def test_the_real_worker_begins_again_on_the_cpu_with_the_same_files(
    widget: Any, gpu: Any, recording: Any, tmp_path: Path
) -> None:
    """And a comparison does so before its first row, not after it."""
    widget.panel.ui.cpuFallbackCheckBox.setChecked(True)
    with worker(widget, GPU_WORKER, "windows", tmp_path / "pids"):
        assert compare(widget, "0.5, 0.25").startswith("Compared 2 keep ratios")
        assert len(started(tmp_path)) == 2
        assert apply(widget).startswith("Found")
        assert widget.panel.parameters.segmentation is not None
        assert len(started(tmp_path)) == 3
    (tmp_path / "pids").unlink()
    with worker(widget, GPU_WORKER, "after a row", tmp_path / "pids"):
        message = compare(widget, "1, 0.5")
        assert LOST in message.lower()
        assert HINT not in message
        assert len(started(tmp_path)) == 1
        assert [row.keepRatio for row in explorer(widget).sweep.rows] == [1.0]


def test_the_choice_is_saved_with_the_scene_and_is_off_at_first(widget: Any, host: Any, tmp_path: Path) -> None:
    choose(widget, add_volume())
    box = widget.panel.ui.cpuFallbackCheckBox
    assert not box.checked
    assert not widget.panel.parameters.cpuFallback
    box.setChecked(True)
    assert widget.panel.parameters.cpuFallback
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    host.clear_scene()
    assert not box.checked
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert box.checked
