"""``slicer.app``: the application object, with the members that modules and slicer.util ask for."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from embedded_slicer.qt_classes import stand_in
from embedded_slicer.scene import SLICER_REVISION, SLICER_VERSION, SceneServices
from embedded_slicer.share import SHARE_DIRECTORY


@stand_in
class qSlicerCommandOptions(QtCore.QObject):
    """How the application was started.

    Checked against Base/QTCore/qSlicerCoreCommandOptions.h and Base/QTGUI/qSlicerCommandOptions.h.
    """

    def __init__(self, testing: bool) -> None:
        super().__init__()
        self._testing = testing

    testingEnabled = QtCore.Property(bool, lambda self: self._testing, constant=True)
    noMainWindow = QtCore.Property(bool, lambda self: False, constant=True)


@stand_in
class qSlicerApplication(QtWidgets.QApplication):
    """The application object.

    Checked against Base/QTGUI/qSlicerApplication.h and Base/QTCore/qSlicerCoreApplication.h.
    """

    startupCompleted = QtCore.Signal()

    def __init__(self, testing: bool) -> None:
        """Args:
        testing: dialogs accept themselves, as with ``Slicer --testing``.
        """
        super().__init__(["Slicer"])
        self.setOrganizationName("NA-MIC")
        self.setApplicationName("Slicer")
        self._command_options = qSlicerCommandOptions(testing)
        self._managers: dict[str, Any] = {}

    def _attach(self, services: SceneServices, home: Path, **managers: Any) -> None:
        """Give the application what is made after it: scene, home folder, and the managers by name."""
        self._services = services
        self._home = home
        self._managers |= managers

    majorVersion = QtCore.Property(int, lambda self: SLICER_VERSION[0], constant=True)
    minorVersion = QtCore.Property(int, lambda self: SLICER_VERSION[1], constant=True)
    revision = QtCore.Property(str, lambda self: str(SLICER_REVISION), constant=True)
    mainApplicationName = QtCore.Property(str, lambda self: "Slicer", constant=True)
    slicerHome = QtCore.Property(str, lambda self: str(self._home), constant=True)
    slicerSharePath = QtCore.Property(str, lambda self: SHARE_DIRECTORY, constant=True)
    temporaryPath = QtCore.Property(
        str,
        lambda self: self._services.application_logic.GetTemporaryPath(),
        lambda self, path: self._services.application_logic.SetTemporaryPath(path),
    )
    cachePath = QtCore.Property(str, lambda self: str(self._home / "cache"))
    os = QtCore.Property(
        str, lambda self: {"Windows": "win", "Darwin": "macosx"}.get(platform.system(), "linux"), constant=True
    )

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._services.scene

    def applicationLogic(self) -> Any:
        """The application logic."""
        return self._services.application_logic

    def moduleLogic(self, moduleName: str) -> Any:
        """Logic of a module, None if it has none."""
        return self._services.application_logic.GetModuleLogic(moduleName)

    def moduleManager(self) -> Any:
        """The qSlicerModuleManager."""
        return self._managers["modules"]

    def coreIOManager(self) -> Any:
        """The qSlicerCoreIOManager."""
        return self._managers["io"]

    def ioManager(self) -> Any:
        """The same object: the host has no file dialogs."""
        return self._managers["io"]

    def layoutManager(self) -> Any:
        """The qSlicerLayoutManager."""
        return self._managers["layout"]

    def commandOptions(self) -> Any:
        """The options that the application was started with."""
        return self._command_options

    def testingEnabled(self) -> bool:
        """Whether dialogs accept themselves."""
        return bool(self._command_options.testingEnabled)

    def userSettings(self) -> QtCore.QSettings:
        """Settings of the user; the host's are forgotten when it ends."""
        return QtCore.QSettings()

    def settings(self) -> QtCore.QSettings:
        """The same as ``userSettings``."""
        return self.userSettings()

    def revisionUserSettings(self) -> QtCore.QSettings:
        """The same as ``userSettings``: the host has one revision."""
        return self.userSettings()

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        """Environment without what Slicer's launcher adds: here, the process's own."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    def environment(self) -> QtCore.QProcessEnvironment:
        """Environment of the application."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pythonConsole(self) -> None:
        """None: the host has no Python console."""

    def setRenderPaused(self, pause: bool) -> None:
        """Pause or resume the rendering of all views."""
        self._managers["layout"].setRenderPaused(pause)

    def pauseRender(self) -> None:
        """Pause the rendering of all views."""
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        """Resume the rendering of all views."""
        self.setRenderPaused(False)
