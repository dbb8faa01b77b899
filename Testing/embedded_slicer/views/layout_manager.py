"""``slicer.app.layoutManager()``: the slice views Red, Yellow and Green and one 3-D view."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.rendering import RenderView
from embedded_slicer.views.slice_view import qMRMLSliceWidget
from embedded_slicer.views.threed_view import qMRMLThreeDWidget

_SLICE_VIEWS = ("Red", "Yellow", "Green")


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Holds the views; whatever the layout, the host draws these four.

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
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._slice_widgets = {
            name: qMRMLSliceWidget(scene.GetNodeByID(f"vtkMRMLSliceNode{name}"), application_logic)
            for name in _SLICE_VIEWS
        }
        self._threed_widgets = [qMRMLThreeDWidget(scene.GetNodeByID("vtkMRMLViewNode1"), application_logic)]

    layout = QtCore.Property(
        int,
        lambda self: self._layout_logic.GetLayoutNode().GetViewArrangement(),
        lambda self, layout: self.setLayout(layout),
    )
    threeDViewCount = QtCore.Property(int, lambda self: len(self._threed_widgets))

    def setLayout(self, newLayout: int) -> None:
        """Set the layout in the scene's layout node."""
        self._layout_logic.GetLayoutNode().SetViewArrangement(newLayout)
        self.layoutChanged.emit(newLayout)

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
        return [*self._slice_widgets.values(), *self._threed_widgets]

    def _views(self) -> list[RenderView]:
        """What renders in all views, slices first."""
        slices = [widget.sliceView() for widget in self._slice_widgets.values()]
        return [*slices, *(widget.threeDView() for widget in self._threed_widgets)]

    def _close(self) -> None:
        """Let go of the nodes and of the graphics contexts."""
        for view in self._views():
            view._close()
