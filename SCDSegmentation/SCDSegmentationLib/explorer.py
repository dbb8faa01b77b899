"""The section of the panel that compares keep ratios: a sweep, its table and plot, and what it suggests."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import slicer

from SCDSegmentationLib import suggestions
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.plain_text import plain
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.segmentations import Segmentations
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.suggestions import Suggestion
from SCDSegmentationLib.sweep_chart import isChartShown, showChart
from SCDSegmentationLib.sweep_run import Sweep, SweepRun, keepRatiosProblem
from SCDSegmentationLib.sweep_table import KEEP_RATIO, SECONDS, TOKENS, SweepTable, readSweepTable
from SCDSegmentationLib.table_nodes import columnsOf

_AXES = {"against time": SECONDS, "against tokens": TOKENS}
_NOTHING = "Compares the results of several keep ratios on the selected volume with that of the largest."


class KeepRatioExplorer:
    """Follows the parameters: shows the last comparison of the selected volume.

    Signals:
        started(object): a run that the panel shall show the progress of: a comparison, or the loading of a row.
        failed(SegmentationError): a comparison could not start.
        suggested(): another keep ratio is suggested for a model.

    Args:
        ui: the widgets of ``KeepRatioExplorer.ui`` by name.
        logic: that runs comparisons.
        request: what Apply would ask for.
        missing: what has to be chosen before that, as a sentence; None if nothing is.
    """

    def __init__(
        self, ui: Any, logic: Segmentations, request: Callable[[], Request], missing: Callable[[], str | None]
    ) -> None:
        self.ui = ui
        self.started, self.failed, self.suggested = Signal(), Signal(), Signal()
        self.sweep: Sweep | None = None
        self._logic, self._request, self._missing = logic, request, missing
        self._parameters: SCDSegmentationParameters | None = None
        self._tags: tuple[int, int] = (0, 0)
        self._tolerance: float | None = None
        ui.plotAxisComboBox.addItems(list(_AXES))
        view = ui.sweepTableView
        view.verticalHeader().setVisible(False)
        view.verticalHeader().setDefaultSectionSize(22)
        view.connect("selectionChanged()", self.showReadiness)
        view.doubleClicked.connect(lambda *_: self.loadSelected())
        ui.compareButton.clicked.connect(lambda *_: self._onCompare())
        ui.loadButton.clicked.connect(lambda *_: self.loadSelected())
        ui.useButton.clicked.connect(lambda *_: self._onUse())
        ui.plotButton.clicked.connect(lambda *_: self._onPlot())
        ui.plotAxisComboBox.currentIndexChanged.connect(lambda *_: self._onAxis())

    @property
    def table(self) -> SweepTable | None:
        """Of the selected volume's last comparison; None if there is none, or if it was made with another model."""
        table = readSweepTable(self._parameters.inputVolume) if self._parameters is not None else None
        return table if table is not None and table.model == self._parameters.model else None

    @property
    def selectedKeepRatio(self) -> float | None:
        """Of the selected row; None if there is none."""
        index = self.ui.sweepTableView.currentIndex()
        node = self.ui.sweepTableView.mrmlTableNode()
        if node is None or not index.isValid():
            return None
        ratios = next((column.values for column in columnsOf(node) if column.name == KEEP_RATIO), [])
        row = self.ui.sweepTableView.sortFilterProxyModel().mapToSource(index).row()
        return float(ratios[row]) if row < len(ratios) else None

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Show what these parameters say and write changes into them; None: neither."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._tags[0])
            self._parameters.RemoveObserver(self._tags[1])
        self._parameters = parameters
        if parameters is None:
            return
        guiTag = parameters.connectGui(self.ui)
        self._tags = guiTag, parameters.AddObserver("ModifiedEvent", lambda caller, event: self.show())
        self._tolerance = parameters.tolerance
        self.show()

    def discard(self) -> None:
        """Let go of the last comparison's files; its table stays in the scene."""
        if self.sweep is not None:
            self.sweep.discard()
            self.sweep = None

    def onNodeRemoved(self) -> None:
        """A node left the scene: without their volume the last comparison's files are of no use."""
        if self.sweep is not None and any(volume.GetScene() is None for volume in self.sweep.request.volumes):
            self.discard()
        self.show()

    def show(self) -> None:
        """Show what there is now."""
        if self._parameters is None or slicer.mrmlScene.IsImporting():
            return
        table = self.table
        node = table.node if table is not None else None
        if node is not self.ui.sweepTableView.mrmlTableNode():
            self.ui.sweepTableView.setMRMLTableNode(node)
        if self._tolerance != self._parameters.tolerance:
            self._tolerance = self._parameters.tolerance
            if table is not None:
                self._remember(table, self._tolerance)
        self.ui.suggestionLabel.setText(_suggestionText(table, self._tolerance) if table else self._nothing())
        self.showReadiness()

    def _nothing(self) -> str:
        """Why there is no table."""
        other = readSweepTable(self._parameters.inputVolume)
        if other is None:
            return _NOTHING
        return f"The last comparison of this volume was made with the model {other.model}."

    def showReadiness(self) -> None:
        """Say which buttons can do something, and in tool tips why the others cannot."""
        ui, run, table = self.ui, self._logic.run, self.table
        sweeping = isinstance(run, SweepRun)
        ui.compareButton.setText(
            "Cancelling …" if sweeping and run.cancelling else "Cancel" if sweeping else "Compare keep ratios"
        )
        missing = self._missing()
        ui.compareButton.setEnabled(not run.cancelling if sweeping else run is None and missing is None)
        ready = "Segment the volume at each of these keep ratios, and compare the labels."
        ui.compareButton.setToolTip(run.CANCEL_HINT if sweeping else plain(missing or ready))
        selected = self.selectedKeepRatio
        ui.useButton.setEnabled(selected is not None)
        ui.plotButton.setEnabled(table is not None and len(table.agreement) > 1)
        problem = self._loadProblem(selected)
        ui.loadButton.setEnabled(problem is None)
        ui.loadButton.setToolTip(problem or "Put the result of the selected row into the outputs, as Apply would.")

    def loadSelected(self) -> None:
        """Put the result of the selected row into the outputs."""
        try:
            shown = self._request()  # what Apply would write over
            ratio = self.selectedKeepRatio
            if self._loadProblem(ratio) is not None:
                return
            row = self.sweep.row(ratio)
            run = self._logic.prepareLoad(self.sweep, row, shown.segmentation, shown.importance)
        except SegmentationError as error:
            self.failed.emit(error)
            return
        parameters = self._parameters
        run.finished.connect(lambda results: setattr(parameters, "keepRatio", row.keepRatio))
        self.started.emit(run)
        run.start()

    def _loadProblem(self, keepRatio: float | None) -> str | None:
        """Why the result of a row cannot be loaded now; None if it can."""
        if keepRatio is None or self._parameters is None:
            return "Select a row first."
        if self._logic.run is not None:
            return "Wait for the run, or cancel it."
        sweep, volume = self.sweep, self._parameters.inputVolume
        if sweep is None or not sweep.available or sweep.request.volumes[0] is not volume or not sweep.row(keepRatio):
            return "The results of this comparison were not kept with the scene: use the keep ratio and press Apply."
        return None

    def _onCompare(self) -> None:
        if isinstance(self._logic.run, SweepRun):
            self._logic.cancel()
            self.showReadiness()
            return
        try:
            ratios = keepRatiosOf(self._parameters)
            run = self._logic.prepareSweep(self._request(), ratios, self._parameters.tolerance)
        except SegmentationError as error:
            self.failed.emit(error)
            return
        run.row.connect(lambda row: self._onRow(run))
        run.finished.connect(self._onFinished)
        for signal in (run.finished, run.failed):
            signal.connect(lambda *_: self.show())
        self.started.emit(run)
        run.start()
        self.showReadiness()

    def _onRow(self, run: SweepRun) -> None:
        if self.sweep is not run.sweep:
            self.discard()  # only now: a comparison that gives nothing takes nothing away
            self.sweep = run.sweep
        self.show()

    def _onFinished(self, sweep: Sweep) -> None:
        """Remember what is suggested, of complete comparisons alone; the module may have been left meanwhile."""
        table = readSweepTable(sweep.request.volumes[0])
        if table is not None:
            self._remember(table, self._tolerance)

    def _remember(self, table: SweepTable, tolerance: float) -> None:
        ratio = table.suggestedKeepRatio(tolerance)
        if len(table.agreement) < 2 or not table.agreement[ratio] >= 0:
            return
        suggestions.remember(
            table.model,
            Suggestion(ratio, tolerance, table.agreement[ratio], table.sha256, table.date),
        )
        self.suggested.emit()

    def _onUse(self) -> None:
        ratio = self.selectedKeepRatio
        if ratio is not None:
            self._parameters.keepRatio = ratio

    def _onPlot(self) -> None:
        table = self.table
        if table is not None:
            showChart(table, _AXES[self.ui.plotAxisComboBox.currentText])

    def _onAxis(self) -> None:
        """A plot that is shown changes its axis; one that is not, stays away."""
        table = self.table
        if table is not None and isChartShown(table):
            self._onPlot()


