"""ctkDirectoryButton: choose a folder."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtGui, QtWidgets


class DirectoryButton(QtWidgets.QWidget):
    """Button with the path of a folder on it; a click asks for another one.

    In testing mode it does not ask, as nobody would answer.

    Checked against CTK's Libs/Widgets/ctkDirectoryButton.h and .cpp.
    """

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)

    def __init__(self, *arguments: object) -> None:
        directory = next((argument for argument in arguments if isinstance(argument, str)), ".")
        super().__init__(next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None))
        self._directory = QtCore.QDir(directory)
        self._text, self._caption = "", ""
        policies, kinds = QtWidgets.QSizePolicy.Policy, QtWidgets.QSizePolicy.ControlType
        self._button = QtWidgets.QPushButton()
        self._button.setSizePolicy(QtWidgets.QSizePolicy(policies.Ignored, policies.Fixed, kinds.PushButton))
        self._button.setIcon(self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_DirIcon))
        self._button.clicked.connect(lambda: self.browse())
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self.setSizePolicy(QtWidgets.QSizePolicy(policies.Expanding, policies.Fixed, kinds.ButtonBox))

    def browse(self) -> str:
        """Ask for a folder; return its path, empty if none was chosen."""
        if slicer.app.testingEnabled():
            return ""
        caption = self._caption or self.toolTip()
        chosen = QtWidgets.QFileDialog.getExistingDirectory(self, caption, self._directory.path())
        if chosen:
            self._setDirectory(chosen)
        return chosen

    def _setDirectory(self, path: str) -> None:
        chosen = QtCore.QDir(path)
        changed = chosen != self._directory
        if changed:
            self._directory.setPath(chosen.absolutePath())
            self._showText()
        self.directorySelected.emit(chosen.absolutePath())
        if changed:
            self.directoryChanged.emit(self._directory.absolutePath())

    def _setText(self, text: str) -> None:
        self._text = text
        self._showText()

    def _setCaption(self, caption: str) -> None:
        self._caption = caption

    def _showText(self) -> None:
        text = self._text or self._directory.absolutePath()
        room = max(self._button.width() - 40, 60)
        self._button.setText(self.fontMetrics().elidedText(text, QtCore.Qt.TextElideMode.ElideMiddle, room))

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Leave out the middle of a path that is too long."""
        super().resizeEvent(event)
        self._showText()

    directory = QtCore.Property(
        str, lambda self: self._directory.path(), _setDirectory, notify=directoryChanged, user=True
    )
    caption = QtCore.Property(str, lambda self: self._caption, _setCaption)
    text = QtCore.Property(str, lambda self: self._text, _setText)
    icon = QtCore.Property(QtGui.QIcon, lambda self: self._button.icon(), lambda self, icon: self._button.setIcon(icon))
