"""What PythonQt finds under a name on an object: property, slot, signal, enumeration, dynamic property or child."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6 import QtCore, QtWidgets

from . import callbacks, wrapper
from .enumerations import enumerations

if TYPE_CHECKING:
    from .wrapper import Wrapper

# Members that Qt for Python adds to Qt's own, or that stand-ins need for themselves.
_PYTHON_ONLY = frozenset({"connectNotify", "disconnectNotify", "emit", "exec_", "staticMetaObject", "vtkSignals"})

# Qt for Python adds the chosen filter to what these return.
_FILE_DIALOGS = frozenset({"getOpenFileName", "getOpenFileNames", "getSaveFileName"})


class Call:
    """A method of an object or class, called with converted arguments."""

    def __init__(self, name: str, function: Callable, owner: Wrapper | None):
        self.__name__ = name
        self.__self__ = owner
        self._function = function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(f"Called {self.__name__} with keyword arguments, but called slot does not support kwargs.")
        if self.__self__ is not None and not self.__self__:
            raise ValueError(f"Trying to call '{self.__name__}' on a destroyed object")
        try:
            return wrapper.wrap(self._function(*(wrapper.unwrap(argument) for argument in arguments)))
        except TypeError as problem:
            if problem.__traceback__ is not None and problem.__traceback__.tb_next is not None:
                raise  # from the body of a stand-in's method, not from Qt's own check of the arguments
            raise ValueError(f"Called {self.__name__} with wrong arguments {arguments}: {problem}") from problem

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Call) and self.__name__ == other.__name__ and self.__self__ is not None
        return same and self.__self__ == other.__self__

    def __hash__(self) -> int:
        return hash(self.__name__)


def methodName(native: type, name: str) -> str | None:
    """Return the name of a Qt class's method, None if it has none; names that Python reserves may end in "_"."""
    for candidate in (name, name[:-1]) if name.endswith("_") and not name.endswith("__") else (name,):
        if candidate.startswith("_") or candidate in _PYTHON_ONLY:
            continue
        method = getattr(native, candidate, None)
        if callable(method) and not isinstance(method, type) and type(method).__name__ not in ("Signal", "Property"):
            return candidate
    return None


def ofClass(cls: type, native: type, name: str) -> Any:
    """Return what a class has under a name: an enumeration, one of its values, a static or an unbound method.

    Raises:
        AttributeError: it has nothing of this name.
    """
    if not name.startswith("__"):
        offered = enumerations(native)
        if name in offered:
            return offered[name]
        if name in _DECORATORS and issubclass(native, QtCore.QObject):
            return Call(name, _DECORATORS[name], None)
        if name == "singleShot" and native is QtCore.QTimer:
            return _singleShot
        if name in _FILE_DIALOGS and native is QtWidgets.QFileDialog:
            return Call(name, lambda *arguments: getattr(native, name)(*arguments)[0], None)
        method = methodName(native, name)
        if method is not None:
            return Call(f"{cls.__name__}.{name}", getattr(native, method), None)
    raise AttributeError(f"{cls.__name__} has no attribute named '{name}'")


def read(owner: Wrapper, native: Any, name: str) -> Any:
    """Return what an object has under a name, looked for in PythonQt's order.

    Raises:
        AttributeError: it has nothing of this name.
        ValueError: Qt has deleted the object.
    """
    cls = type(owner).__name__
    if name.startswith("__") or native is None:
        raise AttributeError(f"{cls} has no attribute named '{name}'")
    if not owner:
        raise ValueError(f"Trying to read property '{name}' from a destroyed {cls} object")
    isObject = isinstance(native, QtCore.QObject)
    found = _property(native, name) if isObject else None
    if found is not None:
        return _readProperty(native, found)
    if isObject and name in _DECORATORS:
        return Call(name, lambda *arguments: _DECORATORS[name](native, *arguments), owner)
    signatures = callbacks.signalSignatures(native).get(name) if isObject else None
    if signatures:
        return callbacks.Signal(owner, native, signatures)
    method = methodName(type(native), name)
    if method is not None:
        return Call(name, getattr(native, method), owner)
    offered = enumerations(type(native))
    if name in offered:
        return offered[name]
    if isObject:
        if name in [bytes(dynamic.data()).decode() for dynamic in native.dynamicPropertyNames()]:
            return wrapper.wrap(native.property(name))
        for child in native.children():
            if child.objectName() == name:
                return wrapper.wrap(child)
    raise AttributeError(f"{cls} has no attribute named '{name}'")


