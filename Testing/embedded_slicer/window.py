"""The main window: the module's panel at the left, the views at the right."""

from __future__ import annotations

from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.views.layout_manager import qSlicerLayoutManager

_SIZE = QtCore.QSize(1400, 900)
_PANEL_WIDTH = 440


@stand_in
class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Says which module is open, and opens another.

    Checked against Base/QTGUI/qSlicerModuleSelectorToolBar.h.
    """

    moduleSelected = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__("Module Selection")
        self.setMovable(False)
        self._selected = ""
        self._title = QtWidgets.QLabel()
        self.addWidget(QtWidgets.QLabel(" Modules: "))
        self.addWidget(self._title)

    selectedModule = QtCore.Property(str, lambda self: self._selected)

    def selectModule(self, name: str) -> None:
        """Open the panel of a module."""
        self._selected = name
        self._title.setText(f"<b>{slicer.app.moduleManager().module(name).title}</b>")
        self.moduleSelected.emit(name)


@stand_in
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window.

    Checked against Base/QTApp/qSlicerMainWindow.h.
    """

    def __init__(self, layout_manager: qSlicerLayoutManager) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("Slicer (embedded host)")
        self._selector = qSlicerModuleSelectorToolBar()
        self.addToolBar(self._selector)
        self._panel = QtWidgets.QScrollArea()
        self._panel.setObjectName("ModulePanel")
        self._panel.setWidgetResizable(True)
        self._panel.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._panel.setFixedWidth(_PANEL_WIDTH)
        self._views = layout_manager._viewport
        central = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(central)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(self._panel)
        row.addWidget(self._views, 1)
        self.setCentralWidget(central)
        self.statusBar()
        self.resize(_SIZE)
        layout_manager.layoutChanged.connect(lambda _layout: self._arrange())
        self._arrange()

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        """The tool bar that selects a module."""
        return self._selector

    def pythonConsole(self) -> None:
        """None: the host has no Python console."""

    def _open(self, name: str, panel: QtWidgets.QWidget) -> None:
        """Show a module's panel; the one before stays with its module."""
        before = self._panel.takeWidget()
        if before is not None:
            before.setParent(None)
        self._panel.setWidget(panel)
        self._selector.selectModule(name)
        self._arrange()

    def _arrange(self) -> None:
        """Give every widget its size also while the window is hidden, when Qt would put that off."""
        self.ensurePolished()
        self._activate_layouts(self)
        # The scroll bar comes or goes only now that the panel's height is known, and leaves it another width.
        QtCore.QCoreApplication.sendEvent(self._panel, QtCore.QEvent(QtCore.QEvent.Type.LayoutRequest))
        self._activate_layouts(self._panel)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.LayoutRequest.value)

    def _activate_layouts(self, root: QtWidgets.QWidget) -> None:
        for widget in (root, *root.findChildren(QtWidgets.QWidget)):
            widget.ensurePolished()
            if widget.layout() is not None:
                widget.layout().invalidate()
                widget.layout().activate()

    def _save_picture(self, path: Path, part: str) -> None:
        """Write a PNG.

        Args:
            path: its file.
            part: ``window``, ``panel`` (of its full height, also where the window would scroll) or ``views``.
        """
        self._arrange()
        pictures = {"window": self.grab, "views": self._views.grab, "panel": self._panel_picture}
        if not pictures[part]().save(str(path)):
            raise OSError(f"Cannot write the picture {path}: check that the folder exists and ends in .png")

    def _panel_picture(self) -> QtGui.QPixmap:
        panel = self._panel.widget()
        self._panel.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._arrange()
        wraps = panel.hasHeightForWidth()
        height = panel.heightForWidth(panel.width()) if wraps else panel.sizeHint().height()
        panel.setMinimumHeight(height)
        self._arrange()
        picture = panel.grab(QtCore.QRect(0, 0, panel.width(), height))
        panel.setMinimumHeight(0)
        self._panel.setVerticalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self._arrange()
        return picture
