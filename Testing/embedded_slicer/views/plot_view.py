"""A plot view: the chart of its view node, drawn by VTK's charts as Slicer does it."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtGui, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.bar import ViewBar
from embedded_slicer.views.rendering import PictureView, choose_backend

_BACKGROUND = (255, 253, 246, 255)
_HORIZONTAL = (vtk.vtkAxis.BOTTOM, vtk.vtkAxis.TOP)
_VERTICAL = (vtk.vtkAxis.LEFT, vtk.vtkAxis.RIGHT)
_NO_NUMBERS = (vtk.VTK_STRING, vtk.VTK_BIT)


@stand_in
class qMRMLPlotView(PictureView):
    """Draws a chart; the mouse does nothing to it.

    Checked against Libs/MRML/Widgets/qMRMLPlotView.h and .cxx and CTK's ctkVTKChartView.h and .cpp.
    """

    def __init__(self, view_node: Any) -> None:
        choose_backend()
        self._context = vtk.vtkContextView()
        super().__init__(self._context.GetRenderWindow())
        self._window.SetMultiSamples(0)
        self._context.SetInteractor(vtk.vtkGenericRenderWindowInteractor())
        self._node = view_node
        self._chart_node: Any = None
        self._chart_tag = 0
        self._chart = vtk.vtkChartXY()
        self._chart.GetBackgroundBrush().SetColor(vtk.vtkColor4ub(*_BACKGROUND))
        self._context.GetScene().AddItem(self._chart)
        self._context.GetRenderer().SetUseDepthPeeling(True)
        self._context.GetRenderer().SetUseFXAA(True)
        view_node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._follow())
        scene = view_node.GetScene()
        scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: self._follow())
        self._follow()

    def chart(self) -> Any:
        """The vtkChartXY."""
        return self._chart

    def scene(self) -> Any:
        """The vtkContextScene that the chart is in."""
        return self._context.GetScene()

    def fitToContent(self) -> None:
        """Change the axes so that everything is seen."""
        self._chart.RecalculateBounds()
        self._schedule()

    def _follow(self) -> None:
        """Show the chart that the view node names now."""
        scene = self._node.GetScene()
        chart_node = scene.GetNodeByID(self._node.GetPlotChartNodeID() or "") if scene is not None else None
        if chart_node is not self._chart_node:
            if self._chart_node is not None:
                self._chart_node.RemoveObserver(self._chart_tag)
            self._chart_node = chart_node
            if chart_node is not None:
                self._chart_tag = chart_node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._draw())
        self._draw()

    def _draw(self) -> None:
        self._chart.ClearPlots()
        node = self._chart_node
        if node is not None:
            series = [node.GetNthPlotSeriesNode(index) for index in range(node.GetNumberOfPlotSeriesNodes())]
            for plot in [_plot(each) for each in series if each is not None]:
                if plot is not None:
                    self._chart.AddPlot(plot)
            self._draw_around(node)
        self.scene().SetDirty(True)
        self._schedule()

    def _draw_around(self, node: Any) -> None:
        family = self._chart.GetTitleProperties().GetFontFamilyFromString(node.GetFontType() or "Arial")
        self._chart.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
        _set_font(self._chart.GetTitleProperties(), family, node.GetTitleFontSize())
        self._chart.SetShowLegend(node.GetLegendVisibility())
        _set_font(self._chart.GetLegend().GetLabelProperties(), family, node.GetLegendFontSize())
        for number in (*_HORIZONTAL, *_VERTICAL):
            axis = self._chart.GetAxis(number)
            if number in _HORIZONTAL:
                title = node.GetXAxisTitle() if node.GetXAxisTitleVisibility() else ""
                _set_scale(axis, node.GetXAxisLogScale(), None if node.GetXAxisRangeAuto() else node.GetXAxisRange())
            else:
                title = node.GetYAxisTitle() if node.GetYAxisTitleVisibility() else ""
                _set_scale(axis, node.GetYAxisLogScale(), None if node.GetYAxisRangeAuto() else node.GetYAxisRange())
            axis.SetTitle(title or "")
            axis.SetGridVisible(node.GetGridVisibility())
            axis.GetTitleProperties().SetBold(False)
            _set_font(axis.GetTitleProperties(), family, node.GetAxisTitleFontSize())
            _set_font(axis.GetLabelProperties(), family, node.GetAxisLabelFontSize())
        self._chart.RecalculateBounds()


def _plot(series: Any) -> Any:
    """A vtkPlot of a series node, None if its table lacks the columns that it needs."""
    table = series.GetTableNode().GetTable() if series.GetTableNode() is not None else None
    x_name, y_name, labels = series.GetXColumnName(), series.GetYColumnName(), series.GetLabelColumnName()
    required = (x_name, y_name) if series.IsXColumnRequired() else (y_name,)
    columns = [table.GetColumnByName(name) if table is not None and name else None for name in required]
    if any(column is None or column.GetDataType() in _NO_NUMBERS for column in columns):
        return None
    is_bar = series.GetPlotType() in (series.PlotTypeBar, series.PlotTypeScatterBar)
    plot = vtk.vtkPlotBar() if is_bar else vtk.vtkPlotLine()
    plot.SetWidth(series.GetLineWidth())
    plot.SetColorF(*series.GetColor())
    plot.SetOpacity(series.GetOpacity())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    # Styles of lines and markers have the same numbers in MRML and in VTK.
    solid = series.GetPlotType() == series.PlotTypeBar
    plot.GetPen().SetLineType(vtk.vtkPen.SOLID_LINE if solid else series.GetLineStyle())
    if not is_bar:
        plot.SetMarkerSize(series.GetMarkerSize())
        plot.SetMarkerStyle(series.GetMarkerStyle())
    plot.SetIndexedLabels(table.GetColumnByName(labels) if labels else None)
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(table, required[0], y_name)
    plot.SetLabel(series.GetName() or y_name)
    return plot


def _set_font(properties: Any, family: int, size: int) -> None:
    properties.SetFontFamily(family)
    properties.SetFontSize(size)


def _set_scale(axis: Any, logarithmic: bool, limits: tuple[float, float] | None) -> None:
    """Set what an axis shows.

    Args:
        axis: the vtkAxis.
        logarithmic: whether its scale is; it shows positive values only.
        limits: least and greatest value; None: whatever there is.
    """
    axis.SetLogScale(logarithmic)
    axis.SetUnscaledMinimumLimit(0 if logarithmic else float("-inf"))
    axis.SetBehavior(vtk.vtkAxis.AUTO if limits is None else vtk.vtkAxis.FIXED)
    if limits is not None:
        low, high = limits
        if logarithmic and low <= 0:
            low = high / 1e4 if high < 1e4 else 1.0
        axis.SetUnscaledRange(low, high)
    axis.Update()


@stand_in
class qMRMLPlotWidget(QtWidgets.QWidget):
    """A plot view below its bar.

    Checked against Libs/MRML/Widgets/qMRMLPlotWidget.h.
    """

    def __init__(self, view_node: Any) -> None:
        super().__init__()
        self._node = view_node
        self._view = qMRMLPlotView(view_node)
        bar = ViewBar(view_node.GetLayoutLabel() or "", QtGui.QColor.fromRgbF(*view_node.GetLayoutColor()))
        bar.layout().addStretch(1)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)

    def mrmlPlotViewNode(self) -> Any:
        """The view node."""
        return self._node

    def plotView(self) -> qMRMLPlotView:
        """The view."""
        return self._view
