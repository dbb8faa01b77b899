"""The text for the developers: what it holds, how it is copied, and that it stays small."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
import slicer

import scdseg
from scdseg import diagnostics
from SCDSegmentationLib.diagnostics import COPIED
from SCDSegmentationLib.journal import MAX_STEPS, Journal
from slicer_module.helpers import add_volume, apply, choose, wait_until


def lines_of(text: str, section: str) -> list[str]:
    """The lines of a section of the text."""
    lines = text.splitlines()
    begin = lines.index(section) + 1
    return [line.strip() for line in lines[begin : lines.index("", begin)]]


def test_the_button_copies_versions_devices_settings_and_steps(widget: Any) -> None:
    ui = widget.panel.ui
    wait_until(lambda: widget.panel.devices.known, 60)
    choose(widget, add_volume(), "tiny", 0.5)
    assert apply(widget).startswith("Found")
    ui.diagnosticsButton.click()
    text = slicer.app.clipboard().text()
    assert ui.statusLabel.text == COPIED
    versions = lines_of(text, "Versions")
    assert f"SCDSegmentation {scdseg.__version__}" in versions
    assert f"Slicer {slicer.app.majorVersion}.{slicer.app.minorVersion}, revision {slicer.app.revision}" in versions
    for package in ("torch", "monai", "SimpleITK", "safetensors"):
        assert f"{package} {importlib.metadata.version(package)}" in lines_of(text, "Packages")
    assert any(line.startswith("cpu: ") and ", works, precisions " in line for line in lines_of(text, "Devices"))
    model = widget.panel.model
    assert f"tiny {model.version}, weights {model.sha256[:12]}" in lines_of(text, "Models")
    settings = lines_of(text, "Settings")
    assert "model: tiny" in settings
    assert "keep ratio: 0.5" in settings
    steps = "\n".join(lines_of(text, "Steps"))
    name = steps[steps.rindex("run ") :].partition(":")[0]
    for step in (
        f"{name}: SegmentationRun, model tiny {model.version}, weights {model.sha256[:12]}, keep ratio 0.5, "
        "overlap 0.5, device auto, precision auto, inputs 1",
        f"{name}: input 1: 20×24×18 voxels of 1.5×2×2.5 mm, short",
        f"{name}: read ",
        f"{name}: windows ",
        f"{name}: finished, export ",
        f"{name}: keep ratio 0.5, cpu (",
    ):
        assert step in steps
    assert text.endswith(f"{diagnostics.LEFT_OUT}\n")
    assert len(text.encode()) < diagnostics.MAX_BYTES


def test_scripts_have_the_same_text_without_the_panel(widget: Any) -> None:
    from SCDSegmentation import SCDSegmentationLogic

    choose(widget, add_volume(), "tiny")
    apply(widget)
    text = SCDSegmentationLogic().diagnostics()
    assert lines_of(text, "Settings") == ["the panel is not open"]
    assert "SegmentationRun, model tiny" in "\n".join(lines_of(text, "Steps"))


def test_the_end_of_a_worker_is_a_step(widget: Any) -> None:
    widget.logic.stopWorker()
    widget.logic.probe()
    wait_until(lambda: widget.panel.devices.known, 60)
    widget.logic.stopWorker()
    assert "worker ended (cancelled): The segmentation process was stopped" in widget.logic.diagnostics()
    widget.logic.probe()


def test_a_run_is_not_disturbed_by_the_button(widget: Any) -> None:
    choose(widget, add_volume(shape=(60, 60, 60)), "tiny", 1.0)
    widget.panel.ui.applyButton.click()
    widget.panel.ui.diagnosticsButton.click()
    assert widget.panel.ui.progressBar.isVisibleTo(widget.parent)
    wait_until(lambda: widget.logic.run is None, 60)
    assert widget.panel.ui.statusLabel.text.startswith("Found")


def test_the_journal_keeps_the_last_steps(widget: Any) -> None:
    journal = Journal()
    for number in range(2 * MAX_STEPS):
        journal.addMessage("step", f"{number}")
    assert len(journal.steps) == MAX_STEPS + 1
    assert journal.steps[-1].endswith(f"step: {2 * MAX_STEPS - 1}")


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"])
def test_environment_variables_that_matter_are_told(widget: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert f"{name}: 1" in lines_of(widget.logic.diagnostics(), "Environment variables")
