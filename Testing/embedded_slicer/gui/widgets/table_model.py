"""The model behind qMRMLTableView: the cells of a table node as text."""

from __future__ import annotations

import weakref
from typing import Any

import shiboken6
import vtk
from PySide6 import QtCore, QtGui

_BOLD = QtGui.QFont()
_BOLD.setBold(True)
_CHARACTERS = (vtk.VTK_CHAR, vtk.VTK_SIGNED_CHAR, vtk.VTK_UNSIGNED_CHAR)


class TableModel(QtGui.QStandardItemModel):
    """One item a cell, which follows the table node, and changes it where the user edits.

    Every item holds text, numbers too: as in Slicer, a view that sorts puts "10" before "9".

    Checked against Slicer's Libs/MRML/Widgets/qMRMLTableModel.h and .cxx.
    """

    def __init__(self, parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._tag = 0
        self._transposed = self._updating = False
        self.itemChanged.connect(self._onItemChanged)

    def _setNode(self, node: Any) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            reference = weakref.ref(self)  # the node outlives the view

            def follow(*_: Any) -> None:
                model = reference()
                if model is not None and shiboken6.isValid(model):
                    model._update()

            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, follow)
        self._update()

    def _setTransposed(self, transposed: bool) -> None:
        self._transposed = transposed
        self._update()

    def _firstColumn(self) -> int:
        return 1 if self._node.GetUseFirstColumnAsRowHeader() else 0

    def _firstRow(self) -> int:
        """The names of the columns are row -1, shown as a row unless the header shows them."""
        return 0 if self._node.GetUseColumnTitleAsColumnHeader() else -1

    def _update(self) -> None:
        """Show what the node holds."""
        table = self._node.GetTable() if self._node is not None else None
        self._updating = True
        if table is None or not table.GetNumberOfColumns():
            self.clear()
        else:
            columns = range(self._firstColumn(), table.GetNumberOfColumns())
            rows = range(self._firstRow(), table.GetNumberOfRows())
            shape = (len(columns), len(rows)) if self._transposed else (len(rows), len(columns))
            self.setRowCount(shape[0])
            self.setColumnCount(shape[1])
            for column in columns:
                self._updateColumn(table, column, rows)
            self._updateRowHeaders(table, rows)
        self._updating = False

    def _updateColumn(self, table: Any, column: int, rows: range) -> None:
        name = table.GetColumnName(column) or ""
        across, along = QtCore.Qt.Orientation.Horizontal, QtCore.Qt.Orientation.Vertical
        shown = column - self._firstColumn()
        self.setHeaderData(shown, along if self._transposed else across, self._header(name, shown))
        for row in rows:
            place = (shown, row - rows.start) if self._transposed else (row - rows.start, shown)
            item = self.item(*place)
            if item is None:
                item = QtGui.QStandardItem()
                self.setItem(*place, item)
            self._updateItem(item, table, row, column)
            item.setToolTip(self._toolTip(name))

    def _updateItem(self, item: QtGui.QStandardItem, table: Any, row: int, column: int) -> None:
        isBit = row >= 0 and table.GetColumn(column).GetDataType() == vtk.VTK_BIT
        item.setCheckable(isBit)
        if isBit:
            checked = table.GetValue(row, column).ToInt()
            item.setCheckState(QtCore.Qt.CheckState.Checked if checked else QtCore.Qt.CheckState.Unchecked)
            item.setText("")
        else:
            item.setData(None, QtCore.Qt.ItemDataRole.CheckStateRole)
            item.setText(_text(table, row, column))
        item.setData(QtGui.QFont() if row >= 0 else _BOLD, QtCore.Qt.ItemDataRole.FontRole)
        changeable, fixed = QtCore.Qt.ItemFlag.ItemIsEditable, QtCore.Qt.ItemFlag.ItemIsUserCheckable
        if isBit:
            changeable, fixed = fixed, changeable
        flags = item.flags() & ~fixed
        item.setFlags(flags & ~changeable if self._node.GetLocked() else flags | changeable)

    def _updateRowHeaders(self, table: Any, rows: range) -> None:
        across, along = QtCore.Qt.Orientation.Horizontal, QtCore.Qt.Orientation.Vertical
        for shown, row in enumerate(rows):
            label = _text(table, row, 0) if self._firstColumn() else str(shown + 1)
            self.setHeaderData(shown, across if self._transposed else along, label)

    def _header(self, name: str, shown: int) -> str:
        if self._firstRow() < 0:
            return _letters(shown)
        units = self._node.GetColumnUnitLabel(name)
        return (self._node.GetColumnTitle(name) or name) + (f" [{units}]" if units else "")

    def _toolTip(self, name: str) -> str:
        title, units = self._node.GetColumnTitle(name), self._node.GetColumnUnitLabel(name)
        named = f"<b>{name}</b>" if title in ("", name) else f"<b>{title}</b> <code>&lt;{name}&gt;</code>"
        lines = [named, f"Unit: {units}" if units else "", self._node.GetColumnDescription(name)]
        return "<p>".join(line for line in lines if line)

    def _onItemChanged(self, item: QtGui.QStandardItem) -> None:
        """Put what the user typed into the node; what its column cannot hold is taken back."""
        if self._updating:
            return
        place = (item.column(), item.row()) if self._transposed else (item.row(), item.column())
        row, column = place[0] + self._firstRow(), place[1] + self._firstColumn()
        table = self._node.GetTable()
        if row < 0:
            self._node.RenameColumn(column, item.text())
        elif item.isCheckable():
            table.SetValue(row, column, vtk.vtkVariant(int(item.checkState() == QtCore.Qt.CheckState.Checked)))
            table.Modified()
        else:
            before = _text(table, row, column)
            isCharacter = table.GetColumn(column).GetDataType() in _CHARACTERS
            value = vtk.vtkVariant(item.text())
            if not isCharacter or item.text().lstrip("-").isdigit():
                table.SetValue(row, column, vtk.vtkVariant(value.ToInt()) if isCharacter else value)
            if _text(table, row, column) != before:
                table.Modified()
            else:
                self._update()


def _text(table: Any, row: int, column: int) -> str:
    if row < 0:
        return table.GetColumnName(column) or ""
    value = table.GetValue(row, column)
    # VTK would write a character as a letter.
    return str(value.ToInt()) if table.GetColumn(column).GetDataType() in _CHARACTERS else str(value.ToString())


def _letters(index: int) -> str:
    """A, B, …, Z, AA, AB, … as in spreadsheets."""
    text = ""
    while index >= 0:
        text = chr(ord("A") + index % 26) + text
        index = index // 26 - 1
    return text
