"""Token maps in the views: what each choice of the panel shows is what the maps hold, wherever the volume lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from SCDSegmentationLib import token_display
from SCDSegmentationLib.parameters import (
    BOTH,
    BY_IMPORTANCE,
    GREYED,
    IMPORTANCE_MAP,
    INFLUENCE_MAP,
    KEPT,
    NOTHING,
    STAGES,
    SURVIVAL_MAP,
    TOKEN_MAP_CHOICES,
    TOKENS,
)
from SCDSegmentationLib.token_boxes import BOXES_REFERENCE, boxes
from SCDSegmentationLib.token_maps import PRUNE_AFTER_ATTRIBUTE, TokenMaps, tokenMapsOf
from SCDSegmentationLib.volume_files import matrixOf
from slicer_module.helpers import add_volume, apply, choose, wait_until


@pytest.fixture
def ran(widget: Any) -> Any:
    """The panel after a run on an oblique, anisotropic volume, showing tokens alone."""
    choose(widget, add_volume(shape=(26, 32, 40)), keep_ratio=0.6)
    # Windows side by side: every stage has tokens that were pruned and some that were kept.
    widget.panel.parameters.overlap = 0.0
    assert apply(widget).startswith("Found")
    widget.panel.parameters.shown = TOKENS
    return widget


def maps_of(widget: Any) -> TokenMaps:
    maps = tokenMapsOf(widget.panel.parameters.importance)
    assert maps is not None
    assert maps.complete
    return maps


def array(node: Any) -> np.ndarray:
    return slicer.util.arrayFromVolume(node)


def composite() -> Any:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")


def shown_colors(node: Any) -> np.ndarray:
    """What the display pipeline makes of every voxel of a volume: (K, J, I, 4) red, green, blue, alpha."""
    display = node.GetDisplayNode()
    connection = display.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    scalars = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return scalars.reshape(*array(node).shape, -1)


def test_maps_of_a_run_agree_with_each_other(ran: Any) -> None:
    maps = maps_of(ran)
    stages = len(maps.pruneAfter)
    assert maps.pruneAfter == (1, 2)
    importance, survival, stage, *scores = (array(node) for node in maps.nodes)
    assert len(scores) == stages
    assert {node.shape for node in (importance, survival, *scores)} == {stage.shape}
    assert stage.dtype == np.uint8
    assert (stage.min(), stage.max()) == (1, stages + 1)
    assert not np.isnan(scores[0]).any(), "every token is scored at the first stage"
    # Scored at a later stage only by windows that had kept it there.
    assert (~np.isnan(scores[1]) == (survival > 0)).all()
    for node in maps.nodes[1:]:
        np.testing.assert_array_equal(matrixOf(node), matrixOf(maps.importance))


def test_each_choice_puts_its_map_over_the_image(ran: Any) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    nodes = {IMPORTANCE_MAP: maps.importance, SURVIVAL_MAP: maps.survival}
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode")
    for choice in TOKEN_MAP_CHOICES:
        parameters.tokenMap = choice
        if choice == INFLUENCE_MAP:
            assert composite().GetForegroundVolumeID() is None, "nobody asked for it yet"
            continue
        assert composite().GetForegroundVolumeID() == nodes.get(choice, maps.stage).GetID()
        assert composite().GetBackgroundVolumeID() == parameters.inputVolume.GetID()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == before, "no volume is copied"
    parameters.shown = NOTHING
    assert composite().GetForegroundVolumeID() is None


@pytest.mark.parametrize("stage", [1, 2])
def test_kept_tokens_are_all_that_is_shown_of_a_stage_and_greyed_out_ones_all_others(ran: Any, stage: int) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    parameters.stage = stage
    kept = array(maps.stage) > stage
    assert 0 < kept.sum() < kept.size
    parameters.tokenMap = KEPT
    np.testing.assert_array_equal(shown_colors(maps.stage)[..., 3] > 0, kept)
    parameters.tokenMap = GREYED
    greyed = shown_colors(maps.stage)
    np.testing.assert_array_equal(greyed[..., 3] > 0, ~kept)
    grey = greyed[~kept][:, :3]
    assert len(np.unique(grey)) == 1, "one grey, whatever the stage"
    assert 30 < grey[0, 0] < 100


def test_every_stage_has_its_own_colour_and_the_legend_names_it(ran: Any) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    for colors in ("Inferno", "Cividis"):
        parameters.tokenMap, parameters.colors = STAGES, colors
        shown = shown_colors(maps.stage)
        expected = token_display.stageColors(maps, colors)
        for stage in (1, 2, 3):
            here = shown[array(maps.stage) == stage][:, :3] / 255
            assert len(here)
            np.testing.assert_allclose(here, np.broadcast_to(expected[stage - 1], here.shape), atol=0.01)
        assert (shown[..., 3] == 255).all()
    table = maps.stage.GetDisplayNode().GetColorNode()
    assert [table.GetColorName(n) for n in (1, 2, 3)] == ["pruned after block 1", "pruned after block 2", "kept"]
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(maps.stage)
    assert legend.GetVisibility()
    assert legend.GetUseColorNamesForLabels()
    parameters.tokenMap = SURVIVAL_MAP
    assert not legend.GetVisibility()
    assert slicer.modules.colors.logic().GetColorLegendDisplayNode(maps.survival).GetVisibility()
    parameters.legend = False
    assert not slicer.modules.colors.logic().GetColorLegendDisplayNode(maps.survival).GetVisibility()


@pytest.mark.parametrize("choice", [IMPORTANCE_MAP, SURVIVAL_MAP])
def test_the_threshold_hides_what_lies_below_it(ran: Any, choice: str) -> None:
    parameters = ran.panel.parameters
    parameters.tokenMap, parameters.threshold, parameters.colors = choice, 0.4, "Viridis"
    node = token_display.shownNode(maps_of(ran), choice)
    assert node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeFileViridis.txt"
    np.testing.assert_array_equal(shown_colors(node)[..., 3] > 0, array(node) >= 0.4)


def boxes_of(widget: Any) -> Any:
    return maps_of(widget).importance.GetNodeReference(BOXES_REFERENCE)


@pytest.mark.parametrize("handed", ["right", "left"])
def test_a_box_encloses_exactly_the_voxels_of_its_patch(ran: Any, handed: str) -> None:
    """The tiny model's grid is 2 mm, in patches of 8: boxes of 16 mm whose corners are patch borders, also oblique."""
    maps = maps_of(ran)
    if handed == "left":
        mirrored = matrixOf(maps.importance) @ np.diag([-1, 1, 1, 1])
        maps.importance.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(mirrored))
    kept = array(maps.stage) > 1
    polydata = boxes(maps, kept)
    points = vtk.util.numpy_support.vtk_to_numpy(polydata.GetPoints().GetData()).reshape(-1, 8, 3)
    assert len(points) == kept.sum()
    to_token = np.linalg.inv(matrixOf(maps.importance))
    for corners, kji in zip(points, np.argwhere(kept), strict=True):
        ijk = np.c_[corners, np.ones(8)] @ to_token.T
        np.testing.assert_allclose(np.abs(ijk[:, :3] - kji[::-1]), 0.5, atol=1e-4)
        edges = np.linalg.norm(corners - corners[0], axis=1)
        np.testing.assert_allclose(sorted(edges)[1:4], 16.0, atol=1e-3)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(polydata)
    normals.ComputeCellNormalsOn()
    normals.ConsistencyOff()
    normals.SplittingOff()
    normals.Update()
    outward = vtk.util.numpy_support.vtk_to_numpy(normals.GetOutput().GetCellData().GetNormals()).reshape(-1, 6, 3)
    centres = vtk.vtkCellCenters()
    centres.SetInputData(polydata)
    centres.Update()
    faces = vtk.util.numpy_support.vtk_to_numpy(centres.GetOutput().GetPoints().GetData()).reshape(-1, 6, 3)
    assert (((faces - points.mean(axis=1)[:, None]) * outward).sum(axis=2) > 0).all()


