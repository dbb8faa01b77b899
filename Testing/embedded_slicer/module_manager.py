"""``slicer.app.moduleManager()`` and ``slicer.modules``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
from PySide6 import QtCore

from embedded_slicer.gui.pythonqt import wrap
from embedded_slicer.qt_classes import stand_in
from embedded_slicer.scripted_module import qSlicerScriptedLoadableModule


@stand_in
class qSlicerModuleFactoryManager(QtCore.QObject):
    """Knows which modules are loaded.

    Checked against Base/QTCore/qSlicerAbstractModuleFactoryManager.h.
    """

    def __init__(self, modules: dict[str, Any]) -> None:
        super().__init__()
        self._modules = modules

    def loadedModuleNames(self) -> list[str]:
        """Names of the loaded modules."""
        return list(self._modules)


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    """The loaded modules.

    Checked against Base/QTCore/qSlicerModuleManager.h.
    """

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self, modules: dict[str, Any]) -> None:
        """Args:
        modules: modules by name, to begin with.
        """
        super().__init__()
        self._modules: dict[str, Any] = {}
        self._factory_manager = qSlicerModuleFactoryManager(self._modules)
        slicer.modules = sys.modules["slicer.modules"] = ModuleType("modules")
        slicer.moduleNames = sys.modules["slicer.moduleNames"] = ModuleType("moduleNames")
        for name, module in modules.items():
            self._add(name, module)

    def factoryManager(self) -> Any:
        """The qSlicerModuleFactoryManager."""
        return self._factory_manager

    def modulesNames(self) -> list[str]:
        """Names of the loaded modules."""
        return list(self._modules)

    def module(self, name: str) -> Any:
        """A module by name, None if it is not loaded."""
        return self._modules.get(name)

    def _load(self, path: Path) -> qSlicerScriptedLoadableModule:
        """Load a scripted module from its file."""
        module = qSlicerScriptedLoadableModule(path)
        self._add(path.stem, module)
        try:
            module._load()
        except BaseException:
            self._forget(path.stem)
            raise
        self.moduleLoaded.emit(path.stem)
        return module

    def _unload(self, name: str) -> None:
        """Unload a scripted module; its panel cleans up on the signal."""
        self.moduleAboutToBeUnloaded.emit(name)
        module = self._modules[name]
        self._forget(name)
        module._close()

    def _add(self, name: str, module: Any) -> None:
        self._modules[name] = module
        setattr(slicer.modules, name.lower(), wrap(module))
        setattr(slicer.moduleNames, name, name)

    def _forget(self, name: str) -> None:
        del self._modules[name]
        for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
            if hasattr(slicer.modules, attribute):
                delattr(slicer.modules, attribute)
        delattr(slicer.moduleNames, name)
        sys.modules.pop(name, None)
