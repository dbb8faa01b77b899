"""Plot views show the chart of their node, in the layouts that have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6 import QtGui

import embedded_slicer
from embedded_slicer.gui.pythonqt import unwrap


@pytest.fixture
def chart(host: embedded_slicer.Host) -> Iterator[Any]:
    """Dice over time: a red line of three points with big markers, and a label for each."""
    import slicer
    import vtk

    layout = slicer.app.layoutManager().layout
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "sweep")
    for name, array, values in (
        ("seconds", vtk.vtkDoubleArray(), (1.0, 10.0, 100.0)),
        ("Dice", vtk.vtkDoubleArray(), (0.8, 0.9, 1.0)),
        ("keep ratio", vtk.vtkStringArray(), ("0.1", "0.25", "1")),
    ):
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        table.AddColumn(array)
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "agreement")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName("seconds")
    series.SetYColumnName("Dice")
    series.SetLabelColumnName("keep ratio")
    series.SetColor(1, 0, 0)
    series.SetMarkerStyle(series.MarkerStyleSquare)
    series.SetMarkerSize(15)
    series.SetLineWidth(3)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "agreement over time")
    node.AddAndObservePlotSeriesNodeID(series.GetID())
    node.SetLegendVisibility(False)
    yield node
    slicer.app.layoutManager().setLayout(layout)


def shown_chart() -> Any:
    import slicer

    return slicer.app.layoutManager().plotWidget(0).plotView().chart()


def red_pixels() -> np.ndarray:
    """Rows and columns of the plot view's red pixels, as shares of its size."""
    import slicer

    view = unwrap(slicer.app.layoutManager().plotWidget(0).plotView())
    view.resize(400, 300)
    view._render()
    image = view._picture
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    colors = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)
    return np.argwhere((colors[..., 0] > 200) & (colors[..., 1:] < 60).all(-1)) / (image.height(), image.width())


def test_showing_a_chart_switches_to_a_layout_with_a_plot(
    host: embedded_slicer.Host, chart: Any, tmp_path: Path
) -> None:
    import slicer

    manager = slicer.app.layoutManager()
    layouts: list[int] = []
    manager.layoutChanged.connect(layouts.append)
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert layouts == [manager.layout] == [slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView]
    assert manager.plotViewCount == 1
    assert manager.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()
    assert manager.plotWidget(1) is None
    host.views_screenshot(tmp_path / "views.png")
    picture = QtGui.QImage(str(tmp_path / "views.png"))
    # At the top right, where the 3-D view would be otherwise.
    assert picture.pixelColor(picture.width() - 5, picture.height() // 2 - 10).getRgb() == (255, 253, 246, 255)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    host.views_screenshot(tmp_path / "views.png")
    assert not manager.threeDWidget(0).threeDView().parentWidget().isHidden()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert unwrap(manager.plotWidget(0)).isHidden()


def test_points_lie_where_the_table_says(chart: Any) -> None:
    import slicer

    slicer.modules.plots.logic().ShowChartInLayout(chart)
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0, 200)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.6, 1.2)
    place = red_pixels()
    assert len(place) > 300
    linear = place[:, 1].max()
    assert 0.5 < linear < 0.62  # 100 of 200 s, right of the axis' labels
    chart.SetXAxisLogScale(True)
    chart.SetXAxisRange(1, 1000)
    assert 0.65 < red_pixels()[:, 1].max() < 0.75  # two of three decades


def test_a_chart_follows_its_series_and_its_table(chart: Any) -> None:
    import slicer

    slicer.modules.plots.logic().ShowChartInLayout(chart)
    series = chart.GetPlotSeriesNode()
    assert shown_chart().GetPlot(0).GetLabel() == "agreement"
    assert shown_chart().GetPlot(0).GetIndexedLabels().GetValue(1) == "0.25"
    series.SetColor(0, 0, 1)
    assert not len(red_pixels())
    table = series.GetTableNode().GetTable()
    table.GetColumnByName("Dice").SetValue(0, 0.2)
    table.Modified()
    red_pixels()
    assert shown_chart().GetAxis(0).GetMinimum() <= 0.2
    chart.SetTitle("Agreement")
    chart.SetXAxisTitle("Time (s)")
    assert (shown_chart().GetTitle(), shown_chart().GetAxis(1).GetTitle()) == ("Agreement", "Time (s)")
    series.SetYColumnName("keep ratio")  # text cannot be plotted
    assert shown_chart().GetNumberOfPlots() == 0


def test_a_removed_chart_leaves_the_view_empty(chart: Any) -> None:
    import slicer

    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert shown_chart().GetNumberOfPlots() == 1
    slicer.mrmlScene.RemoveNode(chart)
    assert shown_chart().GetNumberOfPlots() == 0
