"""Views that render off-screen and paint the picture: the same on a display, on a server and in a test."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

_REFRESH_MS = 40
_MINIMUM_SIZE = 32


def choose_backend() -> None:
    """Without a display, render through EGL at once: VTK would try X first, which takes a second and warns."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


class PictureView(QtWidgets.QWidget):
    """A VTK window off-screen, painted as a picture.

    It renders when ``_render`` is called and, while it is visible, when something has changed.
    """

    def __init__(self, window: Any) -> None:
        """Args:
        window: the vtkRenderWindow.
        """
        super().__init__()
        self.setMinimumSize(_MINIMUM_SIZE, _MINIMUM_SIZE)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)
        self._picture = QtGui.QImage()
        self._dirty = True
        self._pauses = 0
        self._window = window
        self._window.SetOffScreenRendering(1)
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        self.resize(400, 400)

    def renderWindow(self) -> Any:
        """The vtkRenderWindow."""
        return self._window

    def _render(self) -> None:
        """Render now."""
        self._set_size(max(self.width(), _MINIMUM_SIZE), max(self.height(), _MINIMUM_SIZE))
        self._update()
        self._window.Render()
        width, height = self._window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        rows = np.ascontiguousarray(vtk_to_numpy(pixels).reshape(height, width, 3)[::-1])
        self._picture = QtGui.QImage(rows.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()
        self._dirty = False
        self.update()

    def _schedule(self) -> None:
        """Note that the picture is out of date."""
        self._dirty = True

    def _update(self) -> None:
        """Bring what does not follow the scene by itself up to date, before a rendering."""

    def _set_size(self, width: int, height: int) -> None:
        self._window.SetSize(width, height)

    def _refresh(self) -> None:
        if self._dirty and not self._pauses:
            self._render()

    def _close(self) -> None:
        """Let go of the graphics context."""
        self._timer.stop()
        self._window.Finalize()

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        self._timer.start()
        super().showEvent(event)

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        self._timer.stop()
        super().hideEvent(event)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        self._schedule()
        super().resizeEvent(event)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.drawImage(self.rect(), self._picture)
        painter.end()


class RenderView(PictureView):
    """A renderer with the displayable managers of a factory."""

    # Displayable managers to register, in the order in which Slicer's views and modules do.
    _DISPLAYABLE_MANAGERS: tuple[str, ...] = ()

    def __init__(self, factory: Any, view_node: Any) -> None:
        """Args:
        factory: the displayable manager factory of this kind of view.
        view_node: the view's MRML node.
        """
        choose_backend()
        super().__init__(vtk.vtkRenderWindow())
        self._node = view_node
        self._outdated = False
        self._window.SetMultiSamples(0)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._prepare()
        for name in self._DISPLAYABLE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = factory.InstantiateDisplayableManagers(self._renderer)
        self._group.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.scheduleRender())
        self._group.SetMRMLDisplayableNode(view_node)
        scene = view_node.GetScene()
        scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: self._on_batch_processed())

    def scheduleRender(self) -> None:
        """Note that the picture is out of date."""
        self._schedule()

    def forceRender(self) -> None:
        """Render now."""
        self._render()

    def interactor(self) -> Any:
        """The vtkRenderWindowInteractor."""
        return self._interactor

    def displayableManagerByClassName(self, className: str) -> Any:
        """A displayable manager of this view, None if it has none of that class."""
        return self._group.GetDisplayableManagerByClassName(className)

    def _on_batch_processed(self) -> None:
        self._dirty = self._outdated = True

    def _prepare(self) -> None:
        """Set up the renderer before displayable managers add their actors to it."""

    def _update(self) -> None:
        if self._outdated:
            # Displayable managers only note that a scene was loaded; the view node's next change makes them look.
            self._node.Modified()
            self._outdated = False

    def _set_size(self, width: int, height: int) -> None:
        self._interactor.UpdateSize(width, height)

    def _close(self) -> None:
        self._group.SetMRMLDisplayableNode(None)
        super()._close()
