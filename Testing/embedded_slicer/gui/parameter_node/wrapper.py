"""The decorator that turns a class with typed fields into a view of a parameter node, checked against wrapper.py."""

from __future__ import annotations

import logging
import typing
from typing import Any

import qt
import slicer
import vtk

from .annotations import Default, firstOf
from .connectors import GuiConnector, createGuiConnector
from .stores import Store, makeStore

SlicerParameterNamePropertyName = "SlicerParameterName"

_RESERVED = ("allParameters", "dataType", "default", "isCached", "parameterNode")


class _Field:
    """One typed field of a wrapper class: a Python descriptor over the node's parameters."""

    def __init__(self, name: str, datatype: Any, owner: type) -> None:
        self.name, self.datatype = name, datatype
        self.store: Store
        self.store, rest = makeStore(datatype)
        given = Default(getattr(owner, name)) if hasattr(owner, name) else firstOf(rest, Default)
        self.default = given or Default(self.store.initial)
        unused = [annotation for annotation in rest if isinstance(annotation, str)]
        if unused:
            logging.warning(f"Unused annotations: {unused}")

    def __get__(self, wrapper: Any, owner: type | None = None) -> Any:
        if wrapper is None:
            return self
        if not self.store.isIn(wrapper.parameterNode, self.name):
            self.store.write(wrapper.parameterNode, self.name, self.default.value)
        return self.store.read(wrapper.parameterNode, self.name)

    def __set__(self, wrapper: Any, value: Any) -> None:
        with slicer.util.NodeModify(wrapper.parameterNode):
            self.store.write(wrapper.parameterNode, self.name, value)


class _NodeAccess:
    """The methods that a wrapper class gets."""

    _fields: dict[str, _Field]

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._connectors: dict[int, dict[str, GuiConnector]] = {}
        self._observers: dict[int, int] = {}
        self._nextTag = 0
        self._showing = False
        for field in self._fields.values():
            if not field.store.isIn(parameterNode, field.name):
                field.store.write(parameterNode, field.name, field.default.value)

    def getValue(self, name: str) -> Any:
        """Return a parameter by its name."""
        return getattr(self, _fieldOf(type(self), name).name)

    def setValue(self, name: str, value: Any) -> None:
        """Set a parameter by its name."""
        setattr(self, _fieldOf(type(self), name).name, value)

    def default(self, name: str) -> Default:
        """Return the default of a parameter."""
        return _fieldOf(type(self), name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        """Return the type of a parameter, with its annotations."""
        return _fieldOf(cls, name).datatype

    def connectGui(self, gui: Any) -> int:
        """Bind every widget that names a parameter in its property "SlicerParameterName"; return the tag to undo it."""
        if getattr(gui, "isWidgetType", lambda: False)():
            widgets = gui.findChildren(qt.QWidget)
        else:
            widgets = gui.__dict__.values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind parameters to widgets; return the tag to undo it.

        Args:
            mapping: parameter name → widget or connector.

        Raises:
            ValueError: there is no such parameter.
            RuntimeError: a widget cannot show its parameter.
        """
        types = {name: self.dataType(name) for name in mapping}
        connectors = {
            name: end if isinstance(end, GuiConnector) else createGuiConnector(end, types[name])
            for name, end in mapping.items()
        }
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._connectors[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(lambda name=name, connector=connector: self._takeFromWidget(name, connector))
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._showAll())
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo `connectGui` or `connectParametersToGui`."""
        for connector in self._connectors.pop(tag, {}).values():
            connector.onChanged(None)
        if tag in self._observers:
            self.RemoveObserver(self._observers.pop(tag))

    def _takeFromWidget(self, name: str, connector: GuiConnector) -> None:
        if not self._showing:
            with slicer.util.NodeModify(self):
                self.setValue(name, connector.read())

    def _showAll(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in self._connectors.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._showing = False

    def StartModify(self) -> int:
        """Collect modified events; see vtkMRMLNode."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified: int) -> int:
        """Send collected modified events; see vtkMRMLNode."""
        return self.parameterNode.EndModify(wasModified)

    def Modified(self) -> None:
        """Send a modified event."""
        self.parameterNode.Modified()

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Observe the parameter node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """End an observation."""
        self.parameterNode.RemoveObserver(tag)


def _fieldOf(cls: Any, name: str) -> _Field:
    if name not in cls._fields:
        raise ValueError(f"Cannot find a param with the given name: {name}; there are {', '.join(cls._fields)}")
    return cls._fields[name]


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Give a class with typed fields the node's parameters as attributes, and its binding to widgets.

    Raises:
        ValueError: the class uses a name that a wrapper class needs.
        TypeError: a field has a type that cannot be kept.
    """
    if classtype is None:
        return parameterNodeWrapper
    methods = [name for name in vars(_NodeAccess) if not name.startswith("__")]
    datatypes = typing.get_type_hints(classtype, include_extras=True)
    for name in (*methods, *_RESERVED):
        if name in datatypes or hasattr(classtype, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
    fields = {name: _Field(name, datatype, classtype) for name, datatype in datatypes.items()}
    for name, field in fields.items():
        setattr(classtype, name, field)
    for name in (*methods, "__init__"):
        setattr(classtype, name, vars(_NodeAccess)[name])
    classtype._fields = fields
    classtype._is_parameter_node_wrapper = True
    return classtype


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    """Return whether a class, or an object's class, was made by `parameterNodeWrapper`."""
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """Return the child widget that names a parameter in its property "SlicerParameterName", None if none does."""
    for child in widget.findChildren(qt.QWidget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None
