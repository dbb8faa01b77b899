"""qMRMLSortFilterProxyModel: which nodes a node combo box lists."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore


class NodeFilter(QtCore.QObject):
    """Accepts nodes by type, attribute, and whether they are hidden; it does not sort.

    Checked against Slicer's Libs/MRML/Widgets/qMRMLSortFilterProxyModel.h and .cxx.

    Args:
        options: of the combo box: "nodeTypes", "showHidden" and "showChildNodeTypes".
        parent: the combo box.
    """

    _changed = QtCore.Signal()

    def __init__(self, options: dict[str, Any], parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self._options = options
        self._attributes: dict[str, tuple[str, str | None]] = {}
        self._hiddenNodeIDs: list[str] = []

    def _accepts(self, node: Any) -> bool:
        if node.GetID() in self._hiddenNodeIDs or (node.GetHideFromEditors() and not self._options["showHidden"]):
            return False
        for nodeType in self._options["nodeTypes"]:
            if node.GetClassName() == nodeType or (self._options["showChildNodeTypes"] and node.IsA(nodeType)):
                name, value = self._attributes.get(nodeType, (None, None))
                if name is None or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))):
                    return True
        return False

    def _setHiddenNodeIDs(self, nodeIDs: list[str]) -> None:
        self._hiddenNodeIDs = list(nodeIDs)
        self._changed.emit()

    hiddenNodeIDs = QtCore.Property("QStringList", lambda self: self._hiddenNodeIDs, _setHiddenNodeIDs)
