"""How a value of each type is kept in a parameter node, checked against serializers.py."""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterable, MutableSequence
from pathlib import PurePath
from typing import Any

import slicer

from .annotations import OfType, Validator, splitAnnotations


class Store:
    """Keeps values of one type as the node's parameters of string type."""

    def __init__(self, kind: type, accepted: tuple[type, ...], default: Any) -> None:
        self.kind = kind
        self.initial = default
        self.validators: list[Validator] = [OfType(accepted)]

    def isIn(self, node: Any, name: str) -> bool:
        """Return whether the node has a value of this name."""
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        """Check a value and put it into the node."""
        for validator in self.validators:
            validator.validate(value)
        self._put(node, name, value)

    def _put(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))

    def read(self, node: Any, name: str) -> Any:
        """Return the value in the node."""
        return self.kind(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        """Take the value out of the node."""
        node.UnsetParameter(name)


class BoolStore(Store):
    """Keeps "True" or "False"."""

    def read(self, node: Any, name: str) -> bool:
        """Return the value in the node."""
        return bool(node.GetParameter(name) == "True")


class EnumStore(Store):
    """Keeps the name of an enumeration's member."""

    def _put(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)

    def read(self, node: Any, name: str) -> Any:
        """Return the member in the node."""
        try:
            return self.kind[node.GetParameter(name)]
        except KeyError as problem:
            raise ValueError(
                f"Parameter {name} of the node is {problem}, which is no name in {self.kind.__name__}"
            ) from problem


class NodeStore(Store):
    """Keeps a node reference, and an empty parameter that tells None from never set."""

    def __init__(self, kind: type) -> None:
        super().__init__(kind, (kind,), None)
        self.validators = [OfType((kind,), optional=True)]

    def _put(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        """Return the referenced node, None if there is none or it is gone."""
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        """Take the reference out of the node."""
        super().remove(node, name)
        node.RemoveNodeReferenceIDs(name)


class StoredList(MutableSequence):
    """List whose changes go into the parameter node."""

    def __init__(self, store: ListStore, node: Any, name: str, items: list[Any]) -> None:
        self._store, self._node, self._name, self._items = store, node, name, items

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == (other._items if isinstance(other, StoredList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items})"

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = value
        self._store.write(self._node, self._name, self._items)

    def __delitem__(self, index: Any) -> None:
        del self._items[index]
        self._store.write(self._node, self._name, self._items)

    def insert(self, index: int, value: Any) -> None:
        """Insert a value before an index."""
        self._items.insert(index, value)
        self._store.write(self._node, self._name, self._items)


class ListStore(Store):
    """Keeps a list's length as `name.len` and its items as `name.0`, `name.1` …"""

    def __init__(self, element: Store) -> None:
        super().__init__(list, (Iterable,), [])
        self._element = element

    def isIn(self, node: Any, name: str) -> bool:
        """Return whether the node has a list of this name."""
        return super().isIn(node, f"{name}.len")

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0

    def _put(self, node: Any, name: str, value: Any) -> None:
        items = list(value)
        for item in items:  # all are checked before any is written
            for validator in self._element.validators:
                validator.validate(item)
        with slicer.util.NodeModify(node):
            for index in range(len(items), self._length(node, name)):
                self._element.remove(node, f"{name}.{index}")
            for index, item in enumerate(items):
                self._element.write(node, f"{name}.{index}", item)
            node.SetParameter(f"{name}.len", str(len(items)))

    def read(self, node: Any, name: str) -> StoredList:
        """Return the list in the node."""
        items = [self._element.read(node, f"{name}.{index}") for index in range(self._length(node, name))]
        return StoredList(self, node, name, items)

    def remove(self, node: Any, name: str) -> None:
        """Take the list out of the node."""
        for index in range(self._length(node, name)):
            self._element.remove(node, f"{name}.{index}")
        super().remove(node, f"{name}.len")


def makeStore(datatype: Any) -> tuple[Store, list[Any]]:
    """Return the store for a field's type, and the annotations that it does not use.

    Raises:
        TypeError: the host keeps no values of this type.
    """
    kind, annotations = splitAnnotations(datatype)
    store = _bareStore(kind)
    store.validators += [annotation for annotation in annotations if isinstance(annotation, Validator)]
    return store, [annotation for annotation in annotations if not isinstance(annotation, Validator)]


def _bareStore(kind: Any) -> Store:
    if typing.get_origin(kind) is list:
        return ListStore(makeStore(typing.get_args(kind)[0])[0])
    if isinstance(kind, type):
        if kind in (int, float):
            return Store(kind, (int, float) if kind is float else (int,), 0)
        if kind is bool:
            return BoolStore(kind, (bool,), False)
        if kind is str:
            return Store(kind, (str,), "")
        if issubclass(kind, PurePath):
            return Store(kind, (kind,), kind())
        if issubclass(kind, enum.Enum):
            return EnumStore(kind, (kind,), next(iter(kind)))
        if issubclass(kind, slicer.vtkMRMLNode):
            return NodeStore(kind)
    raise TypeError(f"The embedded host keeps no parameters of type {kind}; if Slicer does, add a store for it")
