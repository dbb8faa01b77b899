"""The rows of a node combo box: "None", nodes, a separator and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PySide6 import QtCore, QtGui

_NODE_ID = QtCore.Qt.ItemDataRole.UserRole
_ACTION = QtCore.Qt.ItemDataRole.UserRole + 1


@dataclass(frozen=True)
class Row:
    """One row: a node if it has an ID, an action if it has a name of one, else the "None" entry."""

    text: str
    nodeID: str = ""
    action: str = ""

    @property
    def key(self) -> str:
        """What stays the same when a node is renamed."""
        return self.nodeID or f"{self.action}\n{self.text if self.action else ''}"


def actionRows(label: str, kinds: Mapping[str, str], enabled: Mapping[str, bool]) -> list[Row]:
    """Return the separator and the actions after the nodes; nothing if there is no action.

    Args:
        label: what the current node is called.
        kinds: node type → what it is called.
        enabled: "renameEnabled", "editEnabled", "addEnabled" and "removeEnabled".
    """
    rows: list[Row] = []
    if enabled["renameEnabled"]:
        rows.append(Row(f"Rename current {label}", action="rename"))
    if enabled["editEnabled"]:
        rows.append(Row(f"Edit current {label}", action="edit"))
    for nodeType, kind in kinds.items() if enabled["addEnabled"] else ():
        rows.append(Row(f"Create new {kind}", action=f"create {nodeType}"))
        if enabled["renameEnabled"]:
            rows.append(Row(f"Create new {kind} as...", action=f"create as {nodeType}"))
    if enabled["removeEnabled"]:
        rows.append(Row(f"Delete current {label}", action="delete"))
    return [Row("", action="separator"), *rows] if rows else []


class NodeRows(QtGui.QStandardItemModel):
    """Model of the rows. Only rows that differ are changed, so that Qt keeps the current one current."""

    def rowAt(self, index: int) -> Row:
        """Return the row at an index; one without anything if there is none."""
        item = self.item(index) if index >= 0 else None
        return Row(item.text(), item.data(_NODE_ID), item.data(_ACTION)) if item is not None else Row("")

    def rows(self) -> list[Row]:
        """Return all rows."""
        return [self.rowAt(index) for index in range(self.rowCount())]

    def removeOthers(self, rows: list[Row]) -> None:
        """Remove the rows that are not among these."""
        keys = {row.key for row in rows}
        for index in reversed(range(self.rowCount())):
            if self.rowAt(index).key not in keys:
                self.removeRow(index)

    def insertMissing(self, rows: list[Row]) -> None:
        """Insert the rows that are not there, at their places, and rename those that are."""
        for index, row in enumerate(rows):
            if self.rowAt(index).key != row.key or index >= self.rowCount():
                self.insertRow(index, _item(row))
            elif self.rowAt(index).text != row.text:
                self.item(index).setText(row.text)


def _item(row: Row) -> QtGui.QStandardItem:
    item = QtGui.QStandardItem(row.text)
    item.setData(row.nodeID, _NODE_ID)
    item.setData(row.action, _ACTION)
    if row.action:
        item.setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled)
    if row.action == "separator":
        item.setData("separator", QtCore.Qt.ItemDataRole.AccessibleDescriptionRole)
    return item
