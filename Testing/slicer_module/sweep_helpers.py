"""The comparison of keep ratios as a user works it: ratios, button, table."""

from __future__ import annotations

from typing import Any

from SCDSegmentationLib.sweep_table import KEEP_RATIO, readSweepTable
from SCDSegmentationLib.table_nodes import columnsOf
from slicer_module.helpers import wait_until


def explorer(widget: Any) -> Any:
    return widget.panel.explorer


def compare(widget: Any, ratios: str = "1, 0.5, 0.25", seconds: float = 90) -> str:
    """Click Compare, wait for the end, and return what the panel says."""
    begin(widget, ratios)
    wait_until(lambda: widget.logic.run is None, seconds)
    return widget.panel.ui.statusLabel.text


def begin(widget: Any, ratios: str) -> Any:
    ui = explorer(widget).ui
    ui.ratiosLineEdit.setText(ratios)
    ui.currentCheckBox.setChecked(False)
    ui.compareButton.click()
    assert widget.logic.run is not None, widget.panel.ui.statusLabel.text
    return widget.logic.run


def columns(widget: Any) -> dict[str, list[Any]]:
    table = readSweepTable(widget.panel.parameters.inputVolume)
    return {column.name: list(column.values) for column in columnsOf(table.node)}


def select(widget: Any, keep_ratio: float) -> None:
    """Click the row of a keep ratio."""
    view = explorer(widget).ui.sweepTableView
    view.selectRow(columns(widget)[KEEP_RATIO].index(keep_ratio))