def write(owner: Wrapper, native: Any, name: str, value: Any) -> bool:
    """Set a property; return False if the object has nothing of this name.

    Raises:
        AttributeError: the name is no property that can be written, or the value does not fit.
    """
    cls = type(owner).__name__
    if not owner:
        raise AttributeError(f"Trying to set property '{name}' on a destroyed {cls} object")
    isObject = isinstance(native, QtCore.QObject)
    found = _property(native, name) if isObject else None
    if found is not None:
        _writeProperty(native, found, value, cls)
        return True
    kind = None
    if isObject and name in callbacks.signalSignatures(native):
        kind = "Signal"
    elif methodName(type(native), name) is not None or (isObject and name in _DECORATORS):
        kind = "Slot"
    elif name in enumerations(type(native)):
        kind = "EnumValue"
    if kind is not None:
        raise AttributeError(f"{kind} '{name}' can not be overwritten on {cls} object")
    if isObject and native.property(name) is not None:
        native.setProperty(name, wrapper.unwrap(value))
        return True
    return False


def _property(native: QtCore.QObject, name: str) -> QtCore.QMetaProperty | None:
    if name == "singleShot" and isinstance(native, QtCore.QTimer):
        return None  # PythonQt leaves this property out in favour of the static method
    index = native.metaObject().indexOfProperty("objectName" if name == "name" else name)
    return native.metaObject().property(index) if index >= 0 else None


def _readProperty(native: QtCore.QObject, found: QtCore.QMetaProperty) -> Any:
    try:
        return wrapper.wrap(found.read(native))
    except RuntimeError:  # Qt for Python cannot read properties of flag types; their getters can be called
        return wrapper.wrap(getattr(native, found.name())())


def _writeProperty(native: QtCore.QObject, found: QtCore.QMetaProperty, value: Any, cls: str) -> None:
    if not found.isWritable():
        raise AttributeError(f"Property '{found.name()}' of {cls} object is not writable")
    converted = _propertyValue(found, value)
    if converted is None or not found.write(native, converted):
        raise AttributeError(
            f"Property '{found.name()}' of type '{found.typeName()}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )


def _propertyValue(found: QtCore.QMetaProperty, value: Any) -> Any:
    """Convert a value as PythonQt does for a property of this type; None if it cannot be converted."""
    kind = found.typeName()
    try:
        if found.isEnumType() or found.isFlagType():
            return int(value)
        if kind == "QString":
            return value.decode() if isinstance(value, bytes) else str(value)
        if kind == "QStringList":
            return None if isinstance(value, str | bytes) else [str(item) for item in value]
        if kind == "bool":
            return bool(value)
        if kind in ("int", "uint"):
            return math.floor(value)
        if kind in ("double", "float"):
            return float(value)
    except (TypeError, ValueError):
        return None
    return wrapper.unwrap(value)


def _findChildren(native: QtCore.QObject, kind: Any, name: str | None = None) -> list[QtCore.QObject]:
    found = []
    for child in native.children():
        right = child.inherits(kind) if isinstance(kind, str) else isinstance(child, kind)
        if right and name in (None, child.objectName()):
            found.append(child)
        found += _findChildren(child, kind, name)
    return found


def _singleShot(milliseconds: int, function: Callable) -> None:
    QtCore.QTimer.singleShot(milliseconds, lambda: callbacks.callGuarded(function))


def _connect(native: QtCore.QObject, signal: str, receiver: Any, slot: str | None = None) -> bool:
    if slot is None:
        return callbacks.connect(native, signal, receiver)
    method = getattr(wrapper.wrap(receiver), slot.lstrip("1").partition("(")[0])
    parameters = slot.partition("(")[2].rstrip(")")
    count = len(parameters.split(",")) if parameters.strip() else 0
    return callbacks.connect(native, signal, lambda *arguments: method(*arguments[:count]))


def _disconnect(native: QtCore.QObject, signal: str, function: Callable | None = None) -> bool:
    return callbacks.disconnect(native, signal, function)


# What PythonQt adds to QObject, or does in its own way. Callables arrive as they are, objects unwrapped.
_DECORATORS: dict[str, Callable] = {
    "children": lambda native: native.children(),
    "connect": _connect,
    "disconnect": _disconnect,
    "findChild": lambda native, kind, name=None: next(iter(_findChildren(native, kind, name)), None),
    "findChildren": _findChildren,
    "parent": lambda native: native.parent(),
    "property": lambda native, name: native.property(name),
    "setProperty": lambda native, name, value: native.setProperty(name, value),
}