def test_boxes_follow_stage_threshold_and_overlay_and_carry_their_values(ran: Any) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    assert boxes_of(ran) is None, "none are made before somebody asks"
    parameters.boxes = True
    model = boxes_of(ran)
    display = model.GetDisplayNode()
    stage, importance = array(maps.stage), array(maps.importance)

    def values(name: str) -> np.ndarray:
        return vtk.util.numpy_support.vtk_to_numpy(model.GetPolyData().GetCellData().GetArray(name))[::6]

    np.testing.assert_array_equal(values("stage"), stage[stage > 1])
    np.testing.assert_array_equal(values("importance"), importance[stage > 1])
    parameters.stage = 2
    np.testing.assert_array_equal(values("importance"), importance[stage > 2])
    parameters.stage, parameters.threshold = 1, 0.6
    np.testing.assert_array_equal(values("importance"), importance[(stage > 1) & (importance >= 0.6)])
    assert (display.GetActiveScalarName(), display.GetVisibility()) == ("stage", 1)
    assert display.GetScalarRange() == (0, 3)
    parameters.boxColors = BY_IMPORTANCE
    assert display.GetActiveScalarName() == "importance"
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    assert display.GetScalarRange() == (0, 1)
    parameters.shown = NOTHING
    assert not display.GetVisibility(), "boxes go with the overlay on the slices"
    parameters.shown = BOTH
    assert display.GetVisibility()
    parameters.boxes = False
    assert not display.GetVisibility()
    assert not display.GetVisibility2D()


