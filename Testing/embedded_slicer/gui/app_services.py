"""What the application object needs of Qt."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from .pythonqt import wrap


def prepareSettings() -> Path:
    """Make every `qt.QSettings()` a new, empty file, so that the host neither reads nor changes the user's settings.

    Returns the file's folder, which the caller removes at the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="embedded-slicer-settings-"))
    QtCore.QCoreApplication.setOrganizationName("EmbeddedSlicer")
    QtCore.QCoreApplication.setApplicationName("EmbeddedSlicer")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(folder))
    return folder


def processEvents() -> None:
    """Let Qt work off its events, deletions included."""
    QtWidgets.QApplication.processEvents()
    QtWidgets.QApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)


def wrappedApplication() -> Any:
    """Return the QApplication as modules see it; what slicer.app does not have itself, it can look up there."""
    return wrap(QtWidgets.QApplication.instance())
