"""Qt for Python with the manners of PythonQt, the Qt binding inside Slicer.

What PythonQt does was read in its source (MeVisLab/pythonqt 4.1.0, which Slicer's copy is based on): properties are
attributes, enumerations are integers, lists come back as tuples, keyword arguments are refused, and nothing can be
stored on an object that C++ made.
"""

from __future__ import annotations

from .callbacks import Signal, failures, noteFailures
from .enumerations import EnumValue
from .module import makeQtModule
from .wrapper import Wrapper, registerClass, unwrap, wrap, wrappedClass

__all__ = [
    "EnumValue",
    "Signal",
    "Wrapper",
    "failures",
    "makeQtModule",
    "noteFailures",
    "registerClass",
    "unwrap",
    "wrap",
    "wrappedClass",
]
