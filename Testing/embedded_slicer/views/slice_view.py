"""A slice view: the slice logic's image, what displayable managers draw on it, and the bar above."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.bar import ViewBar
from embedded_slicer.views.rendering import RenderView


@stand_in
class qMRMLSliceView(RenderView):
    """Draws one slice; the wheel moves it, and the crosshair node knows where the mouse is.

    Checked against Libs/MRML/Widgets/qMRMLSliceView.h and CTK's ctkVTKAbstractView.h.
    """

    _DISPLAYABLE_MANAGERS = (
        "vtkMRMLVolumeGlyphSliceDisplayableManager",
        "vtkMRMLModelSliceDisplayableManager",
        "vtkMRMLCrosshairDisplayableManager",
        "vtkMRMLOrientationMarkerDisplayableManager",
        "vtkMRMLRulerDisplayableManager",
        "vtkMRMLScalarBarDisplayableManager",
        "vtkMRMLColorLegendDisplayableManager",
        "vtkMRMLSegmentationsDisplayableManager2D",
    )

    def __init__(self, slice_logic: Any) -> None:
        self._logic = slice_logic
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), slice_logic.GetSliceNode())
        slice_logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(slice_logic)
        self._style.SetDisplayableManagers(self._group)
        self._style.SetInteractor(self._interactor)
        self.setMouseTracking(True)
        self._set_size(self.width(), self.height())

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._node

    def cornerAnnotation(self) -> Any:
        """Text in the corners."""
        return self._corner_annotation

    def _prepare(self) -> None:
        # The slice image lies below everything else: an actor added later would cover or blend with it.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image_actor = vtk.vtkActor2D()
        self._image_actor.SetMapper(self._mapper)
        self._renderer.AddViewProp(self._image_actor)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._corner_annotation = vtk.vtkCornerAnnotation()
        self._corner_annotation.SetMaximumLineHeight(0.04)
        self._corner_annotation.GetTextProperty().SetColor(1, 1, 0.6)
        self._renderer.AddViewProp(self._corner_annotation)

    def _update(self) -> None:
        super()._update()
        # The logic's image is another one as soon as it has layers.
        connection = self._logic.GetImageDataConnection()
        self._image_actor.SetVisibility(connection is not None)
        self._mapper.SetInputConnection(connection)
        self._corner_annotation.SetText(vtk.vtkCornerAnnotation.LowerLeft, self._layer_names())

    def _set_size(self, width: int, height: int) -> None:
        super()._set_size(width, height)
        if tuple(self._node.GetDimensions()[:2]) != (width, height):
            self._logic.ResizeSliceNode(width, height)

    def _layer_names(self) -> str:
        composite = self._logic.GetSliceCompositeNode()
        layers = (
            ("L", composite.GetLabelVolumeID(), ""),
            ("F", composite.GetForegroundVolumeID(), f" ({composite.GetForegroundOpacity():.0%})"),
            ("B", composite.GetBackgroundVolumeID(), ""),
        )
        named = [(key, slicer.mrmlScene.GetNodeByID(node_id), note) for key, node_id, note in layers if node_id]
        return "\n".join(f"{key}: {node.GetName()}{note}" for key, node, note in named if node)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        place, keys = event.position(), event.modifiers()
        control = bool(keys & QtCore.Qt.KeyboardModifier.ControlModifier)
        shift = bool(keys & QtCore.Qt.KeyboardModifier.ShiftModifier)
        self._interactor.SetEventInformationFlipY(int(place.x()), int(place.y()), control, shift)
        self._interactor.MouseMoveEvent()

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        self._interactor.LeaveEvent()
        super().leaveEvent(event)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        step = self._logic.GetLowestVolumeSliceSpacing()[2]
        self._logic.SetSliceOffset(self._logic.GetSliceOffset() + (step if event.angleDelta().y() > 0 else -step))


@stand_in
class qMRMLSliceControllerWidget(ViewBar):
    """The bar above a slice view, with a slider that moves the slice.

    Checked against Libs/MRML/Widgets/qMRMLSliceControllerWidget.h.
    """

    def __init__(self, slice_logic: Any) -> None:
        node = slice_logic.GetSliceNode()
        super().__init__(node.GetLayoutLabel() or node.GetName()[:1], QtGui.QColor.fromRgbF(*node.GetLayoutColor()))
        self._logic = slice_logic
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._value = QtWidgets.QLabel()
        self._value.setMinimumWidth(80)
        self.layout().addWidget(self._slider, 1)
        self.layout().addWidget(self._value)
        self._slider.valueChanged.connect(self._on_slider)
        slice_logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._follow())
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._follow())
        self._follow()

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume, at its centre."""
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        """Move the slice.

        Args:
            offset: along the slice's normal, in mm.
        """
        self._logic.SetSliceOffset(offset)

    def setSliceVisible(self, visible: bool) -> None:
        """Show the slice in the 3-D view."""
        self._logic.GetSliceNode().SetSliceVisible(visible)

    def _step(self) -> float:
        return self._logic.GetLowestVolumeSliceSpacing()[2] or 1.0

    def _follow(self) -> None:
        bounds = [0.0] * 6
        self._logic.GetLowestVolumeSliceBounds(bounds)
        offset, step = self._logic.GetSliceOffset(), self._step()
        with QtCore.QSignalBlocker(self._slider):
            self._slider.setRange(round(bounds[4] / step), round(bounds[5] / step))
            self._slider.setValue(round(offset / step))
        self._value.setText(f"{offset:.2f} mm")

    def _on_slider(self, value: int) -> None:
        self._logic.SetSliceOffset(value * self._step())


@stand_in
class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view below its bar.

    Checked against Libs/MRML/Widgets/qMRMLSliceWidget.h.
    """

    def __init__(self, slice_node: Any, application_logic: Any) -> None:
        super().__init__()
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(slice_node.GetScene())
        application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetSliceNode(slice_node)
        self._view = qMRMLSliceView(self._logic)
        self._controller = qMRMLSliceControllerWidget(self._logic)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._controller)
        layout.addWidget(self._view, 1)

    def sliceLogic(self) -> Any:
        """The vtkMRMLSliceLogic."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        """The node that says which volumes are shown."""
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> qMRMLSliceView:
        """The view."""
        return self._view

    def sliceController(self) -> qMRMLSliceControllerWidget:
        """The view's bar."""
        return self._controller

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume, at its centre."""
        self._controller.fitSliceToBackground()
