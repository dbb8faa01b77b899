"""Apply on the sample volume, with the real worker and the model that ships: what appears in the scene is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import slicer

from scdseg.resources import sample_volume
from SCDSegmentationLib import sample_data
from SCDSegmentationLib.models import findModels
from SCDSegmentationLib.results import IMPORTANCE_REFERENCE, REPORT_ATTRIBUTE
from SCDSegmentationLib.token_maps import MAPS, tokenMapsOf
from SCDSegmentationLib.token_tables import STAGE_TABLE, STRUCTURE_TABLE, tableOf
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import apply, choose, wait_until

CLOSED_SURFACE = "Closed surface"


@pytest.fixture
def finished(widget: Any) -> Any:
    choose(widget, sample_data.load(), "brain-structures", 0.25)
    message = apply(widget, 120)
    assert message.startswith("Found 32 of 32 structures"), message
    return widget


@pytest.fixture(scope="module")
def by_command_line(tmp_path_factory: pytest.TempPathFactory) -> dict[str, nib.Nifti1Image]:
    """What ``scdseg segment`` makes of the same volume."""
    folder = tmp_path_factory.mktemp("cli")
    files = {name: folder / f"{name}.nii.gz" for name in ("labels", *MAPS)}
    command = [sys.executable, "-m", "scdseg.cli", "segment", str(sample_volume()), "-m", "brain-structures"]
    command += ["-o", str(files["labels"]), "--keep-ratio", "0.25"]
    for kind in MAPS:
        command += [f"--{kind}", str(files[kind])]
    subprocess.run(command, check=True, capture_output=True)
    return {name: nib.load(path) for name, path in files.items()}


def test_the_scene_gets_what_the_command_line_writes(
    finished: Any, by_command_line: dict[str, nib.Nifti1Image], tmp_path: Path
) -> None:
    parameters = finished.panel.parameters
    volume, node = parameters.inputVolume, parameters.segmentation
    segmentation = node.GetSegmentation()
    labels = np.asarray(by_command_line["labels"].dataobj).T
    model = next(m for m in findModels()[0] if m.name == "brain-structures")
    assert segmentation.GetNumberOfSegments() == len(model.labels) == 32
    for number, label in enumerate(model.labels):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == label.name
        assert segment.GetColor() == pytest.approx(label.color, abs=1e-6)
        assert segment.GetTerminology() == label.terminology
    for name in ("Left hippocampus", "Right thalamus", "Brainstem", "Left cerebral cortex"):
        segment_id = segmentation.GetSegmentIdBySegmentName(name)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)
        np.testing.assert_array_equal(mask > 0, labels == segmentation.GetSegment(segment_id).GetLabelValue())
    assert np.abs(matrixOf(volume) - by_command_line["labels"].affine).max() < 0.5
    maps = tokenMapsOf(parameters.importance)
    for kind in MAPS:
        expected = np.asarray(by_command_line[kind].dataobj)
        nodes = maps.scores if kind == "scores" else [getattr(maps, kind)]
        for node, values in zip(nodes, np.moveaxis(expected.reshape(*expected.shape[:3], -1), -1, 0), strict=True):
            np.testing.assert_allclose(matrixOf(node), by_command_line[kind].affine, atol=1e-3)
            np.testing.assert_allclose(slicer.util.arrayFromVolume(node), values.T)
    _check_tables(maps, labels, by_command_line, model)
    _check_display(finished)
    _check_hierarchy(finished)
    _check_surfaces(finished)
    _check_reload(finished, tmp_path)


def _check_tables(maps: Any, labels: np.ndarray, files: dict[str, nib.Nifti1Image], model: Any) -> None:
    """The tables count what can be counted in the files: the sample's voxels of 1 mm lie in tokens of 16 mm."""
    stage, importance = (np.asarray(files[kind].dataobj).T for kind in ("stage", "importance"))
    stages = tableOf(maps, STAGE_TABLE)
    assert [stages.GetCellText(row, 0) for row in range(3)] == ["after block 3", "after block 6", "after block 9"]
    counts = [[int(stages.GetCellText(row, column)) for column in (1, 2, 3)] for row in range(3)]
    assert counts == [[(stage >= s).sum(), (stage > s).sum(), (stage == s).sum()] for s in (1, 2, 3)]
    to_token = np.linalg.inv(files["stage"].affine) @ files["labels"].affine
    table = tableOf(maps, STRUCTURE_TABLE)
    assert table.GetNumberOfRows() == len(model.labels) + 1
    for name in ("Left hippocampus", "Brainstem"):
        row = [table.GetCellText(r, 0) for r in range(table.GetNumberOfRows())].index(name)
        value = next(label.value for label in model.labels if label.name == name)
        ijk = np.argwhere(labels == value)[:, ::-1]
        tokens = np.floor((np.c_[ijk, np.ones(len(ijk))] @ to_token.T)[:, :3] + 0.5).astype(int)[:, ::-1]
        cells = [float(table.GetCellText(row, column)) for column in range(1, table.GetNumberOfColumns())]
        held = np.unique(tokens, axis=0)
        kept = [(stage[tuple(held.T)] > s).mean() for s in (1, 2, 3)]
        expected = [len(held), importance[tuple(tokens.T)].mean(), *kept, len(ijk) / 1000]
        np.testing.assert_allclose(cells, expected, atol=6e-3)


