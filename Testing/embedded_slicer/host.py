"""The embedded host: what tests and the demo hold in hand."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_DEBIAN_PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libxkbcommon0 libfontconfig1 libdbus-1-3 libglib2.0-0"
_host: Host | None = None


class MissingPackages(ImportError):
    """The host cannot start on this machine; the message says what to install."""


def start(offscreen: bool = True, testing: bool = True) -> Host:
    """Start Slicer's scene, logics, views and Qt in this process; a second call returns the same host.

    Args:
        offscreen: windows are not shown, unless QT_QPA_PLATFORM says otherwise.
        testing: dialogs accept themselves, as with ``Slicer --testing``.

    Raises:
        MissingPackages: packages of the extra ``[gui]``, or libraries of the system that they need, are not installed.
    """
    global _host
    if _host is None:
        _require_packages()
        if offscreen:
            os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        _host = Host(testing)
    return _host


def _require_packages() -> None:
    missing = [name for name in ("slicer_core", "PySide6", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MissingPackages(f"The embedded host needs {', '.join(missing)}: install with pip install 'scdseg[gui]'")
    try:
        import slicer_core  # noqa: F401
        from PySide6 import QtWidgets  # noqa: F401
    except ImportError as error:
        raise MissingPackages(
            f"The embedded host cannot be loaded ({error}): install the libraries that it needs of the system, on "
            f"Debian and Ubuntu with apt-get install {_DEBIAN_PACKAGES}"
        ) from error


class Host:
    """A running host; made by ``start``."""

    def __init__(self, testing: bool) -> None:
        import slicer

        from embedded_slicer.scene import create_scene

        self._folder = tempfile.TemporaryDirectory(prefix="embedded-slicer-", ignore_cleanup_errors=True)
        home = Path(self._folder.name)
        self._services = create_scene(home)
        self.scene = self._services.scene

        from PySide6 import QtCore

        from embedded_slicer import gui
        from embedded_slicer.application import qSlicerApplication
        from embedded_slicer.gui.pythonqt import wrap

        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(home / "settings"))
        self.application = qSlicerApplication(testing)
        slicer.app = wrap(self.application)

        from embedded_slicer.io import qSlicerCoreIOManager
        from embedded_slicer.module_logics import create_modules
        from embedded_slicer.module_manager import qSlicerModuleManager
        from embedded_slicer.segment_items import SegmentItems
        from embedded_slicer.subject_hierarchy import SubjectHierarchyItems
        from embedded_slicer.views.layout_manager import qSlicerLayoutManager
        from embedded_slicer.window import qSlicerMainWindow

        self._items = SubjectHierarchyItems(self.scene)
        self._segment_items = SegmentItems(self.scene)
        logic = self._services.application_logic
        self._modules = qSlicerModuleManager(create_modules(self._services, home))
        self.layout_manager = qSlicerLayoutManager(self.scene, logic)
        self.application._attach(
            self._services,
            home,
            modules=self._modules,
            io=qSlicerCoreIOManager(self.scene, logic),
            layout=self.layout_manager,
        )
        gui.install(self.scene)
        self._scripted: dict[str, Any] = {}
        self.window = qSlicerMainWindow(self.layout_manager)

    def load_module(self, path: Path) -> Any:
        """Load a scripted module and open its panel.

        Args:
            path: the module's file.

        Returns:
            The panel's Python object, as ``slicer.util.getModuleWidget`` gives it.
        """
        path = Path(path).resolve()
        module = self._modules._load(path)
        self._scripted[path.stem] = module
        # In Slicer all modules are there before the start is completed; here, this one is the last.
        self.application.startupCompleted.emit()
        representation = module.widgetRepresentation()
        self.window._open(path.stem, representation)
        representation.enter()
        return representation.self()

    def unload_module(self, name: str) -> None:
        """Close a scripted module's panel, which cleans up, and forget the module."""
        self._scripted.pop(name)._leave()
        self._modules._unload(name)

    def clear_scene(self) -> None:
        """Close the scene as File → Close Scene does; singleton nodes and colours stay."""
        self.scene.Clear(0)

    def screenshot(self, path: Path) -> None:
        """Render the views and write a PNG of the main window."""
        self._render_views()
        self.window._save_picture(path, "window")

    def views_screenshot(self, path: Path) -> None:
        """Render the views and write a PNG of them."""
        self._render_views()
        self.window._save_picture(path, "views")

    def panel_screenshot(self, path: Path) -> None:
        """Write a PNG of the open module's panel, in its full height."""
        self.window._save_picture(path, "panel")

    def show(self) -> None:
        """Show the main window; views follow the scene as long as it is visible."""
        self.window.show()

    def _render_views(self) -> None:
        for view in self.layout_manager._shown_views():
            view._render()

    def close(self) -> None:
        """Quit as the application does: tell it, unload the scripted modules, close the scene."""
        from PySide6 import QtCore

        QtCore.QTimer.singleShot(0, self.application.quit)
        self.application.exec()
        for name in list(self._scripted):
            self.unload_module(name)
        self.window.close()
        self.scene.Clear(0)
        self.layout_manager._close()
        self._folder.cleanup()
