"""From the worker's files to nodes: built aside, and put into the scene only when they are complete."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.models import Label, Model
from SCDSegmentationLib.token_display import prepareDisplay
from SCDSegmentationLib.token_maps import MAPS, PreparedMaps, dependants, placeBelow, removeNodes
from SCDSegmentationLib.token_tables import commitTables, tokenTables
from SCDSegmentationLib.volume_files import matrixOf, openLabels

# What a run is asked for: the label map, and the maps on the token grid.
RESULT_FILES = ("labels", *MAPS)
_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
_SLICES = 64  # looked at in one piece of work
REPORT_ATTRIBUTE = "SCDSegmentation.Report"
IMPORTANCE_REFERENCE = "SCDSegmentation.importance"
INPUT_REFERENCE = "SCDSegmentation.input"


def inputsOf(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[slicer.vtkMRMLScalarVolumeNode | None, ...]:
    """The inputs of the run that a segmentation is of, one for each channel; None for one that was deleted."""
    count = segmentation.GetNumberOfNodeReferences(INPUT_REFERENCE)
    return tuple(segmentation.GetNthNodeReference(INPUT_REFERENCE, number) for number in range(count))


@dataclass(frozen=True)
class Results:
    """Nodes of one finished run.

    Args:
        segmentation: one segment for each label found.
        importance: token importance on the token grid, 0…1.
        survival: share of the pruning stages that each token survived.
        stage: stage at which each token was pruned; one more than there are stages if it was kept to the end.
        scores: for each stage the rank of every token, NaN where it was not scored.
        report: what ran, how long it took and what it found.
    """

    segmentation: slicer.vtkMRMLSegmentationNode
    importance: slicer.vtkMRMLScalarVolumeNode
    survival: slicer.vtkMRMLScalarVolumeNode
    stage: slicer.vtkMRMLScalarVolumeNode
    scores: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    report: dict[str, Any]


class PreparedResults:
    """A result that is read from files aside, and put into the scene at once.

    Args:
        volumes: the inputs, one for each channel; the labels have the grid of the first.
        model: whose labels they are.
        report: of the run.
    """

    def __init__(self, volumes: Sequence[slicer.vtkMRMLScalarVolumeNode], model: Model, report: dict[str, Any]) -> None:
        self.volumes = tuple(volumes)
        self.volumeNode = volumes[0]
        self.model = model
        self.report = report
        self._segments: list[slicer.vtkSegment] = []

    def read(self, files: Mapping[str, Path]) -> Iterator[None]:
        """Read the files; yields between pieces of work, so that the event loop can have its turns.

        Args:
            files: by the name of the result; see :data:`RESULT_FILES`.

        Raises:
            SegmentationError: a file is missing or damaged, the report lacks something, or the labels do not have the
                volume's grid any more.
        """
        voxels, matrix = openLabels(files["labels"])
        changed = voxels.shape[::-1] != self.volumeNode.GetImageData().GetDimensions()
        if changed or not np.allclose(matrix, matrixOf(self.volumeNode), atol=1e-3):
            raise SegmentationError(
                f"The volume '{self.volumeNode.GetName()}' changed its geometry during the run: press Apply again."
            )
        slices = np.zeros(len(voxels), dtype=bool)
        for start in range(0, len(voxels), _SLICES):
            slices[start : start + _SLICES] = voxels[start : start + _SLICES].any(axis=(1, 2))
            yield
        voxels, first = _cropped(voxels, (0, 0, 0), 0, slices)
        for axis in (1, 2):
            voxels, first = _cropped(voxels, first, axis, voxels.any(axis=(0, 3 - axis)))
            yield
        copy = np.empty(voxels.shape, dtype=np.uint8)
        for start in range(0, len(voxels), _SLICES):
            copy[start : start + _SLICES] = voxels[start : start + _SLICES]
            yield
        del voxels  # or the file could not be removed on Windows
        found = {label["value"] for label in self.report["labels"] if label["voxels"]}
        wanted = [label for label in self.model.labels if label.value in found]
        self._segments = _segments(copy, first, matrixOf(self.volumeNode), wanted)
        self._maps = PreparedMaps(files, self.model.network["prune_after"])
        self._tables = tokenTables(self.report)
        self._reportText = json.dumps(self.report)

    def commit(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        importanceNode: slicer.vtkMRMLScalarVolumeNode | None,
    ) -> Results:
        """Put the result into the scene: into these nodes, replacing what they held, or into new ones.

        The segmentation comes last: whatever else should fail, one that is there keeps what it holds.
        """
        made: list[slicer.vtkMRMLNode] = []
        try:
            maps = self._maps.commit(importanceNode, self.volumeNode, made)
            if segmentationNode is None:
                segmentationNode = self._add("vtkMRMLSegmentationNode", "segmentation", made)
            prepareDisplay(maps)
            commitTables(maps, self._tables, self.volumeNode.GetName(), made)
            self._placeLikeVolume(maps.importance)
            for node in (maps.survival, maps.stage, *maps.scores):
                placeBelow(node, maps.importance)
            self._commitSegmentation(segmentationNode)
            segmentationNode.SetNodeReferenceID(IMPORTANCE_REFERENCE, maps.importance.GetID())
            segmentationNode.RemoveNodeReferenceIDs(INPUT_REFERENCE)
            for volume in self.volumes:
                segmentationNode.AddNodeReferenceID(INPUT_REFERENCE, volume.GetID())
            for node in (segmentationNode, maps.importance):
                node.SetAttribute(REPORT_ATTRIBUTE, self._reportText)
            self._placeLikeVolume(segmentationNode)
        except BaseException:
            for node in made:
                removeNodes([*dependants(node), node])
            raise
        return Results(segmentationNode, maps.importance, maps.survival, maps.stage, maps.scores, self.report)

    def _add(self, className: str, what: str, made: list[slicer.vtkMRMLNode]) -> slicer.vtkMRMLNode:
        name = slicer.mrmlScene.GenerateUniqueName(f"{self.volumeNode.GetName()} {what}")
        made.append(slicer.mrmlScene.AddNewNodeByClass(className, name))
        return made[-1]

    def _commitSegmentation(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        wasVisible = display.GetVisibility3D()
        display.SetVisibility3D(False)  # or the 3-D views look for surfaces of segments that have gone
        try:
            self._swapSegments(node.GetSegmentation())
            solid = {label.value for label in self.model.labels if label.solid}
            for segment in self._segments:
                value = segment.GetLabelValue()
                display.SetSegmentVisibility3D(segmentIdOf(value), value in solid)
        finally:
            display.SetVisibility3D(wasVisible)
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.volumeNode)
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), self.volumeNode.GetID())

    def _swapSegments(self, segmentation: slicer.vtkSegmentation) -> None:
        """Replace all segments. Not inside ``NodeModify``: the subject hierarchy follows one event at a time, and
        complains of segments that went without one.
        """
        # Or removing a segment first copies its voxels out of the label map that it shares with the others. To remove
        # the representation instead makes Slicer complain, too.
        nothing = slicer.vtkOrientedImageData()
        nothing.SetDimensions(1, 1, 1)
        nothing.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        nothing.GetPointData().GetScalars().Fill(0)
        for segment in map(segmentation.GetSegment, segmentation.GetSegmentIDs()):
            if segment.GetRepresentation(_LABELMAP) is not None:
                segment.AddRepresentation(_LABELMAP, nothing)
        segmentation.RemoveAllSegments()
        segmentation.SetSourceRepresentationName(_LABELMAP)
        for segment in self._segments:
            segmentation.AddSegment(segment, segmentIdOf(segment.GetLabelValue()))

    def _placeLikeVolume(self, node: slicer.vtkMRMLTransformableNode) -> None:
        """Under the volume's transform, whatever kind it is, and beside it in the subject hierarchy."""
        node.SetAndObserveTransformNodeID(self.volumeNode.GetTransformNodeID())
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(self.volumeNode))
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), parent)


