"""A module written in Python, and its panel, as Slicer's factory makes them from the module's file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from embedded_slicer.gui.pythonqt import wrap
from embedded_slicer.qt_classes import stand_in


@stand_in
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The object that a module's class gets as its parent.

    Checked against Base/QTGUI/qSlicerScriptedLoadableModule.h and Base/QTCore/qSlicerAbstractCoreModule.h.
    """

    def __init__(self, path: Path) -> None:
        """Args:
        path: the module's file.
        """
        super().__init__()
        self.setObjectName(path.stem)  # also what PythonQt gives for ``name``
        self._path = path
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        self._values: dict[str, Any] = {"index": -1, "hidden": False, "icon": QtGui.QIcon()}

    path = QtCore.Property(str, lambda self: str(self._path))

    def _field(name: str, kind: Any, empty: Any) -> Any:  # noqa: N805
        """A property that the module's class sets."""

        def read(self: Any) -> Any:
            return self._values.get(name, empty)

        def write(self: Any, value: Any) -> None:
            self._values[name] = value

        return QtCore.Property(kind, read, write)

    title = _field("title", str, "")
    categories = _field("categories", "QStringList", [])
    contributors = _field("contributors", "QStringList", [])
    dependencies = _field("dependencies", "QStringList", [])
    associatedNodeTypes = _field("associatedNodeTypes", "QStringList", [])
    helpText = _field("helpText", str, "")
    acknowledgementText = _field("acknowledgementText", str, "")
    hidden = _field("hidden", bool, False)
    index = _field("index", int, -1)
    icon = _field("icon", QtGui.QIcon, None)
    del _field

    def logic(self) -> Any:
        """Logic of the C++ side; what the module calls its logic is the panel's."""
        return self._logic

    def widgetRepresentation(self) -> Any:
        """The module's panel, made at the first call."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> Any:
        """Make a panel."""
        widget = qSlicerScriptedLoadableModuleWidget()
        widget._set_source(self._path)
        widget._call("setup")
        widget.setMRMLScene(slicer.mrmlScene)
        return widget

    def _load(self) -> None:
        """Import the module's file and make its class, known as ``slicer.modules.<name>Instance``."""
        module = import_source(self._path)
        self._instance = getattr(module, self._path.stem)(wrap(self))
        setattr(slicer.modules, f"{self._path.stem}Instance", self._instance)
        if hasattr(self._instance, "setup"):
            self._instance.setup()

    def _leave(self) -> None:
        """Exit the panel, if the user is there."""
        if self._widget is not None and self._widget.isEntered:
            self._widget.exit()

    def _close(self) -> None:
        """Delete the panel."""
        if self._widget is not None:
            shiboken6.delete(self._widget)
        self._widget = None


@stand_in
class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The widget that a module's panel class gets as its parent.

    Checked against Base/QTGUI/qSlicerScriptedLoadableModuleWidget.h, qSlicerAbstractModuleWidget.h and qSlicerWidget.h.
    """

    mrmlSceneChanged = QtCore.Signal(object)

    def __init__(self) -> None:
        super().__init__()
        QtWidgets.QVBoxLayout(self)
        self._python_self: Any = None
        self._entered = False

    moduleName = QtCore.Property(str, lambda self: self._path.stem)
    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def self(self) -> Any:
        """The panel's Python object."""
        return self._python_self

    def reload(self) -> None:
        """Make the panel's class again; slicer.util.reloadScriptedModule has loaded its source by then."""
        self._set_source(self._path)
        self._call("setup")

    def enter(self) -> None:
        """The user comes to this module."""
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        """The user leaves this module."""
        self._entered = False
        self._call("exit")

    def setMRMLScene(self, scene: Any) -> None:
        """Tell the scene on."""
        self.mrmlSceneChanged.emit(scene)

    def _set_source(self, path: Path) -> None:
        self._path = path
        name = f"{path.stem}Widget"
        module = sys.modules.get(path.stem) or import_source(path)
        self._python_self = getattr(module, name)(wrap(self))
        setattr(slicer.modules, name, self._python_self)

    def _call(self, method: str) -> None:
        if hasattr(self._python_self, method):
            getattr(self._python_self, method)()


def import_source(path: Path) -> ModuleType:
    """Import a module's file anew under its own name.

    Args:
        path: the module's file; its folder is added to Python's search path.
    """
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
