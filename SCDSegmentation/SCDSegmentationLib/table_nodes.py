"""Tables in the scene: filled by columns, sorted as numbers, copied and written as text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import slicer
import vtk


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: over it.
        description: its tool tip.
        values: text, whole numbers or numbers; all of one kind.
    """

    name: str
    description: str
    values: Sequence[str] | Sequence[int] | Sequence[float]


def fillTable(node: slicer.vtkMRMLTableNode, columns: Sequence[Column]) -> None:
    """Give a table these columns in place of its own; it can be read and copied, not edited."""
    with slicer.util.NodeModify(node):
        node.SetLocked(False)
        node.RemoveAllColumns()
        for column in columns:
            node.AddColumn(_array(column))
            node.SetColumnDescription(column.name, column.description)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetLocked(True)


def _array(column: Column) -> vtk.vtkAbstractArray:
    if all(isinstance(value, str) for value in column.values):
        array = vtk.vtkStringArray()
    elif all(isinstance(value, int) for value in column.values):
        array = vtk.vtkIntArray()
    else:
        array = vtk.vtkDoubleArray()
    array.SetName(column.name)
    for value in column.values:
        array.InsertNextValue(value)
    return array


def columnsOf(node: slicer.vtkMRMLTableNode) -> list[Column]:
    """The columns of a table."""
    table, found = node.GetTable(), []
    for number in range(node.GetNumberOfColumns()):
        array = table.GetColumn(number)
        values = [array.GetValue(row) for row in range(array.GetNumberOfValues())]
        found.append(Column(array.GetName(), node.GetColumnDescription(array.GetName()), values))
    return found


def tableText(node: slicer.vtkMRMLTableNode, delimiter: str = "\t") -> str:
    """A table with its titles as text that spreadsheets take.

    Args:
        node: to write.
        delimiter: between the cells: a tab for the clipboard, a comma for CSV files.
    """
    columns = columnsOf(node)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in zip(*(column.values for column in columns), strict=True):
        writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in row])
    return text.getvalue()


class TableSorter:
    """Sorts the table of a view when the title of a column is clicked; a second click turns the order round.

    The view's own sorting knows cells as text only: 1000 would come before 8.

    Args:
        view: a qMRMLTableView.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self._last: tuple[str, int] | None = None
        header = view.horizontalHeader()
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._onClicked)

    def _onClicked(self, number: int) -> None:
        node = self._view.mrmlTableNode()
        if node is None:
            return
        first = self._last != (node.GetID(), number)
        self._last = (node.GetID(), number) if first else None
        # Numbers are looked for from their highest on, names from A.
        isText = isinstance(node.GetTable().GetColumn(number), vtk.vtkStringArray)
        sortTable(node, number, descending=first != isText)


def sortTable(node: slicer.vtkMRMLTableNode, number: int, descending: bool = False) -> None:
    """Put the rows of a table in the order of a column's values."""
    columns = columnsOf(node)
    keys = columns[number].values
    # What has no value comes last, whichever way round the others are.
    known = [row for row, key in enumerate(keys) if key == key]
    unknown = [row for row, key in enumerate(keys) if key != key]
    order = sorted(known, key=keys.__getitem__, reverse=descending) + unknown
    fillTable(node, [replace(column, values=[column.values[row] for row in order]) for column in columns])