def _check_display(widget: Any) -> None:
    """Inferno from 0 to 1, not interpolated, over the volume, with a legend; threshold and opacity follow the panel."""
    parameters = widget.panel.parameters
    display = parameters.importance.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert not display.GetAutoWindowLevel()
    assert not display.GetInterpolate()
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == parameters.inputVolume.GetID()
    assert composite.GetForegroundVolumeID() == parameters.importance.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.5)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(parameters.importance)
    assert legend.GetVisibility()
    ui = widget.panel.ui
    ui.opacitySlider.setValue(0.8)
    ui.thresholdSlider.setValue(0.3)
    ui.legendCheckBox.setChecked(False)
    assert composite.GetForegroundOpacity() == pytest.approx(0.8)
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(0.3)
    assert not legend.GetVisibility()
    assert not parameters.segmentation.GetDisplayNode().GetVisibility2DFill(), "outlines leave the tokens' colours"
    ui.shownComboBox.setCurrentText("Segments")
    assert composite.GetForegroundVolumeID() is None
    assert parameters.segmentation.GetDisplayNode().GetVisibility2D()
    assert parameters.segmentation.GetDisplayNode().GetVisibility2DFill()
    ui.shownComboBox.setCurrentText("Tokens")
    assert composite.GetForegroundVolumeID() == parameters.importance.GetID()
    assert not parameters.segmentation.GetDisplayNode().GetVisibility2D()
    assert parameters.segmentation.GetDisplayNode().GetVisibility(), "surfaces stay as they are"
    ui.shownComboBox.setCurrentText("Segments and tokens")


def _check_hierarchy(widget: Any) -> None:
    parameters = widget.panel.parameters
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    parents = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        for node in (parameters.inputVolume, parameters.segmentation, parameters.importance)
    }
    assert len(parents) == 1


def _check_surfaces(widget: Any) -> None:
    node = widget.panel.parameters.segmentation
    display = node.GetDisplayNode()
    widget.panel.ui.show3DButton.click()
    wait_until(lambda: display.GetVisibility3D() and node.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE), 60)
    bounds = np.zeros(6)
    segment_id = node.GetSegmentation().GetSegmentIdBySegmentName("Left hippocampus")
    surface = node.GetClosedSurfaceInternalRepresentation(segment_id)
    assert surface.GetNumberOfPoints() > 100
    surface.GetBounds(bounds)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, widget.panel.parameters.inputVolume)
    kji = np.argwhere(mask)
    ras = (matrixOf(widget.panel.parameters.inputVolume) @ np.c_[kji[:, ::-1], np.ones(len(kji))].T)[:3]
    np.testing.assert_allclose(bounds[::2], ras.min(axis=1), atol=1.5)
    np.testing.assert_allclose(bounds[1::2], ras.max(axis=1), atol=1.5)
    widget.panel.ui.show3DButton.click()
    assert not display.GetVisibility3D()


def _check_reload(widget: Any, folder: Path) -> None:
    """A saved scene brings back segments, codes, importance, the report and the panel's state."""
    parameters = widget.panel.parameters
    before = [
        (segment.GetName(), segment.GetTerminology(), segment.GetColor())
        for segment in map(
            parameters.segmentation.GetSegmentation().GetNthSegment,
            range(parameters.segmentation.GetSegmentation().GetNumberOfSegments()),
        )
    ]
    importance = slicer.util.arrayFromVolume(parameters.importance).copy()
    assert slicer.util.saveScene(str(folder / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert widget.panel.parameters.segmentation is None
    assert slicer.util.loadScene(str(folder / "scene.mrb"))
    parameters = widget.panel.parameters
    segmentation = parameters.segmentation.GetSegmentation()
    after = [
        (segment.GetName(), segment.GetTerminology(), segment.GetColor())
        for segment in map(segmentation.GetNthSegment, range(segmentation.GetNumberOfSegments()))
    ]
    assert [entry[:2] for entry in after] == [entry[:2] for entry in before]
    np.testing.assert_allclose([entry[2] for entry in after], [entry[2] for entry in before], atol=1e-4)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(parameters.importance), importance, atol=1e-6)
    assert parameters.segmentation.GetNodeReference(IMPORTANCE_REFERENCE) is parameters.importance
    assert json.loads(parameters.segmentation.GetAttribute(REPORT_ATTRIBUTE))["keep_ratio"] == 0.25
    assert widget.panel.ui.keepRatioSlider.value == pytest.approx(0.25)
    assert widget.panel.ui.opacitySlider.value == pytest.approx(0.8)
    assert widget.panel.ui.inputSelector.currentNode() is parameters.inputVolume
