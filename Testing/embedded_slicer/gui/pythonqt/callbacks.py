"""Signals and the Python callables connected to them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any

import shiboken6
from PySide6 import QtCore

from . import wrapper

if TYPE_CHECKING:
    from .wrapper import Wrapper

failures: list[BaseException] = []
"""Exceptions that callables of Qt's signals and VTK's events have raised. PythonQt and VTK hand them to
`sys.excepthook`, which prints them, and go on; here tests can also look at them."""

_connections: dict[int, list[tuple[str, Callable, QtCore.QMetaObject.Connection]]] = {}


def noteFailures() -> None:
    """From now on note what reaches `sys.excepthook`."""
    before = sys.excepthook

    def note(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
        failures.append(problem)
        before(kind, problem, trace)

    sys.excepthook = note


def callGuarded(function: Callable, *arguments: Any) -> Any:
    """Call a callable on behalf of Qt: an exception is handed to `sys.excepthook`, never passed on to C++."""
    try:
        return function(*arguments)
    except Exception:
        sys.excepthook(*sys.exc_info())
        return None


def acceptedArguments(function: Callable) -> int | None:
    """Return how many arguments of a signal PythonQt hands to a callable; None means all.

    Only plain functions and methods without `*args` get fewer than the signal has; every other callable gets all.
    """
    if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
        code, bound = function.__func__.__code__, 1
    elif isinstance(function, FunctionType):
        code, bound = function.__code__, 0
    else:
        return None
    return None if code.co_flags & inspect.CO_VARARGS else code.co_argcount - bound


_signatures: dict[tuple[type, str], dict[str, list[str]]] = {}


def signalSignatures(native: QtCore.QObject) -> dict[str, list[str]]:
    """Return an object's signals: name → full signatures, in the order of the meta object."""
    meta = native.metaObject()
    key = type(native), meta.className()
    if key not in _signatures:
        signatures: dict[str, list[str]] = {}
        for index in range(meta.methodCount()):
            method = meta.method(index)
            if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
                signature = _slicerSignature(native, method.methodSignature().data().decode())
                signatures.setdefault(signature.partition("(")[0], []).append(signature)
        _signatures[key] = signatures
    return _signatures[key]


def _slicerSignature(native: QtCore.QObject, signature: str) -> str:
    """Stand-ins declare signals that carry VTK objects with Python types; `vtkSignals` has their real signatures."""
    real = {qt: slicer for slicer, qt in getattr(type(native), "vtkSignals", {}).items()}
    return real.get(signature, signature)


def _qtSignature(native: QtCore.QObject, signature: str) -> str:
    return getattr(type(native), "vtkSignals", {}).get(signature, signature)


def connect(native: QtCore.QObject, signature: str, function: Callable) -> bool:
    """Connect a signal to a Python callable.

    Raises:
        ValueError: the object has no such signal. PythonQt prints this and connects nothing.
    """
    signature = _checkedSignature(native, signature)
    if not callable(function):
        raise TypeError(f"{signature} of {type(native).__name__}: cannot connect to {function!r}, which is no callable")
    accepted = acceptedArguments(function)

    def deliver(*arguments: Any) -> None:
        callGuarded(function, *(wrapper.wrap(argument) for argument in arguments[:accepted]))

    connection = QtCore.QObject.connect(native, QtCore.SIGNAL(_qtSignature(native, signature)), deliver)
    address = shiboken6.getCppPointer(native)[0]
    if address not in _connections:
        _connections[address] = []
        native.destroyed.connect(lambda *_: _connections.pop(address, None))
    _connections[address].append((signature, function, connection))
    return True


def disconnect(native: QtCore.QObject, signature: str, function: Callable | None = None) -> bool:
    """Disconnect a callable, or all, from a signal; return whether any was connected."""
    signature = _checkedSignature(native, signature)
    entries = _connections.get(shiboken6.getCppPointer(native)[0], [])
    chosen = [entry for entry in entries if entry[0] == signature and function in (None, entry[1])]
    for entry in chosen if function is None else chosen[:1]:
        QtCore.QObject.disconnect(entry[2])
        entries.remove(entry)
    return bool(chosen)


def _checkedSignature(native: QtCore.QObject, signature: str) -> str:
    normalized = QtCore.QMetaObject.normalizedSignature(signature.lstrip("2")).data().decode()
    known = signalSignatures(native)
    if normalized not in known.get(normalized.partition("(")[0], []):
        raise ValueError(
            f"signal '{signature}' does not exist on {native.metaObject().className()}; "
            f"it has {', '.join(entry for entries in known.values() for entry in entries)}"
        )
    return normalized


class Signal:
    """A signal of one object: `widget.clicked`."""

    def __init__(self, owner: Wrapper, native: QtCore.QObject, signatures: list[str]):
        self.__self__ = owner
        self.__name__ = signatures[0]
        self._native = native

    def connect(self, function: Callable) -> bool:
        """Connect a callable to the first signature of this name."""
        return connect(self._native, self.__name__, function)

    def disconnect(self, function: Callable | None = None) -> bool:
        """Disconnect a callable, or all; return whether any was connected."""
        return disconnect(self._native, self.__name__, function)

    def emit(self, *arguments: Any) -> None:
        """Emit the signal."""
        signal = getattr(self._native, self.__name__.partition("(")[0])
        signal.emit(*(wrapper.unwrap(argument) for argument in arguments))

    __call__ = emit
