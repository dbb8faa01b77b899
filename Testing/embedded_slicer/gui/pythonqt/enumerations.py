"""Enumerations as PythonQt has them: integers whose values hang on the class, not on the enumeration."""

from __future__ import annotations

import enum
from functools import cache
from typing import Any, ClassVar


class EnumValue(int):
    """A value of a Qt enumeration or a combination of flags."""

    _nativeType: ClassVar[type[enum.Enum]]

    def toNative(self) -> enum.Enum:
        """Return the value that Qt for Python takes."""
        return self._nativeType(int(self))

    def _combine(self, value: int) -> int:
        # PythonQt gives a plain integer here; the type is kept because Qt for Python takes no integers for flags.
        return type(self)(value) if issubclass(self._nativeType, enum.Flag) else value

    def __or__(self, other: int) -> int:
        return self._combine(int(self) | int(other))

    def __and__(self, other: int) -> int:
        return self._combine(int(self) & int(other))

    def __xor__(self, other: int) -> int:
        return self._combine(int(self) ^ int(other))

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    def __invert__(self) -> int:
        if not issubclass(self._nativeType, enum.Flag):
            return ~int(self)
        everything = 0
        for member in self._nativeType:
            everything |= member.value
        return type(self)(everything & ~int(self))


@cache
def enumType(native: type[enum.Enum]) -> type[EnumValue]:
    """Return the integer type that stands for an enumeration of Qt for Python."""
    return type(native.__name__, (EnumValue,), {"_nativeType": native, "__module__": "qt"})


def enumValue(native: enum.Enum) -> EnumValue:
    """Return the integer that stands for a value of an enumeration of Qt for Python."""
    return enumType(type(native))(native.value)


@cache
def enumerations(native: type) -> dict[str, Any]:
    """Return what a class offers of enumerations: types by their names and values by theirs, base classes included."""
    found: dict[str, Any] = {}
    for base in reversed(native.__mro__):
        for name, member in list(vars(base).items()):
            if isinstance(member, type) and issubclass(member, enum.Enum):
                found[name] = enumType(member)
                found.update((value, enumValue(entry)) for value, entry in member.__members__.items())
    return found
