"""The overlay section of the panel: shows the chosen results as the user asked."""

from __future__ import annotations

from typing import Any

import slicer

from SCDSegmentationLib import overlay
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.results import Results


class OverlayControl:
    """Follows the parameters and shows or hides segments, importance, legend and surfaces.

    Args:
        ui: the widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._parameters: SCDSegmentationParameters | None = None
        self._tag: int | None = None
        self._surfaces = overlay.SurfaceBuilder()
        self._applied: tuple[Any, ...] = ()
        self._surfacesOf: tuple[str | None, bool] = (None, False)

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Follow these parameters; None: none."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._tag)
        self._parameters = parameters
        if parameters is not None:
            self._applied = self._state()
            self._surfacesOf = self._surfaceState()
            self._tag = parameters.AddObserver("ModifiedEvent", lambda caller, event: self._update())
        else:
            self._surfaces.stop()

    def showResults(
        self, volume: slicer.vtkMRMLScalarVolumeNode, results: Results, parameters: SCDSegmentationParameters
    ) -> None:
        """Show a new result as the parameters say."""
        overlay.prepareImportanceDisplay(results.importance)
        _apply(volume, results.segmentation, results.importance, parameters, fit=True)
        if parameters.show3D:
            self._surfaces.show(results.segmentation)
        if parameters is self._parameters:
            self._applied, self._surfacesOf = self._state(), self._surfaceState()

    def _state(self) -> tuple[Any, ...]:
        """What the slice views depend on."""
        p = self._parameters
        return (*(_id(node) for node in (p.segmentation, p.importance)), p.shown, p.opacity, p.threshold, p.legend)

    def _surfaceState(self) -> tuple[str | None, bool]:
        return _id(self._parameters.segmentation), self._parameters.show3D

    def _update(self) -> None:
        if slicer.mrmlScene.IsImporting():
            return
        state, surfaces = self._state(), self._surfaceState()
        parameters = self._parameters
        if state != self._applied:
            self._applied = state
            if parameters.inputVolume is not None and (parameters.segmentation or parameters.importance):
                _apply(parameters.inputVolume, parameters.segmentation, parameters.importance, parameters, fit=False)
        if surfaces != self._surfacesOf:
            self._surfacesOf = surfaces
            if parameters.segmentation is not None:
                (self._surfaces.show if parameters.show3D else self._surfaces.hide)(parameters.segmentation)


def _apply(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode | None,
    importance: slicer.vtkMRMLScalarVolumeNode | None,
    parameters: SCDSegmentationParameters,
    fit: bool,
) -> None:
    overlay.show(volume, segmentation, importance, parameters.shown, parameters.opacity, fit)
    if importance is not None and importance.GetDisplayNode() is not None:
        overlay.setThreshold(importance, parameters.threshold)
        overlay.setLegend(importance, parameters.legend and overlay.showsImportance(parameters.shown))


def _id(node: slicer.vtkMRMLNode | None) -> str | None:
    return node.GetID() if node is not None else None
