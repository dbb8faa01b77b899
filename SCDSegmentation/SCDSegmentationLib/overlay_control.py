"""The overlay section of the panel: shows the chosen results as the user asked."""

from __future__ import annotations

from typing import Any

import slicer

from SCDSegmentationLib import overlay, token_display
from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.results import Results
from SCDSegmentationLib.token_boxes import TokenBoxes, hideBoxes
from SCDSegmentationLib.token_maps import TokenMaps, tokenMapsOf


class OverlayControl:
    """Follows the parameters: shows the selected volume and its results, and hides those of the one before."""

    def __init__(self) -> None:
        self._parameters: SCDSegmentationParameters | None = None
        self._tag: int | None = None
        self._surfaces = overlay.SurfaceBuilder()
        self._boxes = TokenBoxes()
        self._applied: tuple[Any, ...] = ()
        self._volumeId: str | None = None
        self._resultIds: tuple[str | None, str | None] = (None, None)

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Follow these parameters; None: none."""
        if self._parameters is not None:
            self._parameters.RemoveObserver(self._tag)
        self._parameters = parameters
        if parameters is None:
            return
        self._tag = parameters.AddObserver("ModifiedEvent", lambda caller, event: self._update())
        self._volumeId = _id(parameters.inputVolume)
        self._resultIds = (_id(parameters.segmentation), _id(parameters.importance))
        self._applied = self._state()
        self._showTokens(tokenMapsOf(parameters.importance), parameters)
        self._showSurfaces()

    def showResults(
        self, volume: slicer.vtkMRMLScalarVolumeNode, results: Results, parameters: SCDSegmentationParameters
    ) -> None:
        """Show a new result as the parameters say."""
        overlay.showVolume(volume)
        self._apply(results.segmentation, results.importance, parameters)
        if parameters.show3D:
            self._surfaces.show(results.segmentation)

    def forget(self, node: slicer.vtkMRMLNode) -> None:
        """A node is leaving the scene, and is hidden with it: the subject hierarchy has let go of it already and would
        complain of any change.
        """
        self._resultIds = tuple(None if nodeId == node.GetID() else nodeId for nodeId in self._resultIds)

    def refresh(self, parameters: SCDSegmentationParameters) -> None:
        """Show what these parameters say, whatever the views show now."""
        self._apply(parameters.segmentation, parameters.importance, parameters)

    def _state(self) -> tuple[Any, ...]:
        """What the slice views depend on."""
        p = self._parameters
        tokens = (p.tokenMap, p.stage, p.colors, p.opacity, p.threshold, p.legend, p.boxes, p.boxColors)
        return (_id(p.segmentation), _id(p.importance), p.shown, *tokens, p.show3D)

    def _update(self) -> None:
        if slicer.mrmlScene.IsImporting():
            return
        state, parameters = self._state(), self._parameters
        volumeId, resultIds = _id(parameters.inputVolume), state[:2]
        if resultIds != self._resultIds:
            before = [slicer.mrmlScene.GetNodeByID(nodeId or "") for nodeId in self._resultIds]
            self._resultIds = resultIds
            segmentation, importance = (None if _id(node) in resultIds else node for node in before)
            maps = tokenMapsOf(importance)
            overlay.hide(segmentation, maps)
            if maps is not None:
                hideBoxes(maps)
        if volumeId != self._volumeId:
            self._volumeId = volumeId
            if parameters.inputVolume is not None:
                overlay.showVolume(parameters.inputVolume)
        if state != self._applied:
            surfacesShown, self._applied = self._applied[-1], state
            self._apply(parameters.segmentation, parameters.importance, parameters)
            self._showSurfaces()
            if surfacesShown and not parameters.show3D and parameters.segmentation is not None:
                self._surfaces.hide(parameters.segmentation)

    def _apply(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode | None,
        importance: slicer.vtkMRMLScalarVolumeNode | None,
        parameters: SCDSegmentationParameters,
    ) -> None:
        maps, choice = tokenMapsOf(importance), parameters.tokenMap
        self._showTokens(maps, parameters)
        opacity = token_display.layerOpacity(choice, parameters.opacity)
        overlay.show(segmentation, token_display.shownNode(maps, choice), parameters.shown, opacity)
        if maps is not None:
            token_display.setLegend(maps, choice, parameters.legend and overlay.showsTokens(parameters.shown))

    def _showTokens(self, maps: TokenMaps | None, parameters: SCDSegmentationParameters) -> None:
        """Set how the token map and the boxes look; what the slice views show stays."""
        if maps is not None:
            stage, threshold = parameters.stage, parameters.threshold
            token_display.showAs(maps, parameters.tokenMap, stage, threshold, parameters.colors)
        self._boxes.follow(maps, parameters)

    def _showSurfaces(self) -> None:
        """Show surfaces if the parameters say so; those that are being made already go on."""
        segmentation = self._parameters.segmentation
        if segmentation is None or segmentation.GetDisplayNode() is None or not self._parameters.show3D:
            return
        if not overlay.showsSurfaces(segmentation) and not self._surfaces.isMaking(segmentation):
            self._surfaces.show(segmentation)


def _id(node: slicer.vtkMRMLNode | None) -> str | None:
    return node.GetID() if node is not None else None
