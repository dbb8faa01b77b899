"""Where results go: transforms, several volumes, replacing and undoing, models of several inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from SCDSegmentationLib import overlay
from slicer_module.helpers import add_volume, apply, choose, scene_state, wait_until


def ras_of_segments(node: Any) -> np.ndarray:
    """Bounds in the world of all segments."""
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    return bounds


def linear_transform() -> Any:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = (100, -50, 25)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return transform


def bending_transform() -> Any:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point, moved in (((0, 0, 0), (5, 0, 0)), ((40, 0, 0), (40, 9, 0)), ((0, 40, 0), (0, 40, 3)), ((0, 0, 40),) * 2):
        source.InsertNextPoint(point)
        target.InsertNextPoint(moved)
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    transform.SetAndObserveTransformToParent(spline)
    return transform


@pytest.mark.parametrize("make", [linear_transform, bending_transform])
def test_results_of_a_transformed_volume_lie_where_it_lies(widget: Any, make: Any) -> None:
    plain, moved = add_volume("plain"), add_volume("moved")
    choose(widget, plain)
    apply(widget)
    without = widget.panel.parameters.segmentation
    moved.SetAndObserveTransformNodeID(make().GetID())
    choose(widget, moved)
    message = apply(widget)
    assert message.startswith("Found"), message
    parameters = widget.panel.parameters
    for node in (parameters.segmentation, parameters.importance):
        assert node.GetParentTransformNode() is moved.GetParentTransformNode()
    # The same image gives the same segments in its own coordinates, and elsewhere in the world.
    for number in range(without.GetSegmentation().GetNumberOfSegments()):
        arrays = [
            slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(number))
            for node in (without, parameters.segmentation)
        ]
        np.testing.assert_array_equal(*arrays)
    if make is linear_transform:
        world, local = ras_of_segments(parameters.segmentation), ras_of_segments(without)
        np.testing.assert_allclose(world[:2], (100 - local[3], 100 - local[2]), atol=1e-3)
        np.testing.assert_allclose(world[2:4], (local[0] - 50, local[1] - 50), atol=1e-3)


def test_every_volume_of_a_scene_has_results_of_its_own(widget: Any) -> None:
    first, second = add_volume("first", seed=1), add_volume("second", seed=2)
    choose(widget, first)
    apply(widget)
    of_first = widget.panel.parameters.segmentation
    choose(widget, second)
    assert widget.panel.parameters.segmentation is None, "the other volume's result would have been replaced"
    apply(widget)
    of_second = widget.panel.parameters.segmentation
    assert of_second is not of_first
    widget.panel.ui.inputSelector.setCurrentNode(first)
    assert widget.panel.parameters.segmentation is of_first
    assert widget.panel.ui.segmentationSelector.currentNode() is of_first


def test_only_the_selected_volume_and_its_results_are_shown(widget: Any) -> None:
    first, second = add_volume("first", seed=1), add_volume("second", seed=2)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    choose(widget, first)
    apply(widget)
    of_first = widget.panel.parameters.segmentation.GetDisplayNode()
    widget.panel.ui.show3DButton.click()
    wait_until(of_first.GetVisibility3D, 20)
    choose(widget, second)
    assert composite.GetBackgroundVolumeID() == second.GetID()
    assert composite.GetForegroundVolumeID() is None
    assert not of_first.GetVisibility2D()
    assert not of_first.GetVisibility3D()
    apply(widget)
    assert composite.GetForegroundVolumeID() == widget.panel.parameters.importance.GetID()
    widget.panel.ui.inputSelector.setCurrentNode(first)
    assert composite.GetBackgroundVolumeID() == first.GetID()
    assert of_first.GetVisibility2D()
    wait_until(of_first.GetVisibility3D, 20)


def test_surfaces_that_were_asked_for_appear_though_the_module_was_left(widget: Any) -> None:
    choose(widget, add_volume())
    apply(widget)
    widget.panel.ui.show3DButton.click()
    widget.exit()
    widget.enter()
    segmentation = widget.panel.parameters.segmentation
    wait_until(lambda: overlay.showsSurfaces(segmentation), 20)


def test_a_foreground_of_the_users_own_stays(widget: Any) -> None:
    choose(widget, add_volume())
    apply(widget)
    pet = add_volume("PET", seed=3)
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.4)
    widget.panel.ui.shownComboBox.setCurrentText("Segments")
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == pet.GetID()


def test_a_script_gets_an_importance_that_is_ready_to_be_shown(widget: Any) -> None:
    display = widget.logic.segment(add_volume(), model="tiny").importance.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert not display.GetInterpolate()


def test_neither_label_maps_nor_token_maps_are_taken_for_the_input(widget: Any) -> None:
    widget.exit()
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    widget.enter()
    assert widget.panel.parameters.inputVolume is None
    choose(widget, add_volume())
    apply(widget)
    slicer.mrmlScene.RemoveNode(widget.panel.parameters.inputVolume)
    widget.exit()
    widget.enter()
    assert widget.panel.parameters.inputVolume is None
    assert widget.panel.ui.inputSelector.nodeCount() == 0
    assert widget.panel.ui.applyButton.toolTip == "Select an input volume."


def test_a_second_run_replaces_what_the_chosen_nodes_held(widget: Any) -> None:
    choose(widget, add_volume())
    apply(widget)
    parameters = widget.panel.parameters
    segmentation, importance = parameters.segmentation, parameters.importance
    segmentation.GetSegmentation().AddEmptySegment("left over")
    nodes = scene_state()
    choose(widget, parameters.inputVolume, keep_ratio=1.0)
    apply(widget)
    assert parameters.segmentation is segmentation
    assert parameters.importance is importance
    assert segmentation.GetSegmentation().GetSegment("left over") is None
    assert scene_state() == nodes


def test_deleting_the_results_undoes_a_run(widget: Any) -> None:
    volume = add_volume()
    choose(widget, volume)
    before = scene_state()
    apply(widget)
    slicer.mrmlScene.RemoveNode(widget.panel.parameters.segmentation)
    slicer.mrmlScene.RemoveNode(widget.panel.parameters.importance)
    slicer.app.processEvents()  # the other maps and the tables follow
    # Slicer itself leaves the display node of a deleted volume behind.
    left = [node for node in scene_state() if node not in before and "Display" not in node[0]]
    assert left == []
    assert apply(widget).startswith("Found")


def test_a_model_of_four_inputs_has_four_selectors_and_names_what_is_missing(widget: Any) -> None:
    ui = widget.panel.ui
    volumes = [add_volume(name, seed=number) for number, name in enumerate(("a", "b", "c", "d"))]
    choose(widget, volumes[0], "tiny4")
    assert [getattr(ui, f"inputLabel{n}").text for n in ("", 2, 3, 4)] == ["T1:", "T2:", "PD:", "FLAIR:"]
    assert not ui.applyButton.enabled
    assert ui.applyButton.toolTip == "T2: Select an input volume."
    for number, volume in zip((2, 3, 4), volumes[1:], strict=True):
        getattr(ui, f"inputSelector{number}").setCurrentNode(volume)
    assert ui.applyButton.enabled
    assert apply(widget).startswith("Found")
    ui.inputSelector4.setCurrentNode(volumes[0])
    assert ui.applyButton.toolTip.startswith("The same volume is selected for two inputs")
    choose(widget, volumes[0], "tiny")
    assert not ui.inputSelector2.isVisibleTo(ui.inputsCollapsibleButton)
