"""Stand-ins as Qt classes: what C++ would offer to PythonQt is what Qt for Python offers to ``gui.pythonqt``."""

from __future__ import annotations

from typing import TypeVar

import slicer

from embedded_slicer.gui.pythonqt import registerClass

_Class = TypeVar("_Class", bound=type)
_stand_ins: list[type] = []


def stand_in(cls: _Class) -> _Class:
    """Give modules a Qt class under the name that it has in Slicer, as ``slicer.<name>``."""
    _stand_ins.append(cls)
    setattr(slicer, cls.__name__, registerClass(cls, cls.__name__, "slicer"))
    return cls


def offered_members() -> dict[str, list[str]]:
    """What each stand-in adds to the members of its Qt class, sorted."""
    return {cls.__name__: _own_members(cls) for cls in sorted(_stand_ins, key=lambda cls: cls.__name__)}


def _own_members(cls: type) -> list[str]:
    own = [base for base in cls.__mro__ if base.__module__.startswith("embedded_slicer")]
    qt = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
    names = {name for base in own for name in vars(base) if not name.startswith("_")}
    return sorted(names - set(dir(qt)))
