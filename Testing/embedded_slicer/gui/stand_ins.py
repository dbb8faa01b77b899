"""What the Qt half of the host offers to modules, class by class."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from . import module_classes, package_installer, parameter_node, sample_data, translation
from .parameter_node import wrapper
from .pythonqt.module import CLASSES
from .widgets import CTK_WIDGETS, SLICER_WIDGETS


def offeredMembers(cls: type) -> list[str]:
    """Return the public members that a stand-in adds to its base from Qt or Python, sorted.

    Overridden virtual methods are the base's members, and left out.
    """
    own = [base for base in cls.__mro__ if base.__module__.startswith("embedded_slicer.")]
    foreign = next(base for base in cls.__mro__ if base not in own)
    names = {name for base in own for name in vars(base) if not name.startswith("_")}
    return sorted(
        name for name in names if not hasattr(foreign, name) and name not in ("staticMetaObject", "vtkSignals")
    )


def offered() -> dict[str, list[str]]:
    """Return every stand-in's members: name in Slicer → sorted names of what it has."""
    found = {name: offeredMembers(cls) for name, cls in {**CTK_WIDGETS, **SLICER_WIDGETS}.items()}
    for module in (module_classes, sample_data):
        found.update((name, _pythonMembers(getattr(module, name))) for name in module.__all__)
    found["parameterNodeWrapper"] = sorted({*parameter_node.__all__, *_pythonMembers(wrapper._NodeAccess)})
    found["packaging"] = sorted(package_installer.__all__)
    found["i18n"] = _functions(translation)
    found["qt"] = sorted(CLASSES | {"QUiLoader"})
    return found


def _pythonMembers(cls: type) -> list[str]:
    return [name for name in offeredMembers(cls) if callable(getattr(cls, name))]


def _functions(module: ModuleType) -> list[str]:
    def isOwn(member: Any) -> bool:
        return inspect.isfunction(member) and member.__module__ == module.__name__

    return sorted(name for name, member in inspect.getmembers(module, isOwn) if not name.startswith("_"))