def _cropped(
    voxels: np.ndarray, first: tuple[int, int, int], axis: int, occupied: np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Voxels (K, J, I) without the empty rows at both ends of an axis, and the index of the first voxel left."""
    rows = np.flatnonzero(occupied)
    low, high = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    kept = tuple(slice(low, high) if each == axis else slice(None) for each in range(3))
    moved = tuple(start + low if each == axis else start for each, start in enumerate(first))
    return voxels[kept], moved


def segmentIdOf(value: int) -> str:
    """ID of a label's segment, the same in every run, as Slicer's own import of label maps gives it."""
    return f"Segment_{value}"


def _segments(
    voxels: np.ndarray, first: tuple[int, int, int], ijkToRas: np.ndarray, labels: Sequence[Label]
) -> list[slicer.vtkSegment]:
    """One segment a label, all of them in one shared label map, as Slicer's own import makes them.

    Args:
        voxels: (K, J, I) uint8 label values of a part of the volume, contiguous.
        first: index (k, j, i) in the volume of the part's first voxel.
        ijkToRas: of the volume.
        labels: that occur.
    """
    image = slicer.vtkOrientedImageData()
    extent = [(start, start + size - 1) for start, size in zip(first, voxels.shape, strict=True)]
    image.SetExtent(*extent[2], *extent[1], *extent[0])
    flat = voxels.reshape(-1)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRas))
    segments = []
    for label in labels:
        segment = slicer.vtkSegment()
        segment.SetName(label.name)
        segment.SetColor(*label.color)
        segment.SetTerminology(label.terminology)
        segment.SetLabelValue(label.value)
        segment.AddRepresentation(_LABELMAP, image)
        segments.append(segment)
    return segments
