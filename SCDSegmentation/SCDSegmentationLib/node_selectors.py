"""The node selectors of the panel: what they show is what is segmented and written over, always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer

from SCDSegmentationLib.parameters import SCDSegmentationParameters
from SCDSegmentationLib.volume_files import TOKEN_MAP_ATTRIBUTE


class NodeSelectors:
    """Mends what ``connectGui`` leaves open, which hears nothing but ``currentNodeChanged``.

    That signal follows the shown text: none comes between two nodes of one name. And when its node leaves the scene, a
    ``qMRMLNodeComboBox`` goes on to a neighbour, which would be taken for the user's choice.

    Args:
        selectors: by the names of their parameters.
        inputs: names of those that images are chosen with.
    """

    def __init__(self, selectors: Mapping[str, Any], inputs: Sequence[str]) -> None:
        self._selectors, self._inputs = dict(selectors), tuple(inputs)
        self._parameters: SCDSegmentationParameters | None = None
        for name, selector in self._selectors.items():
            selector.nodeActivated.connect(lambda *_, n=name: self._read(n))

    def setParameters(self, parameters: SCDSegmentationParameters | None) -> None:
        """Write choices into these parameters; None: nowhere."""
        self._parameters = parameters
        self.hideTokenMaps()

    def readAll(self) -> None:
        """Take over what is shown, whatever signals came or did not; before nodes are used."""
        for name in self._selectors:
            self._read(name)

    def forget(self, node: slicer.vtkMRMLNode) -> None:
        """A node is leaving the scene: where it is shown, nothing is selected, before a neighbour is."""
        for selector in self._selectors.values():
            if selector.currentNode() is node:
                selector.setCurrentNode(None)

    def hideTokenMaps(self) -> None:
        """Offer no token maps as inputs."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        hidden = [volume.GetID() for volume in volumes if volume.GetAttribute(TOKEN_MAP_ATTRIBUTE)]
        for selector in (self._selectors[name] for name in self._inputs):
            current = selector.currentNode()
            if current is not None and current.GetID() in hidden:
                selector.setCurrentNode(None)
            selector.sortFilterProxyModel().hiddenNodeIDs = hidden

    def _read(self, name: str) -> None:
        if self._parameters is None:
            return
        node = self._selectors[name].currentNode()
        if node is not getattr(self._parameters, name):
            setattr(self._parameters, name, node)
