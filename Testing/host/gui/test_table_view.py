"""qMRMLTableView shows, sorts and copies a table node as Slicer's does."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def table() -> Any:
    """Stage, tokens kept and share kept, in three rows."""
    import slicer
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "stages")
    columns = {
        "stage": (vtk.vtkStringArray(), ("first", "second", "third")),
        "kept": (vtk.vtkIntArray(), (1000, 90, 8)),
        "share": (vtk.vtkDoubleArray(), (0.5, 0.25, float("nan"))),
    }
    for name, (array, values) in columns.items():
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    return node


@pytest.fixture
def view(table: Any) -> Any:
    import slicer

    made = slicer.qMRMLTableView()
    made.setMRMLScene(slicer.mrmlScene)
    made.setMRMLTableNode(table)
    return made


def header(view: Any, orientation: int) -> list[str]:
    import qt

    model = view.model()
    count = model.columnCount() if orientation == qt.Qt.Horizontal else model.rowCount()
    return [model.headerData(section, orientation) for section in range(count)]


def column(view: Any, number: int) -> list[str]:
    model = view.model()
    return [model.index(row, number).data() for row in range(model.rowCount())]


def test_names_are_the_header_and_the_first_column_may_be(view: Any, table: Any) -> None:
    import qt

    assert header(view, qt.Qt.Horizontal) == ["stage", "kept", "share"]
    assert header(view, qt.Qt.Vertical) == ["1", "2", "3"]
    assert column(view, 2) == ["0.5", "0.25", "nan"]
    table.SetColumnTitle("kept", "Tokens kept")
    table.SetColumnUnitLabel("kept", "tokens")
    view.firstColumnLocked = True
    assert table.GetUseFirstColumnAsRowHeader()
    assert header(view, qt.Qt.Horizontal) == ["Tokens kept [tokens]", "share"]
    assert header(view, qt.Qt.Vertical) == ["first", "second", "third"]
    view.transposed = True
    assert header(view, qt.Qt.Horizontal) == ["first", "second", "third"]


def test_without_the_header_the_names_are_the_first_row(view: Any, table: Any) -> None:
    import qt

    view.firstRowLocked = False
    assert not table.GetUseColumnTitleAsColumnHeader()
    assert header(view, qt.Qt.Horizontal) == ["A", "B", "C"]
    assert column(view, 1) == ["kept", "1000", "90", "8"]


def test_the_view_follows_the_node(view: Any, table: Any) -> None:
    table.AddEmptyRow()
    table.GetTable().GetColumn(1).SetValue(0, 1001)
    table.GetTable().Modified()
    assert column(view, 1) == ["1001", "90", "8", "0"]
    view.setMRMLTableNode(None)
    assert view.model().columnCount() == 0


def test_cells_sort_by_their_text(view: Any) -> None:
    import qt

    view.sortingEnabled = True
    view.sortByColumn(1, qt.Qt.AscendingOrder)
    assert column(view, 1) == ["1000", "8", "90"]
    clicked = view.model().index(1, 1)
    source = view.sortFilterProxyModel().mapToSource(clicked)
    assert (source.row(), source.column()) == (2, 1)


def test_a_click_is_told_with_its_index(view: Any) -> None:
    import qt

    indices: list[tuple[int, int, str]] = []
    changes: list[int] = []
    view.clicked.connect(lambda index: indices.append((index.row(), index.column(), index.data())))
    view.connect("selectionChanged()", lambda: changes.append(len(view.selectionModel().selectedRows())))
    view.selectionBehavior = qt.QAbstractItemView.SelectRows
    view.selectRow(1)
    view.clicked.emit(view.model().index(1, 0))
    assert indices == [(1, 0, "second")]
    view.clearSelection()
    assert changes == [1, 0]


def test_the_selection_is_copied_with_tabs_and_without_header(view: Any) -> None:
    import qt
    import slicer

    view.selectionBehavior = qt.QAbstractItemView.SelectRows
    view.selectRow(1)
    view.copySelection()
    assert slicer.app.clipboard().text() == "second\t90\t0.25"
    view.selectAll()
    view.copySelection()
    assert qt.QApplication.clipboard().text() == "first\t1000\t0.5\nsecond\t90\t0.25\nthird\t8\tnan"


def test_only_an_unlocked_table_is_edited_and_only_with_what_fits(view: Any, table: Any) -> None:
    import qt

    assert not view.model().index(0, 1).flags() & qt.Qt.ItemIsEditable
    table.SetLocked(False)
    index = view.model().index(0, 1)
    assert index.flags() & qt.Qt.ItemIsEditable
    view.model().setData(index, "7")
    assert table.GetTable().GetColumn(1).GetValue(0) == 7
    view.model().setData(view.model().index(0, 1), "seven")
    assert column(view, 1)[0] == "7"


def test_a_ui_file_can_ask_for_a_table_view() -> None:
    import qt
    import slicer

    view = qt.QUiLoader().createWidget("qMRMLTableView")
    assert type(view) is slicer.qMRMLTableView
