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
        known = {**CTK_WIDGETS, **SLICER_WIDGETS}
        for element in document.iter("widget"):
            self._checkProperties(element, known)
        connections = _takeConnections(document)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(document))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        panel = super().load(buffer, parentWidget)
        if panel is None:
            self._problems.append(self.errorString())
        if self._problems:
            raise RuntimeError(f"Cannot build the panel: {'; '.join(self._problems)}")
        for connection in connections:
            _connect(panel, connection)
        return panel

    def _checkProperties(self, element: ElementTree.Element, known: dict[str, type]) -> None:
        """Qt sets a property that a class lacks as a dynamic one: in a stand-in that would hide a gap."""
        standIn = known.get(element.get("class", ""))
        if standIn is None:
            return
        meta = standIn.staticMetaObject
        for entry in element.findall("property"):
            name = entry.get("name", "")
            if entry.get("stdset") != "0" and meta.indexOfProperty(name) < 0:
                self._problems.append(f"{element.get('class')} ({element.get('name')}) has no property {name}")


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
