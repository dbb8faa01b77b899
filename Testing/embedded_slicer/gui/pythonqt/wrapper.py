"""Objects of Qt for Python behind PythonQt's way to read, write and call them."""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import shiboken6
from PySide6 import QtCore

from . import callbacks, members
from .enumerations import EnumValue, enumValue

_NATIVE = "_PythonQt_native"
_wrappers: weakref.WeakValueDictionary[int, Wrapper] = weakref.WeakValueDictionary()
_classes: dict[type, WrappedClass] = {}


class WrappedClass(type):
    """The type of every wrapped class: enumerations, static methods and unbound methods are found on the Qt class."""

    def __getattr__(cls, name: str) -> Any:
        return members.ofClass(cls, _nativeClass(cls), name)


class Wrapper(metaclass=WrappedClass):
    """Base of every wrapped class. As in PythonQt, all wrapped classes derive from it directly: no wrapped class is a
    subclass of another, so `isinstance(button, qt.QWidget)` is False; ask `button.inherits("QWidget")`.
    """

    _PythonQt_native: Any = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        cls = type(self)
        native = _nativeClass(cls)
        if keywords:
            raise ValueError(f"Called {cls.__name__} with keyword arguments, but called slot does not support kwargs.")
        if _isDerived(cls):
            native = _shellClass(cls, native)
        try:
            made = native(*(unwrap(argument) for argument in arguments))
        except TypeError as problem:
            raise ValueError(f"Called {cls.__name__} with wrong arguments {arguments}: {problem}") from problem
        _attach(self, made)

    def className(self) -> str:
        """Return the name of the class."""
        return type(self).__name__

    def inherits(self, name: str) -> bool:
        """Return whether the class is, or derives from, the class of this name."""
        native = _native(self)
        if isinstance(native, QtCore.QObject) and native.inherits(name):
            return True
        return self.className() == name or any(base.__name__ == name for base in type(native).__mro__)

    def delete(self) -> None:
        """Delete the C++ object now."""
        shiboken6.delete(_native(self))

    def __getattr__(self, name: str) -> Any:
        return members.read(self, _native(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if members.write(self, _native(self), name, value):
            return
        if not _isDerived(type(self)):
            raise AttributeError(
                f"'{name}' does not exist on {type(self).__name__} and creating new attributes on C++ objects is not "
                "allowed"
            )
        object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        native = _native(self)
        return native is not None and shiboken6.isValid(native)

    def __eq__(self, other: object) -> bool:
        if other is None:
            return not self
        return isinstance(other, Wrapper) and bool(_native(self) == _native(other))

    def __hash__(self) -> int:
        native = _native(self)
        return shiboken6.getCppPointer(native)[0] if isinstance(native, QtCore.QObject) else hash(native)

    def __repr__(self) -> str:
        return f"{type(self).__name__} ({_native(self)!r})"

    def __lt__(self, other: Any) -> bool:
        return bool(_native(self) < unwrap(other))

    def __len__(self) -> int:
        return len(_native(self))


def _native(wrapper: Wrapper) -> Any:
    return object.__getattribute__(wrapper, _NATIVE)


def _nativeClass(cls: type) -> Any:
    return next((vars(base)[_NATIVE] for base in cls.__mro__ if vars(base).get(_NATIVE) is not None), QtCore.QObject)


def _isDerived(cls: type) -> bool:
    return _NATIVE not in vars(cls)


def _attach(wrapper: Wrapper, native: Any) -> None:
    object.__setattr__(wrapper, _NATIVE, native)
    if isinstance(native, QtCore.QObject):
        _wrappers[shiboken6.getCppPointer(native)[0]] = wrapper
        if _isDerived(type(wrapper)):
            native._shellWrapper = wrapper  # a Python subclass has attributes of its own: it lives with its widget


def wrap(value: Any) -> Any:
    """Turn what Qt for Python returns into what PythonQt would: wrappers, integers for enumerations, tuples."""
    if isinstance(value, enum.Enum):
        return enumValue(value)
    if isinstance(value, list | tuple):
        return tuple(wrap(item) for item in value)
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    if not isinstance(value, shiboken6.Shiboken.Object):
        return value
    if isinstance(value, QtCore.QObject):
        known = _wrappers.get(shiboken6.getCppPointer(value)[0])
        if known:
            return known
    wrapper = Wrapper.__new__(wrappedClass(type(value)))
    _attach(wrapper, value)
    return wrapper


def unwrap(value: Any) -> Any:
    """Turn an argument into what Qt for Python takes; the reverse of `wrap`."""
    if isinstance(value, Wrapper):
        return _native(value)
    if isinstance(value, EnumValue):
        return value.toNative()
    if isinstance(value, WrappedClass):
        return _nativeClass(value)
    if isinstance(value, list | tuple):
        return type(value)(unwrap(item) for item in value)
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value


def wrappedClass(native: type) -> WrappedClass:
    """Return the wrapped class of a Qt class, or of the nearest public base of a private one."""
    for base in native.__mro__:
        if base in _classes:
            return _classes[base]
        if base.__module__.startswith("PySide6."):
            return registerClass(base, base.__name__)
    raise TypeError(f"{native!r} is not a class of Qt")


def registerClass(native: type, name: str, module: str = "qt") -> WrappedClass:
    """Make the wrapped class of a Qt class or of a stand-in's Qt class, under the name that Slicer knows it by."""
    if native not in _classes:
        _classes[native] = WrappedClass(name, (Wrapper,), {_NATIVE: native, "__module__": module})
    return _classes[native]


@cache
def _shellClass(cls: WrappedClass, native: type) -> type:
    """Make the Qt class behind a Python subclass: virtual methods that the subclass overrides are called there."""

    def forward(name: str) -> Callable:
        def method(self: Any, *arguments: Any) -> Any:
            target = getattr(cls, name)
            return unwrap(callbacks.callGuarded(target, wrap(self), *(wrap(argument) for argument in arguments)))

        return method

    derived = [base for base in cls.__mro__ if isinstance(base, WrappedClass) and _isDerived(base)]
    names = {name for base in derived for name in vars(base) if not name.startswith("_")}
    shell = type(cls.__name__, (native,), {name: forward(name) for name in names if hasattr(native, name)})
    _classes[shell] = cls
    return shell
