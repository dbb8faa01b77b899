"""The Qt half of the embedded host: `qt`, `ctk`, Slicer's widgets and the Python modules that need them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import slicer

from . import slicer_source
from .pythonqt import makeQtModule, registerClass
from .ui_loader import UiLoader
from .widgets import CTK_WIDGETS, SLICER_WIDGETS

# Name in the package slicer → module of the host. Order matters: later ones import earlier ones.
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
    _installSlicerModules(ctk)
    sys.modules["SampleData"] = importlib.import_module(".sample_data", __name__)


def _installSlicerModules(ctk: ModuleType) -> None:
    folder = slicer_source.checkout()
    if folder is not None:
        slicer_source.nameMissingWidgets(ctk)
    for name, standIn in _SLICER_MODULES.items():
        if folder is None:
            module = importlib.import_module(f".{standIn}", __name__)
            sys.modules[f"slicer.{name}"] = module
        else:
            module = slicer_source.load(folder, name)
        setattr(slicer, name, module)