def keepRatiosOf(parameters: SCDSegmentationParameters) -> list[float]:
    """The keep ratios that the parameters ask to compare, each once.

    Raises:
        SegmentationError: the text is no list of numbers.
    """
    words = [word for word in re.split(r"[\s,;]+", parameters.comparedKeepRatios) if word]
    try:
        ratios = [float(word) for word in words]
    except ValueError as error:
        raise SegmentationError(
            f"The keep ratios '{parameters.comparedKeepRatios}' are no list of numbers: write, for example, "
            "1, 0.5, 0.25, 0.1."
        ) from error
    problem = keepRatiosProblem(ratios) if ratios else None
    if problem:
        raise SegmentationError(f"{problem} Decimals are written with a point: 0.5, 0.25.")
    if parameters.compareCurrent and f"{parameters.keepRatio:g}" not in {f"{ratio:g}" for ratio in ratios}:
        ratios.append(parameters.keepRatio)
    if len(ratios) < 2:
        raise SegmentationError("Give at least two keep ratios, such as 1, 0.25: they are compared with the largest.")
    return ratios


def _suggestionText(table: SweepTable, tolerance: float) -> str:
    ratio, densest = table.suggestedKeepRatio(tolerance), max(table.agreement)
    if len(table.agreement) < 2:
        return f"Only keep ratio {densest:g} was run: there is nothing to compare it with."
    agreement = table.agreement[ratio]
    if math.isnan(agreement):
        return f"Keep ratio {densest:g} found no structure: there is nothing that could agree."
    if ratio == densest:
        return f"Suggested keep ratio: {ratio:g}. No smaller one agrees with it by at least {tolerance:g}."
    return (
        f"Suggested keep ratio: {ratio:g}. Mean Dice with keep ratio {densest:g} is {agreement:.3f} "
        f"(asked: at least {tolerance:g}); a run takes {table.seconds[ratio]:.1f} s, the other "
        f"{table.seconds[densest]:.1f} s."
    )
