"""The module `qt` as Slicer has it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .wrapper import WrappedClass, registerClass

# fmt: off
CLASSES = frozenset(
    {
        "QAbstractButton", "QAbstractItemModel", "QAbstractItemView", "QAbstractSpinBox", "QAction", "QActionGroup",
        "QApplication", "QBrush", "QButtonGroup", "QByteArray", "QCheckBox", "QClipboard", "QColor", "QComboBox",
        "QCoreApplication", "QCursor", "QDateTime", "QDesktopServices", "QDialog", "QDialogButtonBox", "QDir",
        "QDoubleSpinBox", "QElapsedTimer", "QEvent", "QEventLoop", "QFile", "QFileDialog", "QFileInfo", "QFont",
        "QFontMetrics", "QFormLayout", "QFrame", "QGridLayout", "QGroupBox", "QGuiApplication", "QHBoxLayout",
        "QHeaderView", "QIcon", "QImage", "QItemSelection", "QItemSelectionModel", "QKeySequence", "QLabel", "QLayout",
        "QLineEdit", "QListWidget", "QListWidgetItem", "QLocale", "QMenu", "QMessageBox", "QMimeData", "QModelIndex",
        "QObject", "QPainter", "QPalette", "QPen", "QPixmap", "QPlainTextEdit", "QPoint", "QPointF", "QProcess",
        "QProcessEnvironment", "QProgressBar", "QProgressDialog", "QPushButton", "QRadioButton", "QRect", "QRectF",
        "QScrollArea", "QScrollBar", "QSettings", "QShortcut", "QSignalBlocker", "QSize", "QSizePolicy", "QSlider",
        "QSortFilterProxyModel", "QSpacerItem", "QSpinBox", "QSplitter", "QStackedWidget", "QStandardItem",
        "QStandardItemModel", "QStandardPaths", "QStyle", "QSysInfo", "QTabBar", "QTabWidget", "QTableView",
        "QTableWidget", "QTableWidgetItem", "QTextBrowser", "QTextEdit", "QTimer", "QToolBar", "QToolButton",
        "QTreeWidget", "QTreeWidgetItem", "QUrl", "QVBoxLayout", "QWidget", "Qt",
    }
)
# fmt: on
"""The classes of `qt` that the host offers. The list grows by what the module needs."""


class QtModule(ModuleType):
    """Slicer's `qt`: classes of Qt's core, graphics and widget libraries in one module."""

    def __getattr__(self, name: str) -> WrappedClass:
        if name in ("Signal", "Slot", "Property"):
            raise AttributeError(f"qt.{name}: not offered, because it crashes Slicer in modules; use a Python signal")
        if name not in CLASSES:
            raise AttributeError(f"qt has no class '{name}' in the embedded host; if Slicer has it, add it to CLASSES")
        native = next(getattr(library, name) for library in (QtCore, QtGui, QtWidgets) if hasattr(library, name))
        made = registerClass(native, name)
        setattr(self, name, made)
        return made

    def __dir__(self) -> list[Any]:
        return sorted(CLASSES | set(vars(self)))


def makeQtModule() -> QtModule:
    """Return a new `qt` module."""
    module = QtModule("qt", "Qt with PythonQt's manners, over Qt for Python.")
    module.__file__ = __file__
    return module
