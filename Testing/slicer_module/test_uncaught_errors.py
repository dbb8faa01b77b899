"""Whatever fails in a slot reaches the user as a sentence in the panel, with the details in the log."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import qt
import slicer

from embedded_slicer.gui import pythonqt
from SCDSegmentationLib import panel as panel_module
from SCDSegmentationLib import uncaught_errors, worker_process
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.uncaught_errors import UncaughtErrors
from slicer_module.helpers import add_volume, wait_until

SENTENCE = (
    "Internal error: RuntimeError: on purpose. Try again; if it comes back, press Copy diagnostic information and "
    "report it."
)


def fail(*_: Any, **__: Any) -> None:
    raise RuntimeError("on purpose")


def assert_told(widget: Any) -> None:
    """The panel says what happened and has the details; the exception goes on to the console as ever."""
    wait_until(lambda: pythonqt.failures, 10)
    assert [str(failure) for failure in pythonqt.failures] == ["on purpose"] * len(pythonqt.failures)
    assert widget.panel.ui.statusLabel.text == SENTENCE
    log = widget.panel.ui.logTextEdit.plainText
    assert "Traceback (most recent call last)" in log
    assert "in fail" in log
    assert "uncaught (internal): Internal error: RuntimeError: on purpose" in widget.logic.diagnostics()
    pythonqt.failures.clear()


def test_of_a_button(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(widget.logic, "restartWorker", fail)
        widget.panel.ui.restartWorkerButton.click()
    assert_told(widget)


def test_of_an_observer_of_a_node(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(widget.panel, "_showKeepRatio", fail)
        widget.panel.parameters.keepRatio = 0.37
    assert_told(widget)


def test_of_an_observer_of_the_scene(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(widget.panel, "onNodeAdded", fail)
        add_volume()
    assert_told(widget)


def test_of_a_timer(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = add_volume()
    monkeypatch.setattr(panel_module, "dependants", lambda node: [node])
    monkeypatch.setattr(panel_module, "removeNodes", fail)
    slicer.mrmlScene.RemoveNode(volume)
    assert_told(widget)


def test_of_what_a_process_says(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    widget.logic.worker.discard()
    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "parseEvent", fail)
        widget.logic.worker.start()
        assert_told(widget)
        widget.logic.worker.discard()


def test_of_a_listener_to_the_modules_own_signals(widget: Any) -> None:
    widget.logic.devices.connect(fail)
    qt.QTimer.singleShot(0, lambda: widget.logic.devices.emit([]))
    assert_told(widget)
    widget.logic.devices.disconnect(fail)


def test_an_error_that_is_meant_for_the_user_is_told_as_it_is(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise SegmentationError("Something is missing: get it.")

    monkeypatch.setattr(widget.logic, "restartWorker", refuse)
    widget.panel.ui.restartWorkerButton.click()
    assert widget.panel.ui.statusLabel.text == "Something is missing: get it."
    assert pythonqt.failures.pop().code == "input"


def test_a_panel_that_cannot_be_made_says_so(widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: said.append(text))
    with monkeypatch.context() as patch:
        patch.setattr(widget, "panel", None)
        widget.onUncaughtError(RuntimeError("on purpose"))
    assert said == [f"The panel could not be made: {SENTENCE}"]


def test_errors_of_others_and_of_what_is_typed_are_left_to_the_console(widget: Any) -> None:
    before = widget.panel.ui.statusLabel.text
    qt.QTimer.singleShot(0, fail)
    wait_until(lambda: pythonqt.failures, 5)
    try:
        exec(compile("logic.segment(None, model='no such model')", "<console>", "exec"), {"logic": widget.logic})
    except SegmentationError as error:
        typed = error.__traceback__.tb_next  # without the frame of this test
        sys.excepthook(SegmentationError, error, typed)
    assert len(pythonqt.failures) == 2
    assert widget.panel.ui.statusLabel.text == before
    pythonqt.failures.clear()


def test_what_was_there_before_is_there_again() -> None:
    before = sys.excepthook
    first, second = UncaughtErrors(fail), UncaughtErrors(fail)
    first.stop()
    assert sys.excepthook == second._onException
    second.stop()
    assert sys.excepthook == first._onException
    sys.excepthook = before


def test_only_the_modules_own_files_are_its_own_and_a_link_to_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    lib = Path(uncaught_errors.__file__).parent
    (tmp_path / "link").symlink_to(lib.parent, target_is_directory=True)
    spec = importlib.util.spec_from_file_location("linked", tmp_path / "link" / lib.name / "uncaught_errors.py")
    linked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(linked)
    for module, folder in ((uncaught_errors, lib.parent), (linked, tmp_path / "link")):
        told: list[str] = []
        errors = module.UncaughtErrors(lambda error, told=told: told.append(str(error)))
        for name in (
            "SCDSegmentation.py",
            "SCDSegmentationLib/panel.py",
            "scdseg/errors.py",
            "SCDSegmentationX.py",
            "SCDSegmentationLibX/panel.py",
            "scdsegx/errors.py",
            "Other.py",
        ):
            try:
                exec(compile(f"raise RuntimeError({name!r})", str(folder / name), "exec"))
            except RuntimeError as error:
                errors._onException(type(error), error, error.__traceback__)
        errors.stop()
        assert told == ["SCDSegmentation.py", "SCDSegmentationLib/panel.py", "scdseg/errors.py"]
