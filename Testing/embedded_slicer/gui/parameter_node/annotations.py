"""What may stand in a field's `Annotated[…]`, checked against validators.py, default.py and guiConnectors.py."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any


class Default:
    """Value of a field that is not in the node yet."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        """The default; made anew each time if there is a generator."""
        return self._generator() if self._generator else self._value


@dataclass
class Decimals:
    """Number of decimals that a widget shows."""

    value: int


@dataclass
class SingleStep:
    """Step of a widget's arrows."""

    value: float


class Validator:
    """Base of what refuses a value."""

    def validate(self, value: Any) -> None:
        """Raise ValueError or TypeError if a value must not be stored."""
        raise NotImplementedError


@dataclass
class WithinRange(Validator):
    """Refuses numbers outside a range, ends included."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError for a number outside."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    """Refuses smaller numbers."""

    minimum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError for a smaller number."""
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    """Refuses larger numbers."""

    maximum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError for a larger number."""
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    """Refuses what is not among the choices."""

    choices: Iterable[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for any other value."""
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, is {value!r}")


@dataclass
class Exclude(Validator):
    """Refuses some values."""

    excludedValues: Iterable[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for an excluded value."""
        if value in self.excludedValues:
            raise ValueError(f"Value must be none of {self.excludedValues}, is {value!r}")


@dataclass
class OfType(Validator):
    """Refuses None, where it is not allowed, and values of other types."""

    types: tuple[type, ...]
    optional: bool = False

    def validate(self, value: Any) -> None:
        """Raise ValueError for None, TypeError for a value of another type."""
        if value is None and not self.optional:
            raise ValueError("Value must not be None")
        if value is not None and not isinstance(value, self.types):
            names = " or ".join(kind.__name__ for kind in self.types)
            raise TypeError(f"Value must be of type {names}, is {value!r} of type {type(value).__name__}")


def splitAnnotations(datatype: Any) -> tuple[Any, list[Any]]:
    """Split `Annotated[type, a, b]` into the type and its annotations; other types have none."""
    kind, *annotations = typing.get_args(Annotated[datatype, None])
    return kind, annotations[:-1]


def firstOf(annotations: Iterable[Any], kind: type) -> Any:
    """Return the first annotation of a kind, None if there is none."""
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)
