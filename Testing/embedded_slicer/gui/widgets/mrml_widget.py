"""qMRMLWidget: holds the scene for the widgets in it."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets


class MRMLWidget(QtWidgets.QWidget):
    """Widget with a scene, which it passes on by its signal.

    Checked against Slicer's Libs/MRML/Widgets/qMRMLWidget.h and .cxx.
    """

    mrmlSceneChanged = QtCore.Signal(object)
    vtkSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        """Return the scene, None if there is none."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene and tell the widgets inside."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)
