"""Stand-ins as Qt classes: what C++ would offer to PythonQt is what Qt for Python offers to ``gui.pythonqt``."""

from __future__ import annotations

from typing import Any, TypeVar

import slicer

from embedded_slicer.gui.pythonqt import registerClass

_Class = TypeVar("_Class", bound=type)


def stand_in(cls: _Class) -> _Class:
    """Give modules a Qt class under the name that it has in Slicer, as ``slicer.<name>``."""
    setattr(slicer, cls.__name__, registerClass(cls, cls.__name__, "slicer"))
    return cls


def own_members(cls: type[Any]) -> list[str]:
    """Public members that a stand-in adds to its Qt base class, sorted."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("embedded_slicer")]
    names = {name for base in own for name in vars(base) if not name.startswith("_") and name != "staticMetaObject"}
    return sorted(names)
