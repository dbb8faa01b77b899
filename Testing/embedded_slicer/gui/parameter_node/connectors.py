"""How widgets show and change a parameter, checked against guiConnectors.py."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .annotations import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange, firstOf, splitAnnotations


class GuiConnector:
    """Reads and writes a widget's value through one property, and tells when one of its signals comes."""

    def __init__(self, widget: Any, attribute: str, signal: str) -> None:
        self._widget, self._attribute, self._signal = widget, attribute, signal
        self._callback: Callable[[], None] | None = None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        """Call back when the widget's value changes; None ends that."""
        signal = getattr(self._widget, self._signal)
        if callback is None:
            signal.disconnect(self.changed)
        else:
            signal.connect(self.changed)
        self._callback = callback

    def changed(self) -> None:
        """The widget's value changed."""
        if self._callback:
            self._callback()

    def widget(self) -> Any:
        """Return the widget."""
        return self._widget

    def read(self) -> Any:
        """Return the widget's value."""
        return getattr(self._widget, self._attribute)

    def write(self, value: Any) -> None:
        """Show a value in the widget."""
        if value != self.read():  # writing moves the cursor of text fields
            setattr(self._widget, self._attribute, value)


class _NumberConnector(GuiConnector):
    """Slider or spin box: the annotations set its range, decimals and step."""

    def __init__(self, widget: Any, datatype: Any) -> None:
        super().__init__(widget, "value", "valueChanged")
        kind, annotations = splitAnnotations(datatype)
        self._kind = kind
        wholeWidget = type(widget) in (qt.QSpinBox, qt.QSlider)
        decimals = Decimals(0) if kind is int else firstOf(annotations, Decimals)
        step = firstOf(annotations, SingleStep)
        if decimals is not None and not wholeWidget:
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        span = firstOf(annotations, WithinRange)
        low = span or firstOf(annotations, Minimum)
        high = span or firstOf(annotations, Maximum)
        if type(widget) in (ctk.ctkSliderWidget, qt.QSlider) and (low is None or high is None):
            raise RuntimeError(
                f"Cannot connect {type(widget).__name__} '{widget.name}' to an unbounded number: annotate it with "
                "WithinRange"
            )
        widget.minimum = low.minimum if low else (-(2**31) if wholeWidget else float("-inf"))
        widget.maximum = high.maximum if high else (2**31 - 1 if wholeWidget else float("inf"))

    def read(self) -> Any:
        """Return the widget's value."""
        return self._kind(self._widget.value)

    def write(self, value: Any) -> None:
        """Show a value in the widget."""
        self._widget.value = value


class _ChoiceConnector(GuiConnector):
    """Combo box: its entries are the values of a Choice or an enumeration."""

    def __init__(self, widget: Any, choices: list[Any], labels: list[str]) -> None:
        super().__init__(widget, "currentIndex", "currentIndexChanged")
        self._choices = choices
        widget.clear()
        for label in labels:
            widget.addItem(label)

    def read(self) -> Any:
        """Return the chosen value."""
        return self._choices[self._widget.currentIndex]

    def write(self, value: Any) -> None:
        """Choose a value."""
        if value not in self._choices:
            raise ValueError(f"Unable to find value {value} in choices {self._choices}")
        self._widget.currentIndex = self._choices.index(value)


class _NodeConnector(GuiConnector):
    """Node combo box: it lists nodes of the parameter's class."""

    def __init__(self, widget: Any, kind: type) -> None:
        super().__init__(widget, "currentNode", "currentNodeChanged")
        widget.nodeTypes = (kind().GetClassName(),)

    def read(self) -> Any:
        """Return the selected node."""
        return self._widget.currentNode()

    def write(self, value: Any) -> None:
        """Select a node."""
        self._widget.setCurrentNode(value)


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """Return what connects a widget to a parameter of a type.

    Raises:
        RuntimeError: no parameter of this type can be shown in such a widget.
    """
    kind, annotations = splitAnnotations(datatype)
    shown = type(widget)
    if kind is bool and shown == qt.QCheckBox:
        return GuiConnector(widget, "checked", "stateChanged")
    if kind is bool and shown == qt.QPushButton:
        if not widget.checkable:
            logging.warning(f"Making push button '{widget.name}' checkable to show a bool")
            widget.checkable = True
        return GuiConnector(widget, "checked", "toggled")
    if kind is int and shown in (qt.QSlider, qt.QSpinBox):
        return _NumberConnector(widget, datatype)
    if kind in (int, float) and shown in (qt.QDoubleSpinBox, ctk.ctkSliderWidget):
        return _NumberConnector(widget, datatype)
    if kind in (int, float, str, bool) and shown == qt.QComboBox:
        choice = firstOf(annotations, Choice)
        if choice is None:
            raise RuntimeError(f"Combo box '{widget.name}' needs a parameter that is annotated with Choice")
        return _ChoiceConnector(widget, list(choice.choices), [str(value) for value in choice.choices])
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and shown == qt.QComboBox:
        label = getattr(kind, "label", lambda member: member.name)
        return _ChoiceConnector(widget, list(kind), [label(member) for member in kind])
    if kind is str and shown == qt.QLineEdit:
        return GuiConnector(widget, "text", "textChanged")
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode) and shown == slicer.qMRMLNodeComboBox:
        return _NodeConnector(widget, kind)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{shown}'")
