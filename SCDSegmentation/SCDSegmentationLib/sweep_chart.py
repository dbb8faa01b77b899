"""The plot of a sweep: agreement with the densest run against time or tokens, in Slicer's plot view."""

from __future__ import annotations

import slicer

from SCDSegmentationLib.sweep_table import LABEL, MEAN, PLOT_REFERENCE, SECONDS, TOKENS, SweepTable
from SCDSegmentationLib.token_maps import OWNED_PREFIX, dependants, removeNodes

_SERIES_REFERENCE = f"{OWNED_PREFIX}series"
_AXES = {SECONDS: "seconds of a run by itself", TOKENS: "tokens scored, over all stages and windows"}
# The mean stands out from the structures, which are too many to be told apart by colours.
_BLUE, _GREY = (0.0, 0.447, 0.698), (0.75, 0.75, 0.75)


def showChart(table: SweepTable, axis: str) -> slicer.vtkMRMLPlotChartNode:
    """Show the plot of a table in the layout; it is made once and kept with the table.

    Args:
        table: of a sweep.
        axis: :data:`~SCDSegmentationLib.sweep_table.SECONDS` or :data:`~SCDSegmentationLib.sweep_table.TOKENS`.
    """
    chart = _chart(table)
    with slicer.util.NodeModify(chart):
        _removeSeries(chart)
        for name in table.structures:
            _addSeries(chart, table, name, axis, _GREY, thick=False)
        _addSeries(chart, table, MEAN, axis, _BLUE, thick=True)
        chart.SetTitle("Agreement with the densest run")
        chart.SetXAxisTitle(_AXES[axis])
        chart.SetYAxisTitle("Dice")
        chart.SetLegendVisibility(False)  # dozens of names would leave no room for the lines
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    return chart


def isChartShown(table: SweepTable) -> bool:
    """Whether the plot of a table is in the plot view."""
    chart = table.node.GetNodeReference(PLOT_REFERENCE)
    selected = slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID()
    return chart is not None and chart.GetID() == selected


def _chart(table: SweepTable) -> slicer.vtkMRMLPlotChartNode:
    chart = table.node.GetNodeReference(PLOT_REFERENCE)
    if chart is None:
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{table.node.GetName()} plot")
        table.node.SetNodeReferenceID(PLOT_REFERENCE, chart.GetID())
    return chart


def _removeSeries(chart: slicer.vtkMRMLPlotChartNode) -> None:
    series = dependants(chart)
    chart.RemoveAllPlotSeriesNodeIDs()
    chart.RemoveNodeReferenceIDs(_SERIES_REFERENCE)
    removeNodes(series)


def _addSeries(
    chart: slicer.vtkMRMLPlotChartNode,
    table: SweepTable,
    column: str,
    axis: str,
    color: tuple[float, float, float],
    thick: bool,
) -> None:
    """The mean as a thick line with markers that tell the keep ratio, a structure as a thin line."""
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", column)
    with slicer.util.NodeModify(series):
        series.SetHideFromEditors(not thick)
        series.SetAndObserveTableNodeID(table.node.GetID())
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetXColumnName(axis)
        series.SetYColumnName(column)
        series.SetLabelColumnName(LABEL)
        series.SetColor(*color)
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        series.SetLineWidth(4 if thick else 1)
        circle, none = slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle, slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone
        series.SetMarkerStyle(circle if thick else none)
        series.SetMarkerSize(12)
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.AddNodeReferenceID(_SERIES_REFERENCE, series.GetID())
