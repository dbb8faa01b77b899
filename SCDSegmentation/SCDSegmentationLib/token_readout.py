"""What is known of the token under the cursor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from SCDSegmentationLib.token_maps import TokenMaps
from SCDSegmentationLib.volume_files import matrixOf

_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


@dataclass(frozen=True)
class TokenReadout:
    """One token.

    Args:
        index: (i, j, k) on the token grid, from 0.
        stage: at which it was pruned; one more than there are stages if it was kept to the end.
        scores: rank at each stage among the tokens scored there, 0…1; None where it was not scored.
        importance: 0…1.
        survival: 0…1.
        labels: names of the segments at the cursor.
        influence: 0…1; None if it was not computed.
    """

    index: tuple[int, int, int]
    stage: int
    scores: tuple[float | None, ...]
    importance: float
    survival: float
    labels: tuple[str, ...]
    influence: float | None = None

    def text(self, maps: TokenMaps) -> str:
        """In three lines, for people."""
        scores = ", ".join("–" if score is None else f"{score:.2f}" for score in self.scores)
        where = ", ".join(str(number) for number in self.index)
        return (
            f"Token ({where}): {', '.join(self.labels) or 'no structure'}\n"
            f"{maps.stageName(self.stage).capitalize()}; scores {scores}\n"
            f"Importance {self.importance:.2f}, survival {self.survival:.2f}"
            + ("" if self.influence is None else f", influence {self.influence:.2f}")
        )


def readToken(
    maps: TokenMaps, segmentation: slicer.vtkMRMLSegmentationNode | None, world: Sequence[float]
) -> TokenReadout | None:
    """The token at a place; None outside the token grid, or if one of the maps is not in the scene.

    Args:
        maps: of a run.
        segmentation: of the run.
        world: RAS in mm, with all transforms applied.
    """
    if not maps.complete:
        return None
    i, j, k = _nearest(np.linalg.inv(matrixOf(maps.importance)), _local(maps.importance, world))
    shape = slicer.util.arrayFromVolume(maps.importance).shape
    if not all(0 <= index < size for index, size in zip((k, j, i), shape, strict=True)):
        return None
    scores = [slicer.util.arrayFromVolume(node)[k, j, i] for node in maps.scores]
    return TokenReadout(
        index=(i, j, k),
        stage=int(slicer.util.arrayFromVolume(maps.stage)[k, j, i]),
        scores=tuple(None if math.isnan(score) else float(score) for score in scores),
        importance=float(slicer.util.arrayFromVolume(maps.importance)[k, j, i]),
        survival=float(slicer.util.arrayFromVolume(maps.survival)[k, j, i]),
        labels=tuple(_segmentsAt(segmentation, world)) if segmentation is not None else (),
        influence=None if maps.influence is None else float(slicer.util.arrayFromVolume(maps.influence)[k, j, i]),
    )


class CursorReadout:
    """Tells what lies under the cursor whenever it moves in a view.

    Args:
        moved: called with the place (RAS in mm), or None when the cursor is in no view.
    """

    def __init__(self, moved: Callable[[tuple[float, float, float] | None], None]) -> None:
        self._moved = moved
        self._crosshair: slicer.vtkMRMLCrosshairNode | None = None
        self._tag = 0

    def start(self) -> None:
        """Follow the cursor."""
        self.stop()
        self._crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if self._crosshair is not None:
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._tag = self._crosshair.AddObserver(event, lambda caller, event: self._onMoved())

    def stop(self) -> None:
        """Follow it no more."""
        if self._crosshair is not None:
            self._crosshair.RemoveObserver(self._tag)
        self._crosshair = None

    def _onMoved(self) -> None:
        ras = [0.0, 0.0, 0.0]
        self._moved(tuple(ras) if self._crosshair.GetCursorPositionRAS(ras) else None)


def _local(node: slicer.vtkMRMLTransformableNode, world: Sequence[float]) -> list[float]:
    """A place in a node's own space, before the transforms that it is under."""
    local = [0.0, 0.0, 0.0]
    node.TransformPointFromWorld(list(world), local)
    return local


def _nearest(rasToIjk: np.ndarray, ras: Sequence[float]) -> tuple[int, int, int]:
    """Index of the voxel whose cell holds a place."""
    i, j, k = (math.floor(value + 0.5) for value in (rasToIjk @ (*ras, 1.0))[:3])
    return i, j, k


def _segmentsAt(segmentation: slicer.vtkMRMLSegmentationNode, world: Sequence[float]) -> list[str]:
    """Names of the segments at a place."""
    found = []
    segments = segmentation.GetSegmentation()
    local = _local(segmentation, world)
    for layer in range(segments.GetNumberOfLayers(_LABELMAP)):
        image = segments.GetLayerDataObject(layer, _LABELMAP)
        matrix = vtk.vtkMatrix4x4()
        image.GetWorldToImageMatrix(matrix)
        index = _nearest(slicer.util.arrayFromVTKMatrix(matrix), local)
        extent = image.GetExtent()
        if not all(extent[2 * axis] <= index[axis] <= extent[2 * axis + 1] for axis in range(3)):
            continue
        value = int(image.GetScalarComponentAsDouble(*index, 0))
        for segmentId in segments.GetSegmentIDsForDataObject(image, _LABELMAP):
            segment = segments.GetSegment(segmentId)
            if value and segment.GetLabelValue() == value:
                found.append(segment.GetName())
    return found
