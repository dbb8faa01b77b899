"""Names of volumes may be those of patients: they are in the scene and on the screen, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SCDSegmentationLib import journal as journal_module
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.journal import Journal
from SCDSegmentationLib.results import REPORT_ATTRIBUTE
from SCDSegmentationLib.run_folder import makeFolder
from SCDSegmentationLib.volume_files import volumeProblem
from SCDSegmentationLib.worker_process import WorkerProcess
from slicer_module.helpers import add_volume, apply, choose, wait_until

SECRET = "SECRETNAME"
FAKE = Path(__file__).parent / "fake_worker.py"


@pytest.fixture
def secret_scene(widget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A scene and a computer full of a patient's name, and a journal of the test's own."""
    journal = Journal()
    monkeypatch.setattr(journal_module, "_shared", journal)
    monkeypatch.setattr(widget.logic, "journal", journal)
    volume = add_volume(f"{SECRET} JOHN 1962")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"{SECRET} transform")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{SECRET} segments")
    choose(widget, volume, "tiny", 0.5)
    widget.panel.parameters.segmentation = segmentation
    journal.followWorker(widget.logic.worker)
    return widget


def diagnostics(widget: Any) -> str:
    """What the button copies."""
    widget.panel.ui.diagnosticsButton.click()
    text = slicer.app.clipboard().text()
    assert "Steps" in text
    return text


def assert_private(widget: Any) -> str:
    text = diagnostics(widget)
    for private in (SECRET, "JOHN", "1962", slicer.app.temporaryPath, str(Path.home())):
        assert private not in text
    assert widget.logic.diagnostics().count(SECRET) == 0
    return text


def test_after_a_good_run(secret_scene: Any) -> None:
    folder = Path(slicer.app.temporaryPath)
    seen: set[str] = set()
    secret_scene.panel.ui.applyButton.click()
    secret_scene.logic.run.progress.connect(lambda *_: seen.update(path.name for path in folder.rglob("*")))
    wait_until(lambda: secret_scene.logic.run is None, 60)
    parameters = secret_scene.panel.parameters
    for node in (parameters.segmentation, parameters.importance):
        assert SECRET not in node.GetAttribute(REPORT_ATTRIBUTE)
    assert any(name.endswith(".nrrd") for name in seen)
    assert not [name for name in seen if SECRET in name]
    text = assert_private(secret_scene)
    for step in ("SegmentationRun, model tiny", "input 1: 20×24×18 voxels of 1.5×2×2.5 mm, short, under a", "finished"):
        assert step in text


def test_after_a_comparison(secret_scene: Any) -> None:
    volume = secret_scene.panel.parameters.inputVolume
    secret_scene.logic.sweep(volume, (1.0, 0.5), model="tiny")
    assert "SweepRun, model tiny" in assert_private(secret_scene)


def test_after_a_failed_run(secret_scene: Any) -> None:
    slicer.util.updateVolumeFromArray(secret_scene.panel.parameters.inputVolume, np.full((18, 24, 20), 7, np.int16))
    assert SECRET in apply(secret_scene)
    text = assert_private(secret_scene)
    assert "failed (input): Volume '<name>' is empty: every voxel has the value 7" in text


def test_after_a_cancelled_run(secret_scene: Any) -> None:
    secret_scene.panel.ui.applyButton.click()
    secret_scene.panel.ui.applyButton.click()
    wait_until(lambda: secret_scene.logic.run is None, 5)
    assert "failed (cancelled): The segmentation was cancelled; the scene is as it was." in assert_private(secret_scene)


def test_after_the_input_was_deleted(secret_scene: Any) -> None:
    secret_scene.panel.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(secret_scene.panel.parameters.inputVolume)
    wait_until(lambda: secret_scene.logic.run is None, 5)
    assert_private(secret_scene)


def test_after_a_run_that_was_refused(secret_scene: Any) -> None:
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{SECRET} empty")
    with pytest.raises(SegmentationError, match=SECRET):
        secret_scene.logic.segment(empty, model="tiny")
    assert "refused (input): The volume '<name>' has no image data: load it again" in assert_private(secret_scene)


@pytest.mark.parametrize("manner", ["garbage", "exits", "internal error"])
def test_after_a_worker_that_misbehaved(secret_scene: Any, manner: str) -> None:
    logic, good = secret_scene.logic, secret_scene.logic.worker
    logic.worker = WorkerProcess(sys.executable, [str(FAKE), manner])
    try:
        secret_scene.panel.ui.applyButton.click()
        wait_until(lambda: logic.run is None, 30)
        assert_private(secret_scene)
    finally:
        logic.worker.stop()
        logic.worker = good


def test_what_libraries_say_is_redacted_too(secret_scene: Any) -> None:
    worker = secret_scene.logic.worker
    worker.log.emit(f"GDCM: bad value {SECRET}^JOHN of (0010,0010) born 19620304 in /data/{SECRET}/1.dcm")
    worker.log.emit("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB")
    text = assert_private(secret_scene)
    assert "worker: RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n" in text
    assert "19620304" not in text


def test_a_model_that_cannot_be_read_is_told_without_its_path(
    secret_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"{SECRET} models"
    (folder / "broken" / "configs").mkdir(parents=True)
    (folder / "broken" / "configs" / "metadata.json").write_text(f'{{"scd": "{SECRET}"}}')
    monkeypatch.setenv("SCDSEG_MODELS", str(folder))
    secret_scene.panel._refreshModels()
    text = assert_private(secret_scene)
    assert text.count("(TypeError: ") == 2  # in the steps, and among the models


WORDS = st.text(st.sampled_from("abcdeABCDEäßé体患ф"), min_size=1, max_size=5).map(lambda text: f"zqx{text}")
SEPARATORS = st.sampled_from([" ", "'", '"', "/", "\\", "^", ".", ", ", "(", ": ", "_", "<", "&"])


@st.composite
def secret_names(draw: st.DrawFn) -> str:
    return "".join(draw(WORDS) + draw(SEPARATORS) for _ in range(draw(st.integers(1, 4)))).strip()


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret_names())
def test_no_part_of_any_name_gets_into_the_journal(secret_scene: Any, name: str) -> None:
    """Through messages that the module really makes of nodes and folders."""
    journal, logic = secret_scene.logic.journal, secret_scene.logic
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    before = slicer.app.temporaryPath
    messages = [volumeProblem(volume)]
    try:
        with pytest.raises(SegmentationError):
            logic.findModel(name)
        try:
            logic.findModel(name)
        except SegmentationError as error:
            messages.append(str(error))
        slicer.app.temporaryPath = f"/proc/{name.replace('/', '-')}"
        try:
            makeFolder([secret_scene.panel.parameters.inputVolume])
        except SegmentationError as error:
            messages.append(str(error))
        assert len(messages) == 3
        for message in messages:
            journal.addMessage("message", message)
    finally:
        slicer.app.temporaryPath = before
        slicer.mrmlScene.RemoveNode(volume)
    for message in messages:
        journal.addMessage("the node is gone", message)
    assert "zqx" not in "\n".join(journal.steps).lower()