def test_maps_and_boxes_are_under_the_transform_of_the_volume(widget: Any) -> None:
    volume = add_volume()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    choose(widget, volume)
    apply(widget)
    widget.panel.parameters.boxes = True
    for node in (*maps_of(widget).nodes, boxes_of(widget)):
        assert node.GetParentTransformNode() is transform


def test_a_saved_scene_brings_everything_back(ran: Any, tmp_path: Path) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    parameters.boxes, parameters.tokenMap, parameters.stage = True, KEPT, 2
    before = {node.GetName(): array(node).copy() for node in maps.nodes}
    corners = vtk.util.numpy_support.vtk_to_numpy(boxes_of(ran).GetPolyData().GetPoints().GetData()).copy()
    matrix = matrixOf(maps.importance)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    maps = maps_of(ran)
    assert maps.pruneAfter == (1, 2)
    for node in maps.nodes:
        np.testing.assert_allclose(array(node), before[node.GetName()], atol=1e-6)
        np.testing.assert_allclose(matrixOf(node), matrix, atol=1e-4)
    parameters = ran.panel.parameters
    assert (parameters.tokenMap, parameters.stage, parameters.boxes) == (KEPT, 2, True)
    assert composite().GetForegroundVolumeID() == maps.stage.GetID()
    np.testing.assert_array_equal(shown_colors(maps.stage)[..., 3] > 0, array(maps.stage) > 2)
    polydata = boxes_of(ran).GetPolyData()
    np.testing.assert_allclose(vtk.util.numpy_support.vtk_to_numpy(polydata.GetPoints().GetData()), corners, atol=1e-3)
    table = maps.stage.GetDisplayNode().GetColorNode()
    assert table.GetColorName(3) == "kept"
    # Everything still works on what was loaded.
    parameters.stage, parameters.tokenMap = 1, STAGES
    assert boxes_of(ran).GetPolyData().GetNumberOfCells() == 6 * (array(maps.stage) > 1).sum()


