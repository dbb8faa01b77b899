"""From the worker's files to nodes: built aside, and put into the scene only when they are complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SCDSegmentationLib.errors import SegmentationError
from SCDSegmentationLib.models import Label, Model
from SCDSegmentationLib.volume_files import matrixOf, readVolume

REPORT_ATTRIBUTE = "SCDSegmentation.Report"
IMPORTANCE_REFERENCE = "SCDSegmentation.importance"
TOKEN_MAP_ATTRIBUTE = "SCDSegmentation.TokenMap"


@dataclass(frozen=True)
class Results:
    """Nodes of one finished run.

    Args:
        segmentation: one segment for each label found.
        importance: token importance on the token grid, 0…1.
        report: what ran, how long it took and what it found.
    """

    segmentation: slicer.vtkMRMLSegmentationNode
    importance: slicer.vtkMRMLScalarVolumeNode
    report: dict[str, Any]


class PreparedResults:
    """A result read from files, ready to be put into the scene at once.

    Args:
        volumeNode: the input whose grid the labels have.
        model: whose labels they are.
        labels: file of the label map.
        importance: file of the importance map.
        report: of the run.

    Raises:
        SegmentationError: a file is missing or damaged, or the labels do not have the volume's grid.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        model: Model,
        labels: Path,
        importance: Path,
        report: dict[str, Any],
    ) -> None:
        self.volumeNode = volumeNode
        self.model = model
        self.report = report
        voxels, _ = readVolume(labels)
        if voxels.shape[::-1] != volumeNode.GetImageData().GetDimensions():
            raise SegmentationError(
                f"The volume '{volumeNode.GetName()}' changed its size during the run: press Apply to run again.",
                "input",
            )
        self._importance, self._importanceMatrix = readVolume(importance)
        found = {label["value"] for label in report["labels"] if label["voxels"]}
        self._segments = _segments(voxels, matrixOf(volumeNode), [la for la in model.labels if la.value in found])

    def commit(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        importanceNode: slicer.vtkMRMLScalarVolumeNode | None,
    ) -> Results:
        """Put the result into the scene: into these nodes, replacing what they held, or into new ones."""
        segmentation = self._commitSegmentation(segmentationNode)
        importance = self._commitImportance(importanceNode)
        segmentation.SetNodeReferenceID(IMPORTANCE_REFERENCE, importance.GetID())
        segmentation.SetAttribute(REPORT_ATTRIBUTE, json.dumps(self.report))
        for node in (segmentation, importance):
            self._placeLikeVolume(node)
        return Results(segmentation, importance, self.report)

    def _commitSegmentation(self, node: slicer.vtkMRMLSegmentationNode | None) -> slicer.vtkMRMLSegmentationNode:
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", self._name("segmentation"))
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        with slicer.util.NodeModify(node):
            segmentation = node.GetSegmentation()
            for segmentId in segmentation.GetSegmentIDs():
                # Or removing a segment first copies its voxels out of the label map that it shares with the others.
                segmentation.GetSegment(segmentId).RemoveAllRepresentations()
            segmentation.RemoveAllSegments()
            segmentation.SetSourceRepresentationName(
                slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
            )
            for segment in self._segments:
                segmentation.AddSegment(segment)
            solid = {label.value for label in self.model.labels if label.solid}
            for segmentId in segmentation.GetSegmentIDs():
                value = segmentation.GetSegment(segmentId).GetLabelValue()
                node.GetDisplayNode().SetSegmentVisibility3D(segmentId, value in solid)
            node.SetReferenceImageGeometryParameterFromVolumeNode(self.volumeNode)
            node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), self.volumeNode.GetID())
        return node

    def _commitImportance(self, node: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode:
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", self._name("token importance"))
        with slicer.util.NodeModify(node):
            slicer.util.updateVolumeFromArray(node, self._importance.astype(np.float32))
            node.SetAttribute(TOKEN_MAP_ATTRIBUTE, "importance")
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(self._importanceMatrix))
        return node

    def _name(self, what: str) -> str:
        return slicer.mrmlScene.GenerateUniqueName(f"{self.volumeNode.GetName()} {what}")

    def _placeLikeVolume(self, node: slicer.vtkMRMLTransformableNode) -> None:
        """Under the volume's transform, whatever kind it is, and beside it in the subject hierarchy."""
        node.SetAndObserveTransformNodeID(self.volumeNode.GetTransformNodeID())
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(self.volumeNode))
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), parent)


def _segments(voxels: np.ndarray, ijkToRas: np.ndarray, labels: Sequence[Label]) -> list[slicer.vtkSegment]:
    """One segment a label, all of them in one shared label map, as Slicer's own import makes them."""
    image = slicer.vtkOrientedImageData()
    (k0, k1), (j0, j1), (i0, i1) = (_occupied(voxels.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    cropped = np.ascontiguousarray(voxels[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1], dtype=np.uint8)
    image.SetExtent(i0, i1, j0, j1, k0, k1)
    image.GetPointData().SetScalars(numpy_to_vtk(cropped.reshape(-1), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijkToRas))
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    segments = []
    for label in labels:
        segment = slicer.vtkSegment()
        segment.SetName(label.name)
        segment.SetColor(*label.color)
        segment.SetTerminology(label.terminology)
        segment.SetLabelValue(label.value)
        segment.AddRepresentation(name, image)
        segments.append(segment)
    return segments


def _occupied(rows: np.ndarray) -> tuple[int, int]:
    """First and last row that holds a label."""
    index = np.flatnonzero(rows)
    return (int(index[0]), int(index[-1])) if len(index) else (0, -1)
