"""The rows of Token inspection that compute influence, and that say what importance and influence are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from SCDSegmentationLib import overlay
from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.influence_map import ALL_STRUCTURES, influenceOn
from SCDSegmentationLib.influence_run import Influence, InfluenceRun
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.parameters import BOTH, INFLUENCE_MAP, SCDSegmentationParameters
from SCDSegmentationLib.report_check import storedReport
from SCDSegmentationLib.request import Request
from SCDSegmentationLib.segmentations import Segmentations
from SCDSegmentationLib.signal import Signal
from SCDSegmentationLib.token_choice import tokenChoiceText
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf

_NOT_YET = "Influence was not computed yet: press Compute."
_MEANING = "how much each token moved the labels, by their gradient."


class InfluenceControl:
    """Follows the parameters: offers the structures of the selected run, and computes influence on one or all.

    Signals:
        started(InfluenceRun): it is about to start.
        failed(SegmentationError): it was not started.

    Args:
        ui: the widgets of ``TokenInspection.ui`` by name.
        logic: that runs it.
        request: what Apply would ask for.
        model: the selected model.
    """

    def __init__(
        self, ui: Any, logic: Segmentations, request: Callable[[], Request], model: Callable[[], Model | None]
    ) -> None:
        self.ui = ui
        self.started, self.failed = Signal(), Signal()
        self._logic, self._request, self._model = logic, request, model
        self._parameters: SCDSegmentationParameters | None = None
        self._tag: int | None = None
        ui.influenceButton.clicked.connect(lambda *_: self._onClick())

    @property
    def _maps(self) -> TokenMaps | None:
        return tokenMapsOf(self._parameters.importance) if self._parameters is not None else None

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Follow these parameters; None: none."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._tag)
        self._parameters = parameters
        if parameters is not None:
            self._tag = parameters.AddObserver("ModifiedEvent", lambda caller, event: self.show())
            self.show()

    def show(self) -> None:
        """Show what there is now."""
        if self._parameters is None or slicer.mrmlScene.IsImporting():
            return
        maps = self._maps
        self._showStructures(maps)
        self.ui.tokenMapInfoLabel.setText(self._text(maps) if maps is not None else "")
        self.showReadiness()

    def showReadiness(self) -> None:
        """Compute or Cancel, and whether there is something to compute."""
        run, button = self._logic.run, self.ui.influenceButton
        computing = isinstance(run, InfluenceRun)
        button.setText("Cancelling …" if computing and run.cancelling else "Cancel" if computing else "Compute")
        ready = run is None and self._maps is not None and self._parameters.segmentation is not None
        button.setEnabled(not run.cancelling if computing else ready)
        self.ui.influenceComboBox.setEnabled(ready)

    def showResult(self, outcome: Influence) -> None:
        """Choose the new map and have tokens shown, if its run is still the selected one."""
        maps = self._maps
        if maps is not None and maps.influence is outcome.node:
            with slicer.util.NodeModify(self._parameters):
                self._parameters.tokenMap = INFLUENCE_MAP
                if not overlay.showsTokens(self._parameters.shown):
                    self._parameters.shown = BOTH
        self.show()

    def _showStructures(self, maps: TokenMaps | None) -> None:
        box, segmentation = self.ui.influenceComboBox, self._parameters.segmentation
        segments = segmentation.GetSegmentation() if segmentation is not None and maps is not None else None
        ids = segments.GetSegmentIDs() if segments else ()
        wanted = [(ALL_STRUCTURES, ""), *((segments.GetSegment(each).GetName(), each) for each in ids)]
        if [(box.itemText(number), box.itemData(number)) for number in range(box.count)] == wanted:
            return
        chosen = box.itemData(box.currentIndex)
        box.clear()
        for name, segmentId in wanted:
            box.addItem(name, segmentId)
        box.setCurrentIndex(max(box.findData(chosen), 0))

    def _text(self, maps: TokenMaps) -> str:
        """What the chosen map tells."""
        if self._parameters.tokenMap == INFLUENCE_MAP:
            return f"Influence on {influenceOn(maps)}: {_MEANING}" if maps.influence is not None else _NOT_YET
        report = storedReport(maps.importance)
        model = self._model()
        if not report or model is None or model.sha256 != report["model"]["sha256"]:
            return ""
        return tokenChoiceText(model.tokenChoices, report["keep_ratio"])

    def _onClick(self) -> None:
        if isinstance(self._logic.run, InfluenceRun):
            self._logic.cancel()
            self.showReadiness()
            return
        box, segmentation = self.ui.influenceComboBox, self._parameters.segmentation
        segmentId = box.itemData(box.currentIndex) or None
        try:
            run = self._logic.prepareInfluence(self._request(), segmentation, self._maps, segmentId)
        except SegmentationError as error:
            self.show()  # the structures may be others by now
            self.failed.emit(error)
            return
        self.started.emit(run)
        run.start()
