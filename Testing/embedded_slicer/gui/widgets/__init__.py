"""Stand-ins for the CTK and MRML widgets of a module's panel, as Qt widgets; modules see them wrapped."""

from __future__ import annotations

from .collapsible_button import CollapsibleButton
from .directory_button import DirectoryButton
from .message_box import MessageBox
from .mrml_widget import MRMLWidget
from .node_combo_box import NodeComboBox
from .node_filter import NodeFilter
from .slider_widget import SliderWidget
from .table_view import TableView

CTK_WIDGETS = {
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkDirectoryButton": DirectoryButton,
    "ctkMessageBox": MessageBox,
    "ctkSliderWidget": SliderWidget,
}
SLICER_WIDGETS = {
    "qMRMLNodeComboBox": NodeComboBox,
    "qMRMLSortFilterProxyModel": NodeFilter,
    "qMRMLTableView": TableView,
    "qMRMLWidget": MRMLWidget,
}

__all__ = ["CTK_WIDGETS", "SLICER_WIDGETS"]
