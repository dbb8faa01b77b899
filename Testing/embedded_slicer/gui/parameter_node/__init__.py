"""slicer.parameterNodeWrapper: typed parameter nodes that are bound to widgets.

What is stored, and where, is what Slicer's own wrapper stores, so that scenes saved here open there. Checked against
Slicer's Base/Python/slicer/parameterNodeWrapper.
"""

from __future__ import annotations

from .annotations import Choice, Decimals, Default, Exclude, Maximum, Minimum, SingleStep, WithinRange
from .connectors import GuiConnector, createGuiConnector
from .wrapper import (
    SlicerParameterNamePropertyName,
    findChildWidgetForParameter,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "GuiConnector",
    "Maximum",
    "Minimum",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "WithinRange",
    "createGuiConnector",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]
