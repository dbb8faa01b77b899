"""The Qt half of the embedded host: `qt`, `ctk`, Slicer's widgets and the Python modules that need them."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

import slicer

from . import slicer_source
from .pythonqt import makeQtModule, noteFailures, registerClass
from .ui_loader import UiLoader
from .widgets import CTK_WIDGETS, SLICER_WIDGETS

# Name in the package slicer → module of the host.
_SLICER_MODULES = {
    "i18n": "translation",
    "packaging": "package_installer",
    "parameterNodeWrapper": "parameter_node",
    "ScriptedLoadableModule": "module_classes",
}


def install(scene: Any) -> None:
    """Make `import qt`, `import ctk` and `from slicer.… import …` work as they do in Slicer.

    Args:
        scene: the scene, which must be `slicer.mrmlScene` already.

    Raises:
        RuntimeError: the scene is not set or there is no QApplication.
    """
    from PySide6 import QtWidgets

    if getattr(slicer, "mrmlScene", None) is not scene or QtWidgets.QApplication.instance() is None:
        raise RuntimeError("Set slicer.mrmlScene and make a QApplication before installing the host's Qt modules")
    qt = makeQtModule()
    qt.QUiLoader = registerClass(UiLoader, "QUiLoader")
    ctk = ModuleType("ctk", "Stand-ins for the widgets of CTK.")
    for name, native in CTK_WIDGETS.items():
        setattr(ctk, name, registerClass(native, name, "ctk"))
    for name, native in SLICER_WIDGETS.items():
        setattr(slicer, name, registerClass(native, name, "slicer"))
    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    if slicer_source.checkout() is not None:
        slicer_source.nameMissingWidgets(ctk)
    sys.meta_path.insert(0, _SlicerModules())
    noteFailures()
    sys.modules["SampleData"] = importlib.import_module(".sample_data", __name__)


class _SlicerModules(MetaPathFinder, Loader):
    """Finds the host's modules of the package slicer when they are imported: as in Slicer, one that nobody has
    imported is no attribute of the package.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module of the host, or nothing."""
        package, _, name = fullname.rpartition(".")
        if package != "slicer" or name not in _SLICER_MODULES:
            return None
        folder = slicer_source.checkout()
        return spec_from_loader(fullname, self) if folder is None else slicer_source.find(folder, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the stand-in, which is the module."""
        return importlib.import_module(f".{_SLICER_MODULES[spec.name.rpartition('.')[2]]}", __name__)

    def exec_module(self, module: ModuleType) -> None:
        """The stand-in has been executed when it was imported."""
