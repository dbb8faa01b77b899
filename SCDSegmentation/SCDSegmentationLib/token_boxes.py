"""Kept tokens as boxes in the 3-D view, each of the size and at the place of its patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

from SCDSegmentationLib import token_display
from SCDSegmentationLib.overlay import showsTokens
from SCDSegmentationLib.parameters import BY_STAGE, SCDSegmentationParameters
from SCDSegmentationLib.token_maps import OWNED_PREFIX, TokenMaps, placeBelow
from SCDSegmentationLib.volume_files import matrixOf

BOXES_REFERENCE = f"{OWNED_PREFIX}boxes"
_STAGE, _IMPORTANCE = "stage", "importance"
_CORNERS = np.array([(i, j, k) for k in (-0.5, 0.5) for j in (-0.5, 0.5) for i in (-0.5, 0.5)])
# Corners of each face, counter-clockwise as seen from outside.
_FACES = np.array([(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)])


class TokenBoxes:
    """Shows the boxes that the parameters ask for, and makes them anew only when they differ."""

    def __init__(self) -> None:
        self._made: tuple[Any, ...] = ()

    def follow(self, maps: TokenMaps | None, parameters: SCDSegmentationParameters) -> None:
        """Show or hide the boxes of these maps as the parameters say; they go with the overlay on the slices."""
        if maps is None:
            return
        model = maps.importance.GetNodeReference(BOXES_REFERENCE)
        if not (parameters.boxes and showsTokens(parameters.shown)) or maps.stage is None:
            hideBoxes(maps)
            return
        if model is None:
            model = _addModel(maps)
        if model.GetDisplayNode() is None:
            _addDisplay(model)
        kept = keptTokens(maps, parameters.tokenMap, parameters.stage, parameters.threshold)
        images = [node.GetImageData().GetMTime() for node in (maps.importance, maps.stage)]
        content = (model.GetID(), kept.tobytes(), matrixOf(maps.importance).tobytes(), *images)
        if content != self._made or model.GetPolyData() is None:
            model.SetAndObservePolyData(boxes(maps, kept))
            self._made = content
        model.SetAndObserveTransformNodeID(maps.importance.GetTransformNodeID())
        _color(model.GetDisplayNode(), maps, parameters)


def hideBoxes(maps: TokenMaps) -> None:
    """Show no boxes of these maps."""
    model = maps.importance.GetNodeReference(BOXES_REFERENCE)
    if model is not None and model.GetDisplayNode() is not None:
        model.GetDisplayNode().SetVisibility(False)


def keptTokens(maps: TokenMaps, choice: str, stage: int, threshold: float) -> np.ndarray:
    """Which tokens (K, J, I) bool the boxes stand for: kept after a stage, and not below the threshold.

    Args:
        maps: of a run.
        choice: of the map that is shown; the threshold counts only if it has values.
        stage: from 1.
        threshold: 0…1.
    """
    kept = slicer.util.arrayFromVolume(maps.stage) > min(stage, len(maps.pruneAfter))
    shown = token_display.shownNode(maps, choice)
    if token_display.usesThreshold(choice) and shown is not None:
        kept &= slicer.util.arrayFromVolume(shown) >= threshold
    return kept


def boxes(maps: TokenMaps, kept: np.ndarray) -> vtk.vtkPolyData:
    """A box for each token of a selection, with its stage and importance as data of its faces.

    Args:
        maps: of a run.
        kept: (K, J, I) bool.

    Returns:
        Boxes in the space of the maps, without the transforms that those are under.
    """
    kji = np.argwhere(kept)
    matrix = matrixOf(maps.importance)
    corners = (kji[:, None, ::-1] + _CORNERS).reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    # In a left-handed grid the same order of corners goes round the other way.
    order = _FACES if np.linalg.det(matrix[:3, :3]) > 0 else _FACES[:, ::-1]
    faces = (np.arange(len(kji))[:, None, None] * len(_CORNERS) + order).reshape(-1, 4)
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(corners), deep=True))
    cells = vtk.vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.arange(0, 4 * len(faces) + 1, 4), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces.ravel()), deep=True),
    )
    made = vtk.vtkPolyData()
    made.SetPoints(points)
    made.SetPolys(cells)
    for name, node, kind in ((_STAGE, maps.stage, np.uint8), (_IMPORTANCE, maps.importance, np.float32)):
        values = np.repeat(slicer.util.arrayFromVolume(node)[kept].astype(kind), len(_FACES))
        array = numpy_to_vtk(values, deep=True)
        array.SetName(name)
        made.GetCellData().AddArray(array)
    return made


def _addModel(maps: TokenMaps) -> slicer.vtkMRMLModelNode:
    name = f"{maps.importance.GetName()} boxes"
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    _addDisplay(model)
    maps.importance.SetNodeReferenceID(BOXES_REFERENCE, model.GetID())
    placeBelow(model, maps.importance)
    return model


def _addDisplay(model: slicer.vtkMRMLModelNode) -> None:
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetVisibility2D(False)
    display.SetEdgeVisibility(True)
    display.SetOpacity(0.4)
    display.SetBackfaceCulling(False)


def _color(display: slicer.vtkMRMLModelDisplayNode, maps: TokenMaps, parameters: SCDSegmentationParameters) -> None:
    byStage = parameters.boxColors == BY_STAGE
    with slicer.util.NodeModify(display):
        display.SetActiveScalar(_STAGE if byStage else _IMPORTANCE, vtk.vtkAssignAttribute.CELL_DATA)
        display.SetAndObserveColorNodeID(token_display.colorNode(maps, byStage, parameters.colors).GetID())
        display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
        display.SetScalarRange(0, len(maps.pruneAfter) + 1 if byStage else 1)
        display.SetScalarVisibility(True)
        display.SetVisibility(True)
