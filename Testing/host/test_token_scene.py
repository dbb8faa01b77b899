"""A saved scene gives back tables, maps, colours, boxes and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedded_slicer

STAGES = ("pruned after block 3", "pruned after block 6", "kept")
NAMES = ("numbers", "scores", "stages", "map", "boxes", "series", "chart")
SUFFIXES = {"numbers": ".tsv", "scores": ".nrrd", "stages": ".ctbl", "map": ".nrrd", "boxes": ".vtk"}


def make_table() -> Any:
    import slicer
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "numbers")
    for array, name, values in (
        (vtk.vtkStringArray(), "segment", ("left thalamus", "outside")),
        (vtk.vtkIntArray(), "tokens", (12, 1000)),
        (vtk.vtkDoubleArray(), "share", (0.25, float("nan"))),
    ):
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


def make_scores() -> Any:
    """A vector volume of three float32 components on an oblique, anisotropic grid; NaN where there is no score."""
    import slicer

    values = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3) / 7
    values[0, 1, 2, 1:] = np.nan
    turn, spacing = np.deg2rad(20), np.diag((8.0, 12.0, 16.0))
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]] @ spacing
    matrix[:3, 3] = (-10.5, 20.25, 3)
    node = slicer.util.addVolumeFromArray(values, matrix, "scores", "vtkMRMLVectorVolumeNode")
    node.CreateDefaultDisplayNodes()
    return node


def make_map() -> Any:
    """A scalar map with its own colour table, and a legend with the table's names."""
    import slicer

    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "stages")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(4)
    for value, name in enumerate(STAGES, 1):
        colors.SetColor(value, name, value / 3, 0.5, 0)
    node = slicer.util.addVolumeFromArray(np.ones((2, 3, 4), np.float32), name="map")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
    legend.SetUseColorNamesForLabels(True)
    legend.SetTitleText("Stage")
    return node


def make_boxes() -> Any:
    """A cube whose faces are coloured by their number."""
    import slicer
    import vtk

    cube = vtk.vtkCubeSource()
    cube.Update()
    stage = vtk.vtkFloatArray()
    stage.SetName("stage")
    for value in range(6):
        stage.InsertNextValue(value)
    cube.GetOutput().GetCellData().AddArray(stage)
    node = slicer.modules.models.logic().AddModel(cube.GetOutput())
    node.SetName("boxes")
    display = node.GetDisplayNode()
    display.SetActiveScalar("stage", vtk.vtkAssignAttribute.CELL_DATA)
    display.SetScalarVisibility(True)
    display.SetAndObserveColorNodeID(slicer.util.getNode("stages").GetID())
    display.SetOpacity(0.4)
    return node


def make_chart(table: Any) -> Any:
    import slicer

    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "series")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName("tokens")
    series.SetYColumnName("share")
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetXAxisTitle("Tokens")
    return chart


@pytest.fixture(params=["scene.mrb", "scene.mrml"])
def reloaded(request: pytest.FixtureRequest, host: embedded_slicer.Host, tmp_path: Path) -> dict[str, Any]:
    """The nodes by name, after the scene was saved, closed and loaded."""
    import slicer

    table, scores, _, boxes = make_table(), make_scores(), make_map(), make_boxes()
    make_chart(table)
    boxes.SetNodeReferenceID("scores", scores.GetID())
    if request.param.endswith(".mrml"):  # holds no data itself
        for name, suffix in SUFFIXES.items():
            assert slicer.util.saveNode(slicer.util.getNode(name), str(tmp_path / (name + suffix)), {}), name
    assert slicer.util.saveScene(str(tmp_path / request.param), {})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / request.param), {})
    return {name: slicer.util.getNode(name) for name in NAMES}


def test_everything_comes_back(reloaded: dict[str, Any]) -> None:
    _check_table(reloaded["numbers"])
    _check_scores(reloaded["scores"])
    _check_map(reloaded["map"], reloaded["stages"])
    _check_boxes(reloaded["boxes"], reloaded["stages"], reloaded["scores"])
    chart, series = reloaded["chart"], reloaded["series"]
    assert chart.GetNthPlotSeriesNode(0) is series
    assert chart.GetXAxisTitle() == "Tokens"
    assert series.GetTableNode() is reloaded["numbers"]
    assert (series.GetXColumnName(), series.GetYColumnName()) == ("tokens", "share")


def _check_table(node: Any) -> None:
    table = node.GetTable()
    assert [table.GetColumnName(column) for column in range(3)] == ["segment", "tokens", "share"]
    assert [table.GetColumn(column).GetDataTypeAsString() for column in range(3)] == ["string", "int", "double"]
    assert [table.GetColumn(0).GetValue(row) for row in range(2)] == ["left thalamus", "outside"]
    assert [table.GetColumn(1).GetValue(row) for row in range(2)] == [12, 1000]
    np.testing.assert_array_equal([table.GetColumn(2).GetValue(row) for row in range(2)], [0.25, np.nan])
    assert node.GetLocked()
    assert node.GetUseColumnTitleAsColumnHeader()


def _check_scores(node: Any) -> None:
    import slicer
    import vtk

    before = make_scores()
    assert node.GetClassName() == "vtkMRMLVectorVolumeNode"
    values = slicer.util.arrayFromVolume(node)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, slicer.util.arrayFromVolume(before))
    matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
    node.GetIJKToRASMatrix(matrices[0])
    before.GetIJKToRASMatrix(matrices[1])
    found, expected = (slicer.util.arrayFromVTKMatrix(matrix) for matrix in matrices)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _check_map(node: Any, colors: Any) -> None:
    import slicer

    assert node.GetDisplayNode().GetColorNode() is colors
    assert [colors.GetColorName(value) for value in (1, 2, 3)] == list(STAGES)
    color = [0.0] * 4
    colors.GetColor(2, color)
    np.testing.assert_allclose(color, (2 / 3, 0.5, 0, 1), atol=0.01)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node)
    assert legend.GetUseColorNamesForLabels()
    assert legend.GetTitleText() == "Stage"
    assert legend.GetPrimaryDisplayNode() is node.GetDisplayNode()


def _check_boxes(node: Any, colors: Any, scores: Any) -> None:
    stage = node.GetPolyData().GetCellData().GetArray("stage")
    assert [stage.GetValue(face) for face in range(6)] == list(range(6))
    display = node.GetDisplayNode()
    assert display.GetActiveScalarName() == "stage"
    assert display.GetActiveAttributeLocation() == 1  # cells
    assert display.GetScalarVisibility()
    assert display.GetOpacity() == pytest.approx(0.4)
    assert display.GetColorNode() is colors
    assert node.GetNodeReference("scores") is scores