def test_boxes_lie_where_the_maps_lie_after_a_hardened_transform(ran: Any) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    parameters.boxes = True
    before = vtk.util.numpy_support.vtk_to_numpy(boxes_of(ran).GetPolyData().GetPoints().GetData()).copy()
    for node in maps.nodes:
        matrix = matrixOf(node)
        matrix[0, 3] += 100
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    parameters.opacity = 0.3
    after = vtk.util.numpy_support.vtk_to_numpy(boxes_of(ran).GetPolyData().GetPoints().GetData())
    np.testing.assert_allclose(after - before, np.broadcast_to([100, 0, 0], before.shape), atol=1e-3)


def test_boxes_go_with_their_volume_and_with_their_map(ran: Any) -> None:
    parameters = ran.panel.parameters
    parameters.boxes = True
    display, stage = boxes_of(ran).GetDisplayNode(), maps_of(ran).stage
    first = parameters.inputVolume
    choose(ran, add_volume("second"))
    assert not display.GetVisibility(), "another volume is shown now"
    choose(ran, first)
    assert display.GetVisibility()
    slicer.mrmlScene.RemoveNode(stage)
    parameters.boxes = False
    assert not display.GetVisibility()


@pytest.mark.parametrize("blocks", [(2,), (0, 1, 2, 3, 4)])
def test_models_of_any_number_of_stages_are_shown_saved_and_take_each_others_place(
    widget: Any, tiny_models: Path, tmp_path: Path, blocks: tuple[int, ...]
) -> None:
    name = f"tiny-{len(blocks)}-stages"
    script = Path(__file__).resolve().parents[1] / "tiny_model.py"
    if not (tiny_models / name).is_dir():
        command = [sys.executable, script, tiny_models / name, "1", *map(str, blocks)]
        subprocess.run(command, check=True, capture_output=True)
    volume = add_volume()
    choose(widget, volume, "tiny", 1.0)
    apply(widget)
    parameters = widget.panel.parameters
    parameters.shown, parameters.tokenMap, parameters.stage, parameters.boxes = TOKENS, KEPT, 2, True
    widget.exit()
    widget.enter()
    choose(widget, volume, name, 0.9)
    assert apply(widget).startswith("Found")
    maps = maps_of(widget)
    assert maps.pruneAfter == blocks
    assert len(maps.scores) == len(blocks)
    assert maps.stageName(1) == ("pruned after block 2" if blocks[0] else "pruned before block 1")
    stage = min(2, len(blocks))
    assert widget.panel.inspector.ui.stageSlider.maximum == len(blocks)
    kept = array(maps.stage) > stage
    np.testing.assert_array_equal(shown_colors(maps.stage)[..., 3] > 0, kept)
    assert boxes_of(widget).GetPolyData().GetNumberOfCells() == 6 * kept.sum()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert maps_of(widget).pruneAfter == blocks


def test_a_scene_that_does_not_say_where_tokens_were_pruned_has_no_stages_to_show(ran: Any) -> None:
    maps = maps_of(ran)
    maps.importance.SetAttribute(PRUNE_AFTER_ATTRIBUTE, "3 six 9")
    assert maps.pruneAfter == ()
    assert not maps.complete
    ran.exit()
    ran.enter()  # shows what there is, without an error


def test_a_map_that_was_deleted_is_shown_no_more_and_the_others_are(ran: Any) -> None:
    parameters, maps = ran.panel.parameters, maps_of(ran)
    slicer.mrmlScene.RemoveNode(maps.stage)
    parameters.tokenMap = STAGES
    assert composite().GetForegroundVolumeID() is None
    parameters.boxes = True
    parameters.tokenMap = IMPORTANCE_MAP
    assert composite().GetForegroundVolumeID() == maps.importance.GetID()


def test_deleting_the_importance_deletes_what_belongs_to_it(ran: Any) -> None:
    ran.panel.parameters.boxes = True
    slicer.mrmlScene.RemoveNode(maps_of(ran).importance)
    wait_until(lambda: not slicer.util.getNodes("*token*"), 2)
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLTableNode") is None
