"""qt.QUiLoader: builds panels from .ui files, with the stand-ins for CTK's and Slicer's widgets."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from PySide6 import QtCore, QtUiTools, QtWidgets

from .pythonqt import wrap
from .widgets import CTK_WIDGETS, SLICER_WIDGETS


@dataclass
class _Connection:
    sender: str
    signal: str
    receiver: str
    slot: str


class UiLoader(QtUiTools.QUiLoader):
    """Loader of .ui files that refuses what Slicer's own could not build either.

    Checked against Qt's QUiLoader and Slicer's use of it in Base/Python/slicer/util.py, loadUI.
    """

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self._problems: list[str] = []

    def createWidget(
        self, className: str, parent: QtWidgets.QWidget | None = None, name: str = ""
    ) -> QtWidgets.QWidget:
        """Make a widget by its class name."""
        standIn = {**CTK_WIDGETS, **SLICER_WIDGETS}.get(className)
        if standIn is None:
            # Qt would make a plain QWidget of a class it does not know.
            if className not in self.availableWidgets():
                self._problems.append(f"there is no widget class {className} ({name})")
            return super().createWidget(className, parent, name)
        widget = standIn(parent)
        widget.setObjectName(name)
        if parent is not None:
            _keepWhileItLives(widget)
        return widget

    def load(self, device: QtCore.QIODevice, parentWidget: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """Build the panel of a .ui file.

        Raises:
            RuntimeError: the file asks for a widget class, property, signal or slot that there is none of.
        """
        self._problems.clear()
        document = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = _takeConnections(document)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(document))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        panel = super().load(buffer, parentWidget)
        if panel is None:
            self._problems.append(self.errorString())
        else:
            self._checkProperties(document, panel)
        if self._problems:
            raise RuntimeError(f"Cannot build the panel: {'; '.join(self._problems)}")
        for connection in connections:
            _connect(panel, connection)
        return panel

    def _checkProperties(self, document: ElementTree.Element, panel: QtWidgets.QWidget) -> None:
        """Refuse properties that a class lacks: Qt would make dynamic ones of them."""
        for element in document.iter("widget"):
            name = element.get("name", "")
            widget = panel if panel.objectName() == name else panel.findChild(QtWidgets.QWidget, name)
            names = [entry.get("name", "") for entry in element.findall("property") if entry.get("stdset") != "0"]
            lacking = [name for name in names if widget is not None and widget.metaObject().indexOfProperty(name) < 0]
            self._problems += [f"{element.get('class')} ({name}) has no property {entry}" for entry in lacking]


_living: dict[int, QtWidgets.QWidget] = {}


def _keepWhileItLives(widget: QtWidgets.QWidget) -> None:
    """Keep the Python half of a widget that C++ owns: Qt for Python would let go of it, and its state with it."""
    key = id(widget)
    _living[key] = widget
    widget.destroyed.connect(lambda: _living.pop(key, None))


def _takeConnections(document: ElementTree.Element) -> list[_Connection]:
    """Take the connections out of a document: Qt does not know VTK's types in their signatures."""
    taken = []
    for parent in document.iter("connections"):
        for entry in list(parent.iter("connection")):
            taken.append(
                _Connection(*((entry.findtext(part) or "") for part in ("sender", "signal", "receiver", "slot")))
            )
        parent.clear()
    return taken


def _connect(panel: QtWidgets.QWidget, connection: _Connection) -> None:
    root = wrap(panel)
    ends = []
    for name in (connection.sender, connection.receiver):
        found = root if root.objectName == name else root.findChild("QObject", name)
        if found is None:
            raise RuntimeError(f"Cannot connect in the panel: it has no object named {name}")
        ends.append(found)
    sender, receiver = ends
    if not hasattr(receiver, re.sub(r"\(.*", "", connection.slot)):
        raise RuntimeError(f"Cannot connect in the panel: {connection.receiver} has no slot {connection.slot}")
    sender.connect(connection.signal, receiver, connection.slot)
