"""qMRMLTableView: a table node as rows and columns."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .table_model import TableModel

_LEAST_WIDTH = 60  # pixels


class TableView(QtWidgets.QTableView):
    """Shows the table node that it is given; with ``sortingEnabled`` a click on a header sorts.

    As in Slicer, cells sort by their text, and ``copySelection`` takes the rows in the order of the node: while the
    view is sorted, it copies other rows than those that are selected.

    Checked against Slicer's Libs/MRML/Widgets/qMRMLTableView.h and .cxx.
    """

    mrmlSceneChanged = QtCore.Signal(object)
    _selectionChanged = QtCore.Signal()  # its real name is also that of a method that Qt calls
    vtkSignals = {  # noqa: RUF012
        "mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)",
        "selectionChanged()": "_selectionChanged()",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._tableModel = TableModel(self)
        self._proxy = QtCore.QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._tableModel)
        self.setModel(self._proxy)
        self.horizontalHeader().setStretchLastSection(False)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)

    def mrmlScene(self) -> Any:
        """Return the scene, None if there is none."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlTableNode(self) -> Any:
        """Return the table node, None if there is none."""
        return self._tableModel._node

    def setMRMLTableNode(self, node: Any) -> None:
        """Show a table node, or nothing if the node is None or no table."""
        self._tableModel._setNode(node if node is not None and node.IsA("vtkMRMLTableNode") else None)
        self._proxy.invalidate()
        self.horizontalHeader().setMinimumSectionSize(_LEAST_WIDTH)
        self.resizeColumnsToContents()
        self._selectionChanged.emit()

    def tableModel(self) -> QtGui.QStandardItemModel:
        """Return the model with the node's cells, in the node's order."""
        return self._tableModel

    def sortFilterProxyModel(self) -> QtCore.QSortFilterProxyModel:
        """Return the model that the view shows, in the view's order."""
        return self._proxy

    def selectionChanged(self, selected: QtCore.QItemSelection, deselected: QtCore.QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        self._selectionChanged.emit()

    def copySelection(self) -> None:
        """Put the rows and columns of the selection on the clipboard, a tab between cells and no header."""
        selection, model = self.selectionModel(), self._tableModel
        if self.mrmlTableNode() is None or not selection.hasSelection():
            return
        top = QtCore.QModelIndex()
        rows = [row for row in range(model.rowCount()) if selection.rowIntersectsSelection(row, top)]
        columns = [column for column in range(model.columnCount()) if selection.columnIntersectsSelection(column, top)]
        lines = ["\t".join(_copied(model.item(row, column)) for column in columns) for row in rows]
        QtGui.QGuiApplication.clipboard().setText("\n".join(lines))

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Copy the selection on the system's key for it."""
        if event.matches(QtGui.QKeySequence.StandardKey.Copy):
            self.copySelection()
        else:
            super().keyPressEvent(event)

    def setTransposed(self, transposed: bool) -> None:
        """Show the node's columns as rows."""
        if self.mrmlTableNode() is not None:
            self._tableModel._setTransposed(transposed)

    def setFirstRowLocked(self, locked: bool) -> None:
        """Show the first row, usually the names of the columns, as the header."""
        self._lock(locked, self._tableModel._transposed)

    def setFirstColumnLocked(self, locked: bool) -> None:
        """Show the first column as the header of the rows."""
        self._lock(locked, not self._tableModel._transposed)

    def _lock(self, locked: bool, isFirstColumn: bool) -> None:
        node = self.mrmlTableNode()
        if node is not None:
            (node.SetUseFirstColumnAsRowHeader if isFirstColumn else node.SetUseColumnTitleAsColumnHeader)(locked)
            self.resizeColumnsToContents()

    def _locked(self, isFirstColumn: bool) -> bool:
        node = self.mrmlTableNode()
        if node is None:
            return False
        return bool(node.GetUseFirstColumnAsRowHeader() if isFirstColumn else node.GetUseColumnTitleAsColumnHeader())

    transposed = QtCore.Property(bool, lambda self: self._tableModel._transposed, setTransposed)
    firstRowLocked = QtCore.Property(bool, lambda self: self._locked(self._tableModel._transposed), setFirstRowLocked)
    firstColumnLocked = QtCore.Property(
        bool, lambda self: self._locked(not self._tableModel._transposed), setFirstColumnLocked
    )


def _copied(item: QtGui.QStandardItem) -> str:
    return str(int(item.checkState() == QtCore.Qt.CheckState.Checked)) if item.isCheckable() else item.text()
