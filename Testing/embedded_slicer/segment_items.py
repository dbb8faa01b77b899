"""Single segments in the subject hierarchy: an item each, and what Slicer logs as errors when items are left behind."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from embedded_slicer.gui.pythonqt import failures


class SegmentItems:
    """Follows the segments of a scene as qSlicerSubjectHierarchySegmentationsPlugin and a tree of its items do.

    What Slicer would log as an error is noted in `failures`: an item that is looked at while its segment is gone, and
    a segmentation that changes when its own item is gone already. Events that come late, at the end of a `NodeModify`,
    have lost the segment that they are about; then all items are looked at.

    Checked against qSlicerSubjectHierarchySegmentationsPlugin.cxx and vtkSlicerSegmentationsModuleLogic.cxx.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._items: dict[str, set[str]] = {}  # ID of a segmentation → its segments that have an item
        scene.AddObserver(scene.NodeAddedEvent, self._on_node_added)
        scene.AddObserver(scene.EndBatchProcessEvent, lambda *_: self._follow_all())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, scene: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSegmentationNode") and not scene.IsImporting():
            self._follow(node)

    def _follow_all(self) -> None:
        nodes = self._scene.GetNodesByClass("vtkMRMLSegmentationNode")
        present = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
        self._items = {node.GetID(): self._items[node.GetID()] for node in present if node.GetID() in self._items}
        for node in present:
            if node.GetID() not in self._items:
                self._follow(node)

    def _follow(self, node: Any) -> None:
        self._items[node.GetID()] = set(node.GetSegmentation().GetSegmentIDs())
        segments = slicer.vtkSegmentation
        for event in (segments.SegmentAdded, segments.SegmentRemoved, segments.SegmentModified):
            node.AddObserver(event, self._on_segment)
        node.AddObserver(node.DisplayModifiedEvent, lambda node, _event: self._look_at_all(node))

    @vtk.calldata_type(vtk.VTK_STRING)
    def _on_segment(self, node: Any, _event: str, segment_id: str | None = None) -> None:
        if not segment_id:
            self._look_at_all(node)
        elif self._has_item(node):
            present = node.GetSegmentation().GetSegment(segment_id) is not None
            items = self._items.setdefault(node.GetID(), set())
            (items.add if present else items.discard)(segment_id)

    def _look_at_all(self, node: Any) -> None:
        if not self._has_item(node):
            return
        present = set(node.GetSegmentation().GetSegmentIDs())
        for segment_id in self._items.get(node.GetID(), set()) - present:
            failures.append(RuntimeError(f"Segmentation does not contain segment with given ID: {segment_id}"))
        self._items[node.GetID()] = present

    def _has_item(self, node: Any) -> bool:
        if self._scene.IsClosing() or self._scene.IsImporting():
            return False
        hierarchy = self._scene.GetSubjectHierarchyNode()
        if not node.GetHideFromEditors() and not hierarchy.GetItemByDataNode(node):
            failures.append(RuntimeError(f"Unable to find subject hierarchy item for segmentation {node.GetName()}"))
            return False
        return True
