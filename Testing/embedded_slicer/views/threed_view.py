"""A 3-D view: surfaces of segmentations, models and slices, with their camera."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.bar import ViewBar
from embedded_slicer.views.rendering import RenderView

_ZOOM_STEP = 1.1


@stand_in
class qMRMLThreeDView(RenderView):
    """Draws a scene in 3-D; the left mouse button turns it, the wheel zooms.

    Checked against Libs/MRML/Widgets/qMRMLThreeDView.h and CTK's ctkVTKAbstractView.h and ctkVTKRenderView.h.
    """

    _DISPLAYABLE_MANAGERS = (
        "vtkMRMLCameraDisplayableManager",
        "vtkMRMLViewDisplayableManager",
        "vtkMRMLModelDisplayableManager",
        "vtkMRMLThreeDReformatDisplayableManager",
        "vtkMRMLCrosshairDisplayableManager3D",
        "vtkMRMLOrientationMarkerDisplayableManager",
        "vtkMRMLRulerDisplayableManager",
        "vtkMRMLColorLegendDisplayableManager",
        "vtkMRMLSegmentationsDisplayableManager3D",
    )

    def __init__(self, view_node: Any) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), view_node)
        self._grip: QtCore.QPointF | None = None

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._node

    def cameraNode(self) -> Any:
        """The camera node of this view."""
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def resetFocalPoint(self) -> None:
        """Look at the centre of what is visible; the box and its labels do not count."""
        shown = (self._node.GetBoxVisible(), self._node.GetAxisLabelsVisible())
        self._node.SetBoxVisible(False)
        self._node.SetAxisLabelsVisible(False)
        bounds = self._renderer.ComputeVisiblePropBounds()
        self._node.SetBoxVisible(shown[0])
        self._node.SetAxisLabelsVisible(shown[1])
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            self.cameraNode().SetFocalPoint(*(sum(bounds[axis : axis + 2]) / 2 for axis in (0, 2, 4)))

    def resetCamera(
        self, resetRotation: bool = True, resetTranslation: bool = True, resetDistance: bool = True
    ) -> None:
        """Stand where everything is seen."""
        self.cameraNode().Reset(resetRotation, resetTranslation, resetDistance, self._renderer)

    def rotateToViewAxis(self, axisId: int) -> None:
        """Look from the left, right, posterior, anterior, inferior or superior side (0 to 5)."""
        camera = self.cameraNode()
        sides = (camera.Left, camera.Right, camera.Posterior, camera.Anterior, camera.Inferior, camera.Superior)
        camera.RotateTo(sides[axisId])

    def _prepare(self) -> None:
        self._renderer.GradientBackgroundOn()

    def _update(self) -> None:
        super()._update()
        # Without depth peeling transparent surfaces look wrong; it costs time, so the view node decides.
        peeling = bool(self._node.GetUseDepthPeeling())
        self._window.SetAlphaBitPlanes(peeling)
        self._renderer.SetUseDepthPeeling(peeling)
        self._renderer.ResetCameraClippingRange()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self._grip = event.position()

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        moved = event.position() - self._grip
        self._grip = event.position()
        camera = self.cameraNode().GetCamera()
        camera.Azimuth(-180 * moved.x() / self.width())
        camera.Elevation(180 * moved.y() / self.height())
        camera.OrthogonalizeViewUp()
        self.scheduleRender()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        self.cameraNode().GetCamera().Dolly(_ZOOM_STEP if event.angleDelta().y() > 0 else 1 / _ZOOM_STEP)
        self.scheduleRender()


@stand_in
class qMRMLThreeDWidget(QtWidgets.QWidget):
    """A 3-D view below its bar.

    Checked against Libs/MRML/Widgets/qMRMLThreeDWidget.h.
    """

    def __init__(self, view_node: Any, application_logic: Any) -> None:
        super().__init__()
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(view_node.GetScene())
        application_logic.GetViewLogics().AddItem(self._logic)
        self._view = qMRMLThreeDView(view_node)
        bar = ViewBar(view_node.GetLayoutLabel(), QtGui.QColor.fromRgbF(*view_node.GetLayoutColor()))
        bar.layout().addStretch(1)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._view.mrmlViewNode()

    def viewLogic(self) -> Any:
        """The vtkMRMLViewLogic."""
        return self._logic

    def threeDView(self) -> qMRMLThreeDView:
        """The view."""
        return self._view
