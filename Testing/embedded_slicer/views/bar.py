"""The coloured bar above a view."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

_HEIGHT = 24


class ViewBar(QtWidgets.QWidget):
    """A bar in the view's colour that begins with the view's label."""

    def __init__(self, label: str, color: QtGui.QColor) -> None:
        """Args:
        label: one or two letters.
        color: background.
        """
        super().__init__()
        self.setFixedHeight(_HEIGHT)
        self.setAutoFillBackground(True)
        palette = self.palette()
        palette.setColor(QtGui.QPalette.ColorRole.Window, color)
        palette.setColor(QtGui.QPalette.ColorRole.WindowText, QtCore.Qt.GlobalColor.black)
        self.setPalette(palette)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(6, 0, 6, 0)
        title = QtWidgets.QLabel(label)
        title.setMinimumWidth(16)
        layout.addWidget(title)
