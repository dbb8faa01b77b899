"""The panel: what the user chooses, Apply and Cancel, progress, and what lies over the image."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from typing import Any

import qt
import slicer

from SCDSegmentationLib import sample_data
from SCDSegmentationLib.device_list import DeviceList
from SCDSegmentationLib.diagnostics import COPIED
from SCDSegmentationLib.errors import SegmentationError, inWords
from SCDSegmentationLib.explorer import KeepRatioExplorer
from SCDSegmentationLib.influence_control import InfluenceControl
from SCDSegmentationLib.influence_run import Influence
from SCDSegmentationLib.keep_ratio import describe, presets
from SCDSegmentationLib.model_list import ModelList
from SCDSegmentationLib.models import Model
from SCDSegmentationLib.node_selectors import NodeSelectors
from SCDSegmentationLib.overlay_control import OverlayControl
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.plain_text import plain
from SCDSegmentationLib.progress_view import ProgressView
from SCDSegmentationLib.request import Request, inputProblem
from SCDSegmentationLib.results import IMPORTANCE_REFERENCE, Results
from SCDSegmentationLib.segmentations import Segmentations
from SCDSegmentationLib.stepped_run import SteppedRun
from SCDSegmentationLib.suggestions import suggestionFor
from SCDSegmentationLib.sweep_run import LoadRun, Sweep
from SCDSegmentationLib.token_display import usesThreshold
from SCDSegmentationLib.token_inspector import TokenInspector
from SCDSegmentationLib.token_maps import dependants, removeNodes
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE

_VOLUMES = ("inputVolume", "inputVolume2", "inputVolume3", "inputVolume4")


class Panel:
    """Wires the widgets of ``SCDSegmentation.ui`` with the logic.

    Args:
        ui: the widgets by name.
        inspectionUi: those of ``TokenInspection.ui``.
        explorerUi: those of ``KeepRatioExplorer.ui``.
        logic: that segments.
    """

    def __init__(self, ui: Any, inspectionUi: Any, explorerUi: Any, logic: Segmentations) -> None:
        self.ui = ui
        self.logic = logic
        self.parameters: SCDSegmentationParameters | None = None
        self._guiTag: int | None = None
        self._observerTag: int | None = None
        self._shownVolume: str | None = None
        self._updating = False
        self._inputs = [(ui.inputLabel, ui.inputSelector)]
        self._inputs += [(getattr(ui, f"inputLabel{n}"), getattr(ui, f"inputSelector{n}")) for n in (2, 3, 4)]
        self._presetButtons = (ui.fastButton, ui.defaultButton, ui.thoroughButton, ui.suggestedButton)
        outputs = {"segmentation": ui.segmentationSelector, "importance": ui.importanceSelector}
        inputs = {name: selector for name, (_, selector) in zip(_VOLUMES, self._inputs, strict=True)}
        self.selectors = NodeSelectors({**inputs, **outputs}, _VOLUMES)
        self.progress = ProgressView(ui)
        self.models = ModelList(ui)
        self.devices = DeviceList(ui.deviceComboBox)
        self.overlay = OverlayControl()
        self.inspector = TokenInspector(inspectionUi, self.overlay)
        self.influence = InfluenceControl(inspectionUi, logic, self._request, lambda: self.model)
        self.explorer = KeepRatioExplorer(explorerUi, logic, self._request, self._missing)
        # Only importance maps are offered as outputs, so that no image is written over by mistake.
        ui.importanceSelector.addAttribute("vtkMRMLScalarVolumeNode", TOKEN_MAP_ATTRIBUTE, "importance")
        self._problems: list[str] = []
        self._connect()

    @property
    def model(self) -> Model | None:
        """The selected model."""
        return self.models.model

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Show this state and write changes into it; None: neither."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.parameters.RemoveObserver(self._observerTag)
        self.parameters = parameters
        self.selectors.setParameters(parameters)
        self.overlay.setParameters(parameters)
        if parameters is None:
            self.inspector.setParameters(None)
            self.influence.setParameters(None)
            self.explorer.setParameters(None)
            return
        self._refreshModels()
        self._guiTag = parameters.connectGui(self.ui)
        self._observerTag = parameters.AddObserver("ModifiedEvent", lambda caller, event: self._onParametersModified())
        if parameters.inputVolume is None:
            parameters.inputVolume = next(iter(_images()), None)
        self._shownVolume = _nodeId(parameters.inputVolume)
        self.models.select(parameters.model)
        self._showModel()
        self._onParametersModified()
        self.inspector.setParameters(parameters)
        self.influence.setParameters(parameters)
        self.explorer.setParameters(parameters)

    def onNodeAboutToBeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        """A node is leaving the scene; what was made for it follows, as soon as the event is over."""
        if slicer.mrmlScene.IsClosing():
            return
        self.overlay.forget(node)
        self.selectors.forget(node)
        nodes = dependants(node)
        if nodes:
            qt.QTimer.singleShot(0, lambda: removeNodes(nodes))

    def onNodeAdded(self, node: slicer.vtkMRMLNode) -> None:
        """A node came into the scene."""
        if node.GetAttribute(TOKEN_MAP_ATTRIBUTE):
            self.selectors.hideTokenMaps()

    def onNodeRemoved(self) -> None:
        """A node left the scene: a run that needs it ends, and the panel says what is missing now."""
        run = self.logic.run
        if run is not None and any(volume.GetScene() is None for volume in run.request.volumes):
            self.logic.cancel("The input volume was deleted, so the segmentation was cancelled: select another one.")
        self.explorer.onNodeRemoved()
        self._showReadiness()

    def _refreshModels(self) -> None:
        self.models.refresh()
        for problem in self.models.problems:
            if problem not in self._problems:
                self.progress.log(problem)
                self.logic.journal.addMessage("model cannot be read", problem)
        self._problems = self.models.problems

    def _connect(self) -> None:
        ui = self.ui
        self.models.selected.connect(self._onModelSelected)
        self.devices.selected.connect(self._onDeviceSelected)
        self.logic.log.connect(self.progress.log)
        self.logic.followLog()
        self.logic.devices.connect(self.devices.show)
        self.inspector.exported.connect(lambda folder: self.progress.end(f"Exported to {folder}."))
        self.inspector.failed.connect(self._onFailed)
        self.influence.started.connect(self._follow)
        self.influence.failed.connect(self._showError)
        self.explorer.started.connect(self._follow)
        self.explorer.failed.connect(self._showError)
        self.explorer.suggested.connect(self._showPresets)
        ui.applyButton.clicked.connect(self.onApply)
        ui.sampleDataButton.clicked.connect(self._onSampleData)
        ui.restartWorkerButton.clicked.connect(self._onRestartWorker)
        ui.diagnosticsButton.clicked.connect(lambda *_: self._onDiagnostics())
        for number, button in enumerate(self._presetButtons):
            button.clicked.connect(lambda *_, n=number: self._onPreset(n))

    def onApply(self) -> None:
        """Start, or cancel what is running."""
        if self.logic.run is not None:
            self.logic.cancel()
            self._showReadiness()
            return
        try:
            run = self.logic.prepare(self._request())
        except SegmentationError as error:
            self._showError(error)
            return
        self._follow(run)
        run.start()

    def _follow(self, run: SteppedRun) -> None:
        """Show the progress of a run that is about to start, and its end."""
        parameters = self.parameters
        run.progress.connect(self.progress.show)
        run.finished.connect(lambda outcome: self._onFinished(run, outcome, parameters))
        run.failed.connect(self._onFailed)
        self.progress.begin()
        self._showReadiness()

    def _request(self) -> Request:
        self.selectors.readAll()
        parameters, model = self.parameters, self.model
        if model is None:
            raise SegmentationError("Select a model.", "model")
        return Request(
            tuple(getattr(parameters, name) for name in _VOLUMES[: len(model.channels)]),
            model,
            parameters.keepRatio,
            parameters.overlap,
            parameters.device,
            parameters.precision,
            parameters.segmentation,
            parameters.importance,
            parameters.cpuFallback,
            parameters.threads,
        )

    def _onFinished(
        self, run: SteppedRun, outcome: Results | Sweep | Influence, parameters: SCDSegmentationParameters
    ) -> None:
        if isinstance(outcome, Sweep):
            self.progress.end(f"Compared {len(outcome.rows)} keep ratios in {run.seconds['total']:.1f} s.")
        elif isinstance(outcome, Influence):
            self.influence.showResult(outcome)
            self.overlay.refresh(parameters)  # the node may be the same, with another map in it
            self.inspector.show()
            self.progress.end(f"Computed influence on {outcome.on} in {run.seconds['total']:.1f} s.")
        else:
            self._showResults(run, outcome, parameters)
        if not self.devices.known:
            self.logic.probe()  # packages that were missing are there now
        self._showReadiness()

    def _showResults(self, run: SteppedRun, results: Results, parameters: SCDSegmentationParameters) -> None:
        volume = results.segmentation.GetNodeReference(results.segmentation.GetReferenceImageGeometryReferenceRole())
        if parameters.inputVolume is volume:
            with slicer.util.NodeModify(parameters):
                parameters.segmentation, parameters.importance = results.segmentation, results.importance
        self.overlay.showResults(volume, results, parameters)
        self.inspector.show()  # the nodes may be the same, with other maps in them
        self.influence.show()
        for warning in results.report["warnings"]:
            self.progress.log(f"warning: {warning}")
        self.progress.log(", ".join(f"{name} {value:.2f} s" for name, value in run.seconds.items()))
        found = sum(1 for label in results.report["labels"] if label["voxels"])
        structures = f"{found} of {len(results.report['labels'])} structures"
        if isinstance(run, LoadRun):
            self.progress.end(f"Loaded the result at keep ratio {run.request.keepRatio:g}: {structures}.")
        else:
            device = results.report["device"]["name"]
            self.progress.end(f"Found {structures} in {run.seconds['total']:.1f} s on {device}.")

    def _onFailed(self, error: SegmentationError) -> None:
        self.progress.end(str(error))
        self._showReadiness()
        if error.code != "cancelled":
            self._showError(error)

    def _showError(self, error: SegmentationError) -> None:
        logging.error(f"SCDSegmentation: {error}")
        self.progress.end(str(error))
        slicer.util.errorDisplay(plain(str(error)), windowTitle="SCDSegmentation")

    def tellUncaught(self, error: Exception) -> None:
        """Tell the user of an error that nobody caught, with the details in the log."""
        problem = inWords(error)
        self.progress.log("".join(traceback.format_exception(error)).rstrip())
        self.logic.journal.addMessage(f"uncaught ({problem.code})", str(problem))
        if self.logic.run is not None:
            self.progress.say(str(problem))
            return
        self.progress.end(str(problem))
        with suppress(Exception):  # this may be what failed
            self._showReadiness()

    def _onParametersModified(self) -> None:
        # While a scene is read, nodes and references come one by one; ``setParameters`` follows when all are there.
        if self._updating or self.parameters is None or slicer.mrmlScene.IsImporting():
            return
        self._updating = True
        try:
            volume = _nodeId(self.parameters.inputVolume)
            if volume != self._shownVolume:
                self._shownVolume = volume
                self._chooseOutputs()
            self.devices.select(self.parameters.device)
            if self.model is None or self.model.name != self.parameters.model:
                self.models.select(self.parameters.model)
                self._showModel()
            self._showKeepRatio()
            self.ui.thresholdSlider.setEnabled(usesThreshold(self.parameters.tokenMap))
            self._showReadiness()
        finally:
            self._updating = False

    def _chooseOutputs(self) -> None:
        """Another input: offer the outputs of its own last run, or new ones, never those of another volume."""
        segmentation = _segmentationOf(self.parameters.inputVolume)
        with slicer.util.NodeModify(self.parameters):
            self.parameters.segmentation = segmentation
            self.parameters.importance = segmentation.GetNodeReference(IMPORTANCE_REFERENCE) if segmentation else None

    def _onModelSelected(self, model: Model | None) -> None:
        if model is None or self.parameters is None or model.name == self.parameters.model:
            return
        with slicer.util.NodeModify(self.parameters):
            self.parameters.model = model.name
            self.parameters.keepRatio = model.keepRatio
            self.parameters.overlap = model.overlap
        self._showModel()

    def _showModel(self) -> None:
        """An input for each channel, and the presets of the model."""
        model = self.model
        channels = model.channels if model else ("",)
        for number, (label, selector) in enumerate(self._inputs):
            used = number < len(channels)
            label.setVisible(used)
            selector.setVisible(used)
            if used:
                label.setText("Input volume:" if len(channels) == 1 else f"{channels[number]}:")
        if model is not None:
            low, high = model.keepRatioRange
            self.ui.keepRatioSlider.setToolTip(
                "Share of the tokens that is kept at each pruning stage: lower is less work. This model is meant for "
                f"{low:g} to {high:g}."
            )
        self._showPresets()

    def _showPresets(self) -> None:
        """The presets of the model, and the keep ratio that the user's last comparison suggested for it."""
        found = presets(self.model, suggestionFor(self.model)) if self.model else ()
        for button in self._presetButtons:
            button.setEnabled(bool(found))
        self.ui.suggestedButton.setVisible(len(found) == len(self._presetButtons))
        for button, preset in zip(self._presetButtons, found, strict=False):
            button.setText(f"{preset.name} ({preset.keepRatio:g})")
            button.setToolTip(plain(preset.toolTip))

    def _showKeepRatio(self) -> None:
        self.ui.keepRatioInfoLabel.setText(describe(self.model, self.parameters.keepRatio) if self.model else "")

    def _onPreset(self, number: int) -> None:
        if self.model is not None and self.parameters is not None:
            self.parameters.keepRatio = presets(self.model, suggestionFor(self.model))[number].keepRatio

    def _onDeviceSelected(self, name: str) -> None:
        if self.parameters is not None:
            self.parameters.device = name

    def _onSampleData(self) -> None:
        loaded = [volume for volume in _images() if volume.GetName() == sample_data.NAME]
        volume = loaded[0] if loaded else sample_data.load()
        if self.parameters is not None:
            self.parameters.inputVolume = volume

    def _onRestartWorker(self) -> None:
        self.progress.log("restarting the segmentation process")
        self.logic.restartWorker()

    def _onDiagnostics(self) -> None:
        slicer.app.clipboard().setText(self.logic.diagnostics(self.parameters))
        self.progress.say(COPIED)

    def _missing(self) -> str | None:
        """What has to be chosen before Apply can do something."""
        if self.parameters is None:
            return "Open the module first."
        if self.model is None:
            return f"Select a model: '{self.parameters.model}' was not found."
        names = _VOLUMES[: len(self.model.channels)]
        return inputProblem([getattr(self.parameters, name) for name in names], self.model)

    def _showReadiness(self) -> None:
        """Apply or Cancel, and in the tool tip what is still missing."""
        button = self.ui.applyButton
        self.influence.showReadiness()
        if self.logic.run is not None:
            cancelling = self.logic.run.cancelling
            button.setText("Cancelling …" if cancelling else "Cancel")
            button.setEnabled(not cancelling)
            button.setToolTip(self.logic.run.CANCEL_HINT)
            self.explorer.showReadiness()
            return
        missing = self._missing()
        button.setText("Apply")
        button.setEnabled(missing is None)
        button.setToolTip(plain(missing or "Segment the volume."))
        self.explorer.showReadiness()


def _images() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The scene's images: no label maps, which are scalar volumes too, and no token maps."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [
        volume
        for volume in volumes
        if volume.GetClassName() == "vtkMRMLScalarVolumeNode" and not volume.GetAttribute(TOKEN_MAP_ATTRIBUTE)
    ]


def _nodeId(node: slicer.vtkMRMLNode | None) -> str | None:
    return node.GetID() if node is not None else None


def _segmentationOf(volume: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLSegmentationNode | None:
    """The last segmentation of a volume that a run made."""
    if volume is None:
        return None
    found = None
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        role = node.GetReferenceImageGeometryReferenceRole()
        if node.GetNodeReference(IMPORTANCE_REFERENCE) is not None and node.GetNodeReference(role) is volume:
            found = node
    return found
