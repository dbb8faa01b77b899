"""The section of the panel that looks inside a run: token maps, stages, boxes, what lies under the cursor, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from SCDSegmentationLib import overlay
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.overlay_control import OverlayControl
from SCDSegmentationLib.parameters import GREYED, KEPT, SCDSegmentationParameters
from SCDSegmentationLib.report_check import storedReport
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.table_nodes import TableSorter, tableText
from SCDSegmentationLib.token_export import TokenExport
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf, whereScored
from SCDSegmentationLib.token_readout import CursorReadout, readToken
from SCDSegmentationLib.token_tables import TABLES, tableOf

_NO_RUN = "none yet: press Apply"
_NO_TOKEN = "Move the mouse over a slice."


class TokenInspector:
    """Follows the parameters: shows what is known of the run whose importance is selected.

    Signals:
        exported(Path): an export is complete in this folder.
        failed(SegmentationError): an export was not made.

    Args:
        ui: the widgets of ``TokenInspection.ui`` by name.
        control: shows the token maps in the views.
    """

    def __init__(self, ui: Any, control: OverlayControl) -> None:
        self.ui = ui
        self.exported, self.failed = Signal(), Signal()
        self._control = control
        self._export: TokenExport | None = None
        self._parameters: SCDSegmentationParameters | None = None
        self._tags: tuple[int, int] = (0, 0)
        self._cursor = CursorReadout(self._onCursorMoved)
        ui.tableComboBox.addItems([f"Tokens of each {kind.partition(' ')[0]}" for kind in TABLES])
        ui.tableView.verticalHeader().setVisible(False)
        ui.tableView.verticalHeader().setDefaultSectionSize(22)
        self._sorter = TableSorter(ui.tableView)
        documents = Path(qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation) or Path.home())
        ui.exportDirectoryButton.directory = str(documents if documents.is_dir() else Path.home())
        ui.stageSlider.valueChanged.connect(self._onStage)
        ui.tableComboBox.currentIndexChanged.connect(lambda *_: self._showTable())
        ui.copyTableButton.clicked.connect(lambda *_: self._onCopy())
        ui.exportButton.clicked.connect(lambda *_: self.export(Path(ui.exportDirectoryButton.directory)))

    @property
    def maps(self) -> TokenMaps | None:
        """Of the selected run; None if there is none."""
        return tokenMapsOf(self._parameters.importance) if self._parameters is not None else None

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Show the run of these parameters and write changes into them; None: neither."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._tags[0])
            self._parameters.RemoveObserver(self._tags[1])
            self._cursor.stop()
        if parameters is None:
            self.cancelExport()
        self._parameters = parameters
        if parameters is None:
            return
        guiTag = parameters.connectGui(self.ui)
        self._tags = guiTag, parameters.AddObserver("ModifiedEvent", lambda caller, event: self.show())
        self._cursor.start()
        self.show()

    def show(self) -> None:
        """Show what there is now."""
        if self._parameters is None or slicer.mrmlScene.IsImporting():
            return
        maps = self.maps
        stages = len(maps.pruneAfter) if maps else 0
        usable = maps is not None and maps.stage is not None and stages > 0
        ui, parameters = self.ui, self._parameters
        shown = usable and overlay.showsTokens(parameters.shown)
        for widget in (ui.tokenMapComboBox, ui.colorsComboBox, ui.boxesCheckBox):
            widget.setEnabled(shown)
        ui.boxColorsComboBox.setEnabled(shown and parameters.boxes)
        byStage = parameters.tokenMap in (KEPT, GREYED) or parameters.boxes
        ui.stageSlider.setEnabled(shown and byStage)
        ui.copyTableButton.setEnabled(usable)
        ui.exportButton.setEnabled(usable and self._export is None)
        ui.runLabel.setText(_runText(maps) if usable else _NO_RUN)
        wasBlocked = ui.stageSlider.blockSignals(True)
        ui.stageSlider.setMaximum(max(stages, 1))
        ui.stageSlider.setValue(min(self._parameters.stage, max(stages, 1)))
        ui.stageSlider.blockSignals(wasBlocked)
        ui.stageInfoLabel.setText(_stageText(maps, ui.stageSlider.value) if shown and byStage else _why(usable, shown))
        self._showTable()

    def _onStage(self, stage: int) -> None:
        if self._parameters is not None:
            self._parameters.stage = stage

    def _showTable(self) -> None:
        node = tableOf(self.maps, TABLES[self.ui.tableComboBox.currentIndex])
        if node is not self.ui.tableView.mrmlTableNode():
            self.ui.tableView.setMRMLTableNode(node)

    def export(self, folder: Path) -> None:
        """Write pictures, tables and a report of the selected run into a new folder below this one."""
        try:
            self._export = TokenExport(folder, self._parameters, self._control)
        except SegmentationError as error:
            self.failed.emit(error)
            return
        self._export.finished.connect(lambda path: self._onExportEnd(self.exported, path))
        self._export.failed.connect(lambda error: self._onExportEnd(self.failed, error))
        self._export.start()
        self.show()

    def cancelExport(self) -> None:
        """End an export that is under way."""
        if self._export is not None:
            self._export.cancel()

    def _onExportEnd(self, signal: Signal, outcome: Path | SegmentationError) -> None:
        self._export = None
        self.show()
        signal.emit(outcome)

    def _onCopy(self) -> None:
        node = self.ui.tableView.mrmlTableNode()
        if node is not None:
            slicer.app.clipboard().setText(tableText(node))

    def _onCursorMoved(self, place: Sequence[float] | None) -> None:
        maps = self.maps
        token = readToken(maps, self._parameters.segmentation, place) if maps is not None and place else None
        self.ui.cursorLabel.setText(token.text(maps) if token is not None else _NO_TOKEN)


def _runText(maps: TokenMaps) -> str:
    """Which run the maps are of."""
    report = storedReport(maps.importance)
    if not report:
        return maps.importance.GetName()
    return f"{report['model']['name']} at keep ratio {report['keep_ratio']:g}"


def _why(usable: bool, shown: bool) -> str:
    """Why the stage slider can do nothing."""
    if not usable:
        return ""
    if not shown:
        return "Tokens are not shown: see Overlay, Show."
    return "For kept tokens, pruned tokens and boxes."


def _stageText(maps: TokenMaps, stage: int) -> str:
    stages = slicer.util.arrayFromVolume(maps.stage)
    kept, count = int((stages > stage).sum()), stages.size
    return f"{whereScored(maps.pruneAfter[stage - 1])}: {kept} of {count} tokens kept ({kept / count:.1%})"
