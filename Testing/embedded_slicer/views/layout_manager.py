"""``slicer.app.layoutManager()``: the slice views Red, Yellow and Green, one 3-D view, and plot views."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.plot_view import qMRMLPlotWidget
from embedded_slicer.views.rendering import PictureView, RenderView
from embedded_slicer.views.slice_view import qMRMLSliceWidget
from embedded_slicer.views.threed_view import qMRMLThreeDWidget

_SLICE_VIEWS = ("Red", "Yellow", "Green")


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Holds the views, and arranges those that are in the current layout; it has no table views.

    Checked against Base/QTGUI/qSlicerLayoutManager.h and Libs/MRML/Widgets/qMRMLLayoutManager.h.
    """

    layoutChanged = QtCore.Signal(int)

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._scene = scene
        self._slice_logics = vtk.vtkCollection()
        self._view_logics = vtk.vtkCollection()
        application_logic.SetSliceLogics(self._slice_logics)
        application_logic.SetViewLogics(self._view_logics)
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLApplicationLogic(application_logic)
        self._layout_logic.SetMRMLScene(scene)
        self._node = self._layout_logic.GetLayoutNode()
        self._node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._description = ""
        self._slice_widgets = {
            name: qMRMLSliceWidget(scene.GetNodeByID(f"vtkMRMLSliceNode{name}"), application_logic)
            for name in _SLICE_VIEWS
        }
        self._threed_widgets = [qMRMLThreeDWidget(scene.GetNodeByID("vtkMRMLViewNode1"), application_logic)]
        self._plot_widgets: list[qMRMLPlotWidget] = []
        self._viewport = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self._viewport).setContentsMargins(0, 0, 0, 0)
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._arrange())
        self._arrange()

    layout = QtCore.Property(
        int, lambda self: self._node.GetViewArrangement(), lambda self, layout: self.setLayout(layout)
    )
    threeDViewCount = QtCore.Property(int, lambda self: len(self._threed_widgets))
    plotViewCount = QtCore.Property(int, lambda self: len(self._plot_widgets))

    def setLayout(self, newLayout: int) -> None:
        """Set the layout in the scene's layout node."""
        self._node.SetViewArrangement(newLayout)

    def layoutLogic(self) -> Any:
        """The vtkMRMLLayoutLogic."""
        return self._layout_logic

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views."""
        return _SLICE_VIEWS

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        """A slice view by name, None if there is none."""
        return self._slice_widgets.get(name)

    def threeDWidget(self, index: int) -> qMRMLThreeDWidget | None:
        """A 3-D view by number, None if there is none."""
        return self._threed_widgets[index] if 0 <= index < len(self._threed_widgets) else None

    def plotWidget(self, index: int) -> qMRMLPlotWidget | None:
        """A plot view by number, None if no layout has shown so many."""
        return self._plot_widgets[index] if 0 <= index < len(self._plot_widgets) else None

    def mrmlSliceLogics(self) -> Any:
        """Logics of the slice views."""
        return self._slice_logics

    def mrmlViewLogics(self) -> Any:
        """Logics of the 3-D views."""
        return self._view_logics

    def activeMRMLThreeDViewNode(self) -> Any:
        """Node of the first 3-D view."""
        return self._threed_widgets[0].mrmlViewNode()

    def activeThreeDRenderer(self) -> Any:
        """Renderer of the first 3-D view."""
        return self._threed_widgets[0].threeDView()._renderer

    def resetThreeDViews(self) -> None:
        """Show everything in each 3-D view."""
        for widget in self._threed_widgets:
            widget.threeDView().resetFocalPoint()
            widget.threeDView().resetCamera()

    def resetSliceViews(self) -> None:
        """Show the whole background volume in each slice view."""
        for widget in self._slice_widgets.values():
            widget.sliceController().fitSliceToBackground()

    def setRenderPaused(self, pause: bool) -> None:
        """Pause rendering, or resume it if every pause is resumed."""
        for view in self._views():
            view._pauses += 1 if pause else -1

    def pauseRender(self) -> None:
        """Pause rendering."""
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        """Resume rendering."""
        self.setRenderPaused(False)

    def viewWidgets(self) -> list[QtWidgets.QWidget]:
        """Widgets of all views."""
        return [*self._slice_widgets.values(), *self._threed_widgets, *self._plot_widgets]

    def _views(self) -> list[RenderView]:
        """What renders in the slice and 3-D views, slices first."""
        slices = [widget.sliceView() for widget in self._slice_widgets.values()]
        return [*slices, *(widget.threeDView() for widget in self._threed_widgets)]

    def _shown_views(self) -> list[PictureView]:
        """What renders in the views that are in the current layout."""
        views = [*self._views(), *(widget.plotView() for widget in self._plot_widgets)]
        return [view for view in views if not view.parentWidget().isHidden()]

    def _arrange(self) -> None:
        """Put the views of the current layout into a new widget; the others are hidden."""
        description = self._node.GetCurrentLayoutDescription()
        if not description or description == self._description:  # it is empty while the scene is being closed
            return
        self._description = description
        before = self._viewport.layout().takeAt(0)
        for widget in self.viewWidgets():
            widget.setParent(self._viewport)
            widget.hide()
            _view_node(widget).SetMappedInLayout(False)
        arranged = QtWidgets.QWidget()
        self._fill(ElementTree.fromstring(description), arranged)
        self._viewport.layout().addWidget(arranged)
        if before is not None:
            before.widget().deleteLater()
        self.layoutChanged.emit(self._node.GetViewArrangement())

    def _fill(self, element: ElementTree.Element, parent: QtWidgets.QWidget) -> None:
        """Fill a widget with the views and the layouts of a layout's description."""
        direction = QtWidgets.QBoxLayout.Direction
        is_vertical = element.get("type") == "vertical"
        box = QtWidgets.QBoxLayout(direction.TopToBottom if is_vertical else direction.LeftToRight, parent)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(2)
        for item in element.findall("item"):
            view, inner = item.find("view"), item.find("layout")
            widget = self._widget(view) if view is not None else None
            if widget is not None:
                _view_node(widget).SetMappedInLayout(True)
            if inner is not None:
                widget = QtWidgets.QWidget()
                self._fill(inner, widget)
            if widget is not None:
                box.addWidget(widget, int(item.get("splitSize", "1")))
                widget.show()

    def _widget(self, view: ElementTree.Element) -> QtWidgets.QWidget | None:
        """The widget of a view in a layout's description, None if the host has none."""
        tag = view.get("singletontag", "")
        node = self._scene.GetSingletonNode(tag, view.get("class", ""))
        if view.get("class") == "vtkMRMLSliceNode":
            return self._slice_widgets.get(tag)
        if view.get("class") == "vtkMRMLViewNode":
            return next((widget for widget in self._threed_widgets if widget.mrmlViewNode() is node), None)
        if view.get("class") != "vtkMRMLPlotViewNode":
            return None
        if not any(widget.mrmlPlotViewNode() is node for widget in self._plot_widgets):
            self._plot_widgets.append(qMRMLPlotWidget(node))
        return next(widget for widget in self._plot_widgets if widget.mrmlPlotViewNode() is node)

    def _close(self) -> None:
        """Let go of the nodes and of the graphics contexts."""
        for view in [*self._views(), *(widget.plotView() for widget in self._plot_widgets)]:
            view._close()


def _view_node(widget: QtWidgets.QWidget) -> Any:
    """The view node of a view's widget."""
    if isinstance(widget, qMRMLSliceWidget):
        return widget.mrmlSliceNode()
    return widget.mrmlPlotViewNode() if isinstance(widget, qMRMLPlotWidget) else widget.mrmlViewNode()
